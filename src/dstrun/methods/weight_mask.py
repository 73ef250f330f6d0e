"""Base class of masks: what a masked layer asks, whichever method decides which weights take part.

A mask is the child `mask` of its layer, so its state has keys such as `fc1.mask.threshold`. A layer
of several weights has one below that for each, as in `attention.mask.in_proj_weight.q.threshold`.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MASK = "mask"  # name of the child of a masked layer
LAYOUT = "layout"  # name of the buffer that says which part of a parameter a mask is of


class WeightMask(nn.Module):
    """The mask M of one weight W. It does not hold W: the layer keeps its own parameter.

    A subclass is made from the weight alone, `make_mask(weight)`, and overrides both methods.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight to compute with, W ⊙ M, of W's shape, in `compute_dtype(weight)`."""
        raise NotImplementedError

    def kept(self, weight: Tensor) -> Tensor:
        """Return M as booleans of W's shape, without gradient: True where a weight takes part."""
        raise NotImplementedError


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Return autocast's dtype where that is on for the weight's device, else the weight's own."""
    kind = weight.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):  # which raises an error for meta
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def part_of(tensor: Tensor, rows: int, part: int, parts: int) -> Tensor:
    """Return a view of one of equal `parts` of the first dimension, with dimension `rows` first."""
    if parts > 1:
        tensor = tensor.unflatten(0, (parts, -1)).select(0, part)
    return tensor.transpose(0, rows) if rows else tensor


@dataclass(frozen=True)
class SavedMask:
    """A mask in the state dictionary of a model.

    prefix: of its keys. parameter: key of the parameter that it belongs to. layout: arguments of
    `part_of`, which gives the weight.
    """

    prefix: str
    parameter: str
    layout: tuple[int, int, int]

    def weight(self, state: dict[str, Tensor]) -> Tensor:
        """Return the weight in a state dictionary, rows first: a view of it."""
        return part_of(state[self.parameter], *self.layout)

    def load(self, mask: WeightMask, state: dict[str, Tensor]) -> WeightMask:
        """Load the state into a mask made for the weight, and return it."""
        own = {key: state[key] for key in state if key.startswith(self.prefix)}
        own.pop(f"{self.prefix}{LAYOUT}", None)
        mask.load_state_dict({key.removeprefix(self.prefix): own[key] for key in own})
        return mask


def saved_masks(state: dict[str, Tensor]) -> dict[str, SavedMask]:
    """Return the masks in a model's state dictionary, by the names of their layers."""
    found: dict[str, SavedMask] = {}
    for key in state:
        prefix = key.rpartition(".")[0]
        name, parameter = _names_of(prefix)
        if parameter in state and name not in found:
            found[name] = SavedMask(f"{prefix}.", parameter, _layout(state, prefix))
    return found


def _layout(state: dict[str, Any], prefix: str) -> tuple[int, int, int]:
    layout = state.get(f"{prefix}.{LAYOUT}")
    if layout is None:
        return 0, 0, 1
    rows, part, parts = layout.tolist()
    return rows, part, parts


def is_of_mask(key: str, keys: Container[str]) -> bool:
    """Return whether a key of a state dictionary belongs to a mask.

    keys: all of the dictionary's. A module of a user's model may be called `mask`, too.
    """
    return _names_of(key.rpartition(".")[0])[1] in keys


def _names_of(prefix: str) -> tuple[str, str]:
    """Return the names of the weight and of the parameter that a mask of that prefix has."""
    layer, found, below = f".{prefix}.".rpartition(f".{MASK}.")
    if not found:
        return "", ""
    layer, below = layer.removeprefix("."), below.removesuffix(".")
    parameter = below.partition(".")[0] or "weight"
    return ".".join(filter(None, [layer, below])), ".".join(filter(None, [layer, parameter]))


def refuse_masks(model: nn.Module) -> None:
    """Raise ValueError for a model with masks, where its weights must be what it computes with."""
    if any(isinstance(module, WeightMask) for module in model.modules()):
        raise ValueError(
            "this model has masks: give method.plain(model), a copy with its pruned weights at 0"
        )
