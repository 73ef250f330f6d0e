"""Exact choice of the weights that a mask keeps, and random draws that need no generator's state.

A draw is a function of (seed, layer, step): a resumed run draws the same numbers, and so does every
rank. Nothing waits for the device but `select_share` with fan_in.
"""

import hashlib
from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

from dstrun.methods.fixed.distribution import group_of


def keep_highest(scores: Tensor, count: int) -> Tensor:
    """Return booleans of the scores' shape with exactly `count` True: where scores are highest.

    Of equal scores the first ones are kept.
    """
    flat = scores.flatten()
    if count >= len(flat):
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    # not kthvalue, which has no deterministic form on a GPU
    lowest = flat.topk(count, sorted=False).values.amin()
    if flat.device.type == "cpu" and int((flat >= lowest).count_nonzero()) == count:
        return scores >= lowest  # no choice between equals, which costs more than topk
    above, equal = flat > lowest, flat == lowest
    missing = count - above.sum()
    return (above | (equal & (equal.cumsum(0) <= missing))).view(scores.shape)


def select(scores: Tensor, count: int, structure: str = "none") -> Tensor:
    """Return a mask of the scores' shape (c_o, …) with `count` weights kept, those of high scores.

    structure: "none", the highest of all; "fan_in", the same number in every row, so that `count`
    is rounded to a multiple of the rows; "N:M", N of every M inputs that follow one another, for
    every row and every place of a kernel, as sparse tensor cores read them, whatever the count.
    """
    if structure == "none":
        return keep_highest(scores, count)
    rows = scores.flatten(1)
    if structure == "fan_in":
        kept = min(max(round(count / len(rows)), 1), rows.shape[1])
        return _in_groups(rows, kept).view(scores.shape)
    return _along_inputs(scores, *group_of(structure))


def select_share(
    scores: Sequence[Tensor], density: float, scope: str = "global", structure: str = "none"
) -> list[Tensor]:
    """Return a mask for each layer's scores; together they keep the share `density` of all.

    scope: "global" ranks the scores of all layers together, "layer" those of each. With structure
    "fan_in" each layer keeps as many as it would without, but for rounding; with "N:M" so many of
    every M as the density asks for, rounded up, and at least N.
    """
    if ":" in structure:
        least, size = group_of(structure)
        kept = max(least, ceil(round(density * size, 6)))
        return [_along_inputs(one, kept, size) for one in scores]
    if scope == "layer":
        counts = [max(round(density * one.numel()), 1) for one in scores]
        return [select(one, count, structure) for one, count in zip(scores, counts, strict=True)]
    ranks = torch.cat([one.flatten() for one in scores])
    parts = keep_highest(ranks, round(density * len(ranks))).split([one.numel() for one in scores])
    masks = [part.view(one.shape) for part, one in zip(parts, scores, strict=True)]
    if structure == "none":
        return masks
    pairs = zip(scores, masks, strict=True)
    return [select(one, int(mask.sum()), structure) for one, mask in pairs]


def has_structure(mask: Tensor, structure: str) -> bool:
    """Return whether a mask (c_o, …) is as `select` makes it; waits for the device."""
    if structure == "none":
        return True
    if structure == "fan_in":
        rows = mask.flatten(1).sum(1)
        return bool((rows == rows[0]).all())
    kept, size = group_of(structure)
    return bool((mask.movedim(1, -1).reshape(-1, size).sum(1) == kept).all())


def _along_inputs(scores: Tensor, kept: int, size: int) -> Tensor:
    """Return a mask that keeps the `kept` highest of every `size` inputs."""
    inputs_last = scores.movedim(1, -1)
    groups = inputs_last.reshape(-1, size)
    return _in_groups(groups, kept).view(inputs_last.shape).movedim(-1, 1)


def _in_groups(groups: Tensor, kept: int) -> Tensor:
    """Return a mask that keeps the `kept` highest of each row of `groups`, the first of equals."""
    order = groups.argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order[:, :kept], True)


def draw(seed: int, layer: str, step: int, shape: torch.Size, device: torch.device) -> Tensor:
    """Return random numbers, uniform in [0, 1), that depend on seed, layer and step alone.

    They are drawn on the CPU, so that they are the same on every device.
    """
    digest = hashlib.sha256(f"{seed}/{layer}/{step}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    # from pinned memory the copy needs no wait for the device
    numbers = torch.rand(shape, generator=generator, pin_memory=device.type == "cuda")
    return numbers.to(device, non_blocking=True)
