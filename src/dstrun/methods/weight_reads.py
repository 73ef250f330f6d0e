"""Probe of a forward pass: it finds layers whose weight is read past the mask, or not at all.

    training     each mask gets a copy in place of the weight, so a gradient that reaches the weight
                 itself came past the mask
    evaluation   each weight is NaN and its mask gets the true values, so NaN in the output came
                 past the mask; weights are NaN before eval(), so that a copy which is made there,
                 or at the first call, is NaN as well

It finds a weight that another module reads as `layer.weight`, whatever function it is passed to.
A layer is a `LayerWeight`, whose mask has a `threshold`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Reading:
    """Names of masked layers that a training step does not read as it should, in model order.

    past: the weight is read past the mask, perhaps through the mask as well.
    unused: neither weight nor mask is read.
    detached: no gradient comes back through the mask.
    """

    past: list[str]
    unused: list[str]
    detached: list[str]


def read_in_training(layers: Mapping[str, Any], step: Callable[[], None]) -> Reading:
    """Return how `step`, a forward and a backward pass, reads the weights of `layers`.

    Gradients of weights and thresholds from before are lost.
    """
    copies = {}
    for name, layer in layers.items():
        layer.parameter.grad = layer.mask.threshold.grad = None
        copies[name] = layer.weight.detach().requires_grad_(layer.weight.requires_grad)
    with _substitution(layers, copies) as asked:
        step()
    reading = Reading(past=[], unused=[], detached=[])
    for name, layer in layers.items():
        if _is_reached(layer):
            reading.past.append(name)
        elif name not in asked:
            reading.unused.append(name)
        if name in asked and layer.mask.threshold.grad is None:
            reading.detached.append(name)
    return reading


def _is_reached(layer: Any) -> bool:
    """Return whether a gradient has come past the mask of a weight; waits for the device.

    The parts of a parameter that have no mask bring zeros to the others.
    """
    gradient = layer.gradient
    return gradient is not None and (layer.is_whole or bool(gradient.any()))


@torch.no_grad()
def read_in_evaluation(
    model: nn.Module, layers: Mapping[str, Any], forward: Callable[[], Any]
) -> list[str]:
    """Return the layers whose weight is read past the mask by eval() or by `forward` after it.

    Takes one call of `forward`, without gradients, if there is no such layer, else another for the
    clean output and one for each layer. The model is in training mode before each call and at the
    end, since models drop copies of weights, and undo changes to them, in train().
    """

    def evaluate() -> list[Tensor]:
        model.eval()
        nans = [tensor.isnan() for tensor in _tensors(forward())]
        model.train()
        return nans

    model.train()
    if not any(nans.any() for nans in _evaluate_with_nan(layers, layers, evaluate)):
        return []
    clean = evaluate()
    past = []
    for name in layers:
        outputs = zip(_evaluate_with_nan(layers, [name], evaluate), clean, strict=True)
        if any((nans & ~before).any() for nans, before in outputs):
            past.append(name)
    return past


def _evaluate_with_nan(
    layers: Mapping[str, Any], names: Collection[str], evaluate: Callable[[], list[Tensor]]
) -> list[Tensor]:
    """Return the result of `evaluate` while the weights of `names` are NaN; restore them after."""
    values = {name: layers[name].weight.detach().clone() for name in names}
    try:
        with _substitution(layers, values):
            for name in names:
                layers[name].weight.fill_(torch.nan)
            return evaluate()
    finally:
        for name, value in values.items():
            layers[name].weight.copy_(value)


@contextmanager
def _substitution(layers: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Iterator[set[str]]:
    """Call masks with `weights` instead of their layers' own; yield the names of those called."""
    asked: set[str] = set()
    handles = []
    for name, weight in weights.items():
        substitute = partial(_substitute, asked, name, weight)
        handles.append(layers[name].mask.register_forward_pre_hook(substitute))
    try:
        yield asked
    finally:
        for handle in handles:
            handle.remove()


def _substitute(
    asked: set[str], name: str, weight: Tensor, mask: nn.Module, arguments: object
) -> tuple[Tensor]:
    asked.add(name)
    return (weight,)


def total(output: Any) -> Tensor:
    """Return the sum of all floating-point tensors of a model's output, as a loss to try it with.

    The output may be a tensor, or nested as in `_tensors`.
    """
    return torch.stack([tensor.float().sum() for tensor in _tensors(output)]).sum()


def _tensors(output: Any) -> list[Tensor]:
    """Return the floating-point tensors of a tensor, sequence, mapping, or of attributes."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        output = list(output.values())
    elif hasattr(output, "__dict__"):
        output = list(vars(output).values())
    if not isinstance(output, list | tuple):
        return []
    return [tensor for part in output for tensor in _tensors(part)]
