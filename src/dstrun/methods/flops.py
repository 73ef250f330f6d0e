"""Multiply-adds of a model for one example: by layer, and what masks leave of them.

A weight of a linear layer is used once for each vector that the layer gets, a weight of a
convolution once for each output position, a recurrent weight once for each time step. So a layer
takes weights × positions multiply-adds, and kept × positions once its pruned weights are left out.
All other products (attention, layers left dense) are counted by torch's FlopCounterMode.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dstrun.methods.mask_stats import LayerFigures


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of a model for one example.

    total: of the whole model.
    positions: how often each weight of a layer is used, by the name of the layer, for the linear
        layers and 2-d convolutions that the forward pass calls.
    """

    total: int
    positions: dict[str, int]

    def kept(self, layers: Sequence[LayerFigures]) -> int:
        """Return the multiply-adds that are left without the pruned weights of masked layers."""
        left = self.total
        for layer in layers:
            left -= (layer.total - layer.kept) * self.positions.get(layer.layer, 0)
        return left

    def fraction(self, layers: Sequence[LayerFigures]) -> float:
        """Return the multiply-adds that are left over all of them, in [0, 1]."""
        return self.kept(layers) / max(self.total, 1)


@torch.no_grad()
def multiply_adds(model: nn.Module, example: Tensor) -> MultiplyAdds:
    """Count the multiply-adds of `model` for `example`, a batch of one, (1, C, H, W).

    The model's mode and torch's random generators are unchanged afterwards.
    """
    positions: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            count = partial(_count_positions, positions, name)
            handles.append(module.register_forward_hook(count))
    training, counter = model.training, FlopCounterMode(display=False, custom_mapping=FUSED)
    counter.mod_tracker = _WholeModel()  # type: ignore[assignment]
    try:
        with (
            plain_attention(),
            torch.random.fork_rng([example.device] if example.is_cuda else []),
            counter,
        ):
            model.eval()(example)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return MultiplyAdds(counter.get_total_flops() // 2, positions)


def _count_positions(
    positions: dict[str, int], name: str, layer: nn.Module, _: object, output: Tensor
) -> None:
    """Add to `positions`, in a forward hook, how often a call uses each weight of the layer."""
    rows = len(layer.weight)  # type: ignore[arg-type]
    positions[name] = positions.get(name, 0) + output.numel() // rows


class _WholeModel(nullcontext):
    """Counting for the model as a whole.

    Stands in for torch's tracker of modules, which fails in blocks that are checkpointed with
    use_reentrant=True.
    """

    parents = frozenset({"Global"})


@contextmanager
def plain_attention() -> Iterator[None]:
    """Make torch compute attention as matrix products.

    Its counter lacks some fused kernels, and these have no second derivatives.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _lstm_layer(input: Sequence[int], *shapes: Any, **_: object) -> int:
    """Return the operations of an nn.LSTM layer on a CPU: both matrices at each of T · B steps."""
    return _cudnn_layers(input, shapes[:2])


def _cudnn_layers(
    input: Sequence[int], shapes: Sequence[Sequence[int]], *_: object, **__: object
) -> int:
    """Return the operations of recurrent layers on a GPU: all matrices at each of T · B steps."""
    weights = sum(prod(shape) for shape in shapes if len(shape) == 2)
    return 2 * input[0] * input[1] * weights


def _bilinear(first: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Return the operations of nn.Bilinear: every weight once for each example."""
    return 2 * first[0] * prod(weight)


# Floating-point operations of kernels with weights that torch's counter has no formula for.
FUSED = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_layer,
    torch.ops.aten._cudnn_rnn: _cudnn_layers,
    torch.ops.aten._trilinear: _bilinear,
}
