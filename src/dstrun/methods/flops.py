"""Multiply-adds of a model for one example: by layer, and what masks leave of them.

torch's FlopCounterMode counts all products. A weight is multiplied by at several positions
(`weight_uses`), so that a layer takes weights × positions multiply-adds, and kept × positions once
its pruned weights are left out. What is left of all products (attention scores, weights without a
mask) stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dstrun.methods.layer_kinds import Kind, kind_of
from dstrun.methods.layer_weights import LayerWeight, weights_of
from dstrun.methods.mask_stats import LayerFigures
from dstrun.methods.masked_layers import plain_type


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of a model for one example.

    total: of the whole model.
    positions: how often each weight of a layer is used, by the name of the layer in layers.csv, 0
        for one that the forward pass does not call.
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
    """Count the multiply-adds of `model`, with masks or without, for `example`, a batch of one.

    The model's mode and torch's random generators are unchanged afterwards.
    """
    uses = _Uses(model)
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
        uses.remove_hooks()
    return MultiplyAdds(counter.get_total_flops() // 2, uses.positions())


class _Uses:
    """Counter of how often the layers of a model use their weights, by hooks.

    A weight that layers share is used by all of them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights: dict[str, tuple[int, str]] = {}  # identities by name
        self._counts: dict[tuple[int, str], int] = {}
        self._handles = []
        for layer, module in model.named_modules():
            kind = kind_of(plain_type(module))
            if kind is None:
                continue
            own = list(weights_of(layer, module, kind))
            for weight in own:
                self._weights[weight.name] = weight.identity
            count = partial(self._count, layer, own, kind)
            self._handles.append(module.register_forward_hook(count, with_kwargs=True))

    def _count(
        self,
        name: str,
        own: Sequence[LayerWeight],
        kind: Kind,
        layer: nn.Module,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        output: Any,
    ) -> None:
        """Add the uses of a call of a layer with its `own` weights, in a forward hook."""
        uses: int | Mapping[str, int] = 0
        if kind.uses:
            bound = signature(plain_type(layer).forward).bind(layer, *arguments, **named)
            uses = kind.uses(layer, bound.arguments, output)
        elif len(own) == 1 and isinstance(output, Tensor):
            uses = output.numel() // len(own[0].weight)
        if isinstance(uses, int):
            by_name = {weight.name: uses for weight in own}
        else:
            by_name = {".".join(filter(None, [name, key])): uses[key] for key in uses}
        for known in by_name.keys() & self._weights.keys():
            weight_key = self._weights[known]
            self._counts[weight_key] = self._counts.get(weight_key, 0) + by_name[known]

    def positions(self) -> dict[str, int]:
        """Return the uses of each weight, by the name of its layer in layers.csv."""
        return {name: self._counts.get(key, 0) for name, key in self._weights.items()}

    def remove_hooks(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()


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
    """Return the operations of recurrent layers on a GPU: all matrices at each of T · B steps.

    input: (T, B, features), or (steps, features) of packed sequences.
    """
    weights = sum(prod(shape) for shape in shapes if len(shape) == 2)
    return 2 * prod(input[:-1]) * weights


def _bilinear(first: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Return the operations of nn.Bilinear: every weight once for each example."""
    return 2 * first[0] * prod(weight)


# Floating-point operations of kernels with weights that torch's counter has no formula for.
FUSED = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_layer,
    torch.ops.aten._cudnn_rnn: _cudnn_layers,
    torch.ops.aten._trilinear: _bilinear,
}
