"""Made-up inputs of a network: floats (N, C, H, W) of images, int64 (N, L) of sequences of text."""

from collections.abc import Sequence

import torch
from torch import Tensor


def zeros(shape: Sequence[int], count: int = 1) -> Tensor:
    """Return `count` inputs of zeros; shape: (channels, height, width), or (length,) of a text."""
    return torch.zeros(count, *shape, dtype=torch.int64 if len(shape) == 1 else None)


def random(shape: Sequence[int], count: int) -> Tensor:
    """Return `count` inputs of noise, the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 1:
        return torch.randint(256, (count, *shape), generator=generator)
    return torch.randn(count, *shape, generator=generator)
