"""Packing of a sparse weight: the values that are not zero, and the gaps between their places.

    gap     the distance of a value's place from the place before, row after row, from −1 on
    gaps    each gap as its widest word (255, or 65,535) as often as that fits, then the remainder

A word that is not the widest ends a gap and belongs to a value. Words of 8 and of 16 bits are
tried, and the smallest result is taken, which may be the weight as it is. At 2 % density nearly
every gap is one byte, so that a weight takes five bytes; with 16-bit columns it would take six.
"""

from math import prod

import torch
from torch import Tensor

WIDTHS = (torch.uint8, torch.uint16)


def pack(weight: Tensor) -> dict[str, Tensor]:
    """Return {'values', 'gaps', 'shape'} of a weight, or {'whole'}: whichever is smallest."""
    weight = weight.detach()
    places = weight.flatten().nonzero().flatten()
    sparse = {"values": weight.flatten()[places], "shape": torch.tensor(weight.shape)}
    choices = [{"whole": weight.contiguous()}]
    for width in WIDTHS:
        choices.append(sparse | {"gaps": _gaps(places, width)})
    return min(choices, key=packed_size)


def _gaps(places: Tensor, width: torch.dtype) -> Tensor:
    """Return the words of all gaps, (W,)."""
    widest = torch.iinfo(width).max
    gaps = places.diff(prepend=torch.tensor([-1]))
    ends = (gaps // widest + 1).cumsum(0) - 1
    words = torch.full((int(ends[-1]) + 1 if len(ends) else 0,), widest)
    words[ends] = gaps % widest
    return words.to(width)


def unpack(parts: dict[str, Tensor]) -> Tensor:
    """Return the weight again, bit for bit except for the sign of zeros.

    Raise ValueError for parts that do not belong together.
    """
    if "whole" in parts:
        return parts["whole"]
    values, words, shape = parts["values"], parts["gaps"], parts["shape"].tolist()
    widest, words = torch.iinfo(words.dtype).max, words.long()
    places = (words.cumsum(0) - 1)[words != widest]
    is_ordered = bool((places.diff(prepend=torch.tensor([-1])) > 0).all())
    fits = min(shape, default=1) >= 0 and (not len(places) or int(places[-1]) < prod(shape) < 2**40)
    if len(places) != len(values) or not is_ordered or not fits:
        raise ValueError(
            f"{len(values)} values and {len(places)} gaps do not make a weight of {shape}"
        )
    weight = values.new_zeros(shape)
    weight.view(-1)[places] = values
    return weight


def packed_size(parts: dict[str, Tensor]) -> int:
    """Return the bytes of all parts."""
    return sum(part.numel() * part.element_size() for part in parts.values())
