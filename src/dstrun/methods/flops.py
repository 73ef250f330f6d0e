"""Multiply-adds of a model for one example: of every layer, and what masks leave of them.

A weight of a linear layer is used once for every vector that it is applied to, a weight of a
convolution once for every output position, a recurrent weight once a time step. So a masked layer's
multiply-adds are weights × positions, and what its mask keeps is kept × positions. All other
products (attention, layers left dense) are counted by torch's counter. Knows torch and density."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dstrun.methods.mask_stats import LayerFigures


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds for one example: `total` of the whole model; `positions`, how often each weight
    of a layer is used.

    `positions` has the linear layers and 2-d convolutions that the forward pass calls, by name.
    """

    total: int
    positions: dict[str, int]

    def kept(self, layers: Sequence[LayerFigures]) -> int:
        """Multiply-adds that are left once the pruned weights of masked layers are not computed
        with."""
        return self.total - sum(
            (layer.total - layer.kept) * self.positions.get(layer.layer, 0) for layer in layers
        )

    def fraction(self, layers: Sequence[LayerFigures]) -> float:
        """Multiply-adds left over all of them, in [0, 1]."""
        return self.kept(layers) / max(self.total, 1)


@torch.no_grad()
def multiply_adds(model: nn.Module, example: Tensor) -> MultiplyAdds:
    """Count the multiply-adds of `model` for `example` (1, C, H, W); its mode and torch's
    generators stay."""
    positions: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):

            def count(module: nn.Module, _: object, output: Tensor, name: str = name) -> None:
                rows = len(module.weight)  # type: ignore[arg-type]
                positions[name] = positions.get(name, 0) + output.numel() // rows

            handles.append(module.register_forward_hook(count))
    training, counter = model.training, FlopCounterMode(display=False, custom_mapping=FUSED)
    counter.mod_tracker = _WholeModel()  # type: ignore[assignment]
    try:
        with (
            _plain_attention(),
            torch.random.fork_rng([example.device] if example.is_cuda else []),
            counter,
        ):
            model.eval()(example)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return MultiplyAdds(counter.get_total_flops() // 2, positions)


class _WholeModel(nullcontext):
    """Count for the model as a whole: torch's tracker of modules fails in checkpointed blocks
    (use_reentrant=True)."""

    parents = frozenset({"Global"})


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Make torch compute attention by matrix products, since its counter does not know every fused
    kernel."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _lstm_layer(input: Sequence[int], *shapes: Any, **_: object) -> int:
    """Floating-point operations of one layer of nn.LSTM on a CPU: its two matrices once for each of
    (T, B) steps."""
    return _cudnn_layers(input, shapes[:2])


def _cudnn_layers(
    input: Sequence[int], shapes: Sequence[Sequence[int]], *_: object, **__: object
) -> int:
    """Floating-point operations of recurrent layers on a GPU: their matrices once for each of (T,
    B) steps."""
    return 2 * input[0] * input[1] * sum(prod(shape) for shape in shapes if len(shape) == 2)


def _bilinear(first: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Floating-point operations of nn.Bilinear: every weight once an example."""
    return 2 * first[0] * prod(weight)


FUSED = {  # kernels with weights that torch's counter has no formula for
    torch.ops.aten.mkldnn_rnn_layer: _lstm_layer,
    torch.ops.aten._cudnn_rnn: _cudnn_layers,
    torch.ops.aten._trilinear: _bilinear,
}
