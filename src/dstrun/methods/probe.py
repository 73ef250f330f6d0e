"""How a model's forward pass reads the weights of its masked layers: through the mask, past it, or
not at all.

    training     each mask is given a stand-in for the weight: a gradient that reaches the weight itself came past it
    evaluation   each weight is NaN, and its mask is given the true values: NaN in the output came past the mask; the
                 weight is NaN before eval(), so that a copy made there or at the first call is NaN as well

So a layer is found whose owner reads `layer.weight` itself, whatever function it hands it to. Knows
torch alone: a layer is any module with a `weight` and a child `mask`, with a `threshold`, that is
called with the weight."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Reading:
    """Names of masked layers, in the order of the model."""

    past: list[str]  # whose weight is read past the mask, alone or as well
    unused: list[str]  # neither mask nor weight is read
    detached: list[str]  # no gradient comes back through the mask


def read_in_training(layers: Mapping[str, Any], step: Callable[[], None]) -> Reading:
    """Return how `step`, a forward and a backward pass, reads the weights; their gradients are set
    anew."""
    for layer in layers.values():
        layer.weight.grad = layer.mask.threshold.grad = None
    stand_ins = {
        name: layer.weight.detach().requires_grad_(layer.weight.requires_grad)
        for name, layer in layers.items()
    }
    with _given(layers, stand_ins) as asked:
        step()
    past = [name for name, layer in layers.items() if layer.weight.grad is not None]
    detached = [
        name
        for name, layer in layers.items()
        if name in asked and layer.mask.threshold.grad is None
    ]
    return Reading(
        past, [name for name in layers if name not in asked and name not in past], detached
    )


@torch.no_grad()
def read_in_evaluation(
    model: nn.Module, layers: Mapping[str, Any], forward: Callable[[], Any]
) -> list[str]:
    """Return the layers whose weight the model's eval(), or `forward` after it, reads past the
    mask.

    One call of `forward`, without gradients, where there is none, else one more for the clean
    output and one a layer. The model is in training mode before each and at the end: there it drops
    copies, and undoes changes, of weights."""

    def evaluate() -> list[Tensor]:
        model.eval()
        nans = [tensor.isnan() for tensor in _tensors(forward())]
        model.train()
        return nans

    model.train()
    if not any(nans.any() for nans in _nans_with(layers, layers, evaluate)):
        return []
    clean = evaluate()
    return [
        name
        for name in layers
        if any(
            (nan & ~before).any()
            for nan, before in zip(_nans_with(layers, [name], evaluate), clean, strict=True)
        )
    ]


def _nans_with(
    layers: Mapping[str, Any], spoilt: Any, evaluate: Callable[[], list[Tensor]]
) -> list[Tensor]:
    """Return what `evaluate` does while the weights of the `spoilt` layers are NaN; they are put
    back."""
    values = {name: layers[name].weight.detach().clone() for name in spoilt}
    try:
        with _given(layers, values):
            for name in spoilt:
                layers[name].weight.fill_(torch.nan)
            return evaluate()
    finally:
        for name, value in values.items():
            layers[name].weight.copy_(value)


@contextmanager
def _given(layers: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Iterator[set[str]]:
    """Give the masks those weights in place of the layers' own; what comes is the names of those
    asked for."""
    asked: set[str] = set()
    handles = []
    for name, weight in weights.items():

        def give(
            mask: nn.Module, _: object, name: str = name, weight: Tensor = weight
        ) -> tuple[Tensor]:
            asked.add(name)
            return (weight,)

        handles.append(layers[name].mask.register_forward_pre_hook(give))
    try:
        yield asked
    finally:
        for handle in handles:
            handle.remove()


def total(output: Any) -> Tensor:
    """Return the sum of all floating-point tensors of a model's output, which may be nested, as
    something to train."""
    return torch.stack([tensor.float().sum() for tensor in _tensors(output)]).sum()


def _tensors(output: Any) -> list[Tensor]:
    """Return the floating-point tensors of tensors, lists, tuples, mappings and objects with
    attributes."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        output = list(output.values())
    elif hasattr(output, "__dict__"):
        output = list(vars(output).values())
    return (
        [tensor for part in output for tensor in _tensors(part)]
        if isinstance(output, list | tuple)
        else []
    )
