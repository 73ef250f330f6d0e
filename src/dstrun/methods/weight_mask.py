"""Base class of masks: what a masked layer asks, whichever method decides which weights take part.

A mask is the child `mask` of its layer, so its state has keys such as `fc1.mask.threshold`.
"""

import torch
from torch import Tensor, nn

MASK = "mask"  # name of the child of a masked layer


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


def masked_names(state: dict[str, Tensor]) -> list[str]:
    """Return the names of the layers that have a mask in a model's state dictionary."""
    found: dict[str, None] = {}
    for key in state:
        if is_of_mask(key):
            found.setdefault(key.rpartition(f".{MASK}.")[0])
    return list(found)


def is_of_mask(key: str) -> bool:
    """Return whether a key of a state dictionary belongs to a mask."""
    return f".{MASK}." in f".{key}"


def refuse_masks(model: nn.Module) -> None:
    """Raise ValueError for a model with masks, where its weights must be what it computes with."""
    if any(isinstance(module, WeightMask) for module in model.modules()):
        raise ValueError(
            "this model has masks: give method.plain(model), a copy with its pruned weights at 0"
        )
