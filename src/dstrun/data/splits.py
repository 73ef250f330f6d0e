"""Splits of a data set: uint8 images (N, C, H, W), or their files, with int64 labels (N,)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """One split: `images`, uint8 (N, C, H, W), and `labels`, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Split":
        """Return the examples at these indices."""
        return Split(self.images[indices], self.labels[indices])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class FileSplit:
    """One split of a tree that is too large for memory: files in place of images.

    `files`: paths, of which `places`, int64 (N,), are those of the split. `size`: side of the
    square that is cut from an image, pixels. `undecodable`: share of the split that may be images
    that cannot be decoded.
    """

    files: Sequence[str]
    labels: Tensor
    places: Tensor
    size: int
    undecodable: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "FileSplit":
        """Return the examples at these indices."""
        return replace(self, labels=self.labels[indices], places=self.places[indices])

    def file(self, index: int) -> str:
        """Return the path of an example."""
        return self.files[int(self.places[index])]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (channels, height, width)."""
        return 3, self.size, self.size


@dataclass(frozen=True)
class Splits:
    """A data set: training split, test split, and the number of classes (labels 0 … classes − 1).

    `notes`: remarks for the user that need not stop a run. `class_names`: in the order of the
    labels, where they have names. `origin`: facts that identify the files; a run records them in
    status.json.
    """

    train: Split | FileSplit
    test: Split | FileSplit
    classes: int
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width) of an image."""
        return self.train.shape


def limited_indices(count: int, limit: int) -> Tensor:
    """Return ascending indices of `limit` of `count` examples (0: all), the same for every
    seed.
    """
    if limit == 0 or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values


def stratified_split(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return indices (rest, held out) with the same share of every class held out.

    The held-out examples are the same for every seed.
    """
    generator = torch.Generator().manual_seed(0)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        held_out[members[order[: round(share * len(members))]]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()
