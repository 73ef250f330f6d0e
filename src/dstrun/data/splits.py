"""Splits of a data set: text, or images, uint8 (N, C, H, W), or files, with labels, int64 (N,)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
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
class TextSplit:
    """One split of a text: its bytes, uint8 (N,), in sequences of `length`.

    Each byte but the first is to be predicted from those before it in its sequence.
    """

    text: Tensor
    length: int

    def __len__(self) -> int:
        """Return the number of sequences, of which the last may be shorter."""
        return max(0, ceil((len(self.text) - 1) / self.length))

    def limited(self, limit: int) -> "TextSplit":
        """Return the first `limit` sequences."""
        return replace(self, text=self.text[: limit * self.length + 1])

    def parted(self, share: float) -> tuple["TextSplit", "TextSplit"]:
        """Return the text in two parts without a byte in common, the last a share of the sequences.

        Either may have no sequence.
        """
        place = max(0, len(self.text) - round(share * len(self)) * self.length - 1)
        return replace(self, text=self.text[:place]), replace(self, text=self.text[place:])

    @property
    def shape(self) -> tuple[int]:
        """Shape of a sequence, (length,)."""
        return (self.length,)


AnySplit = Split | FileSplit | TextSplit


@dataclass(frozen=True)
class Splits:
    """A data set: training split, test split, and the number of classes (labels 0 … classes − 1).

    Of a text the classes are the values of a byte. `notes`: remarks for the user that need not stop
    a run. `class_names`: in the order of the labels, where they have names. `origin`: facts that
    identify the files; a run records them in status.json.
    """

    train: AnySplit
    test: AnySplit
    classes: int
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, height, width) of an image, or (length,) of a sequence of bytes."""
        return self.train.shape

    @property
    def task(self) -> str:
        """Return what is learned: "classes" of images, or the "next_token" of a text."""
        return "next_token" if isinstance(self.train, TextSplit) else "classes"


def limited_split(split: AnySplit, limit: int) -> AnySplit:
    """Return `limit` of the examples (0: all), the same for every seed; the first of a text."""
    if limit == 0 or limit >= len(split):
        return split
    if isinstance(split, TextSplit):
        return split.limited(limit)
    return split.subset(limited_indices(len(split), limit))


def held_out_split(split: AnySplit, share: float) -> tuple[AnySplit, AnySplit]:
    """Return (rest, held out): a share of every class, or the end of a text."""
    if isinstance(split, TextSplit):
        return split.parted(share)
    rest, held_out = stratified_split(split.labels, share)
    return split.subset(rest), split.subset(held_out)


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
