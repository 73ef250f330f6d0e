"""Few weights of many in few bytes: the values that are not zero, and the gaps between their
places.

    gap     how many places a value lies behind the one before it, row after row, counted from −1
    gaps    each as its widest word (255, or 65,535) as often as that fits into it, and then what is left

A word that is not the widest ends a gap, and has a value. Bytes and 16-bit words are tried, and
what is smallest is taken; a tensor that is smaller as it stands stays so. At 2 % density nearly
every gap is one byte, so that a weight costs five bytes, where 16-bit columns would take six. Knows
torch alone."""

from math import prod

import torch
from torch import Tensor

WIDTHS = (torch.uint8, torch.uint16)


def packed(weight: Tensor) -> dict[str, Tensor]:
    """{'values', 'gaps', 'shape'} of a weight, or {'whole'}: whichever has fewest bytes."""
    weight = weight.detach()
    places = weight.flatten().nonzero().flatten()
    sparse = {"values": weight.flatten()[places], "shape": torch.tensor(weight.shape)}
    choices = [
        {"whole": weight.contiguous()},
        *(sparse | {"gaps": _gaps(places, width)} for width in WIDTHS),
    ]
    return min(choices, key=size)


def _gaps(places: Tensor, width: torch.dtype) -> Tensor:
    """The words of all gaps, (W,)."""
    widest = torch.iinfo(width).max
    gaps = places.diff(prepend=torch.tensor([-1]))
    ends = (gaps // widest + 1).cumsum(0) - 1
    words = torch.full((int(ends[-1]) + 1 if len(ends) else 0,), widest)
    words[ends] = gaps % widest
    return words.to(width)


def unpacked(parts: dict[str, Tensor]) -> Tensor:
    """The weight again, bit for bit but for the sign of zeros. ValueError for parts that do not
    belong together."""
    if "whole" in parts:
        return parts["whole"]
    values, words, shape = parts["values"], parts["gaps"], parts["shape"].tolist()
    widest, words = torch.iinfo(words.dtype).max, words.long()
    places = (words.cumsum(0) - 1)[words != widest]
    ordered = bool((places.diff(prepend=torch.tensor([-1])) > 0).all())
    fits = min(shape, default=1) >= 0 and (not len(places) or int(places[-1]) < prod(shape) < 2**40)
    if len(places) != len(values) or not ordered or not fits:
        raise ValueError(
            f"{len(values)} values and {len(places)} gaps do not make a weight of {shape}"
        )
    weight = values.new_zeros(shape)
    weight.view(-1)[places] = values
    return weight


def size(parts: dict[str, Tensor]) -> int:
    """Bytes."""
    return sum(part.numel() * part.element_size() for part in parts.values())
