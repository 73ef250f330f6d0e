"""Disk → tensors: a data set is two splits of uint8 images (N, C, H, W) with int64 labels (N,).

And scikit-learn's digits, which need no download. Knows errors, torch, and scikit-learn's files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dstrun.system.errors import DataError


@dataclass(frozen=True)
class Split:
    """images: uint8 (N, C, H, W); labels: int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Splits:
    """A data set: what to train on, what to test on, and how many classes the labels 0 … classes −
    1 stand for.

    `notes`: what a person should know of it and need not stop a run, in words. `class_names`: in
    the order of the labels, where they have names. `origin`: what tells the files it comes from
    apart; a run records it in status.json."""

    train: Split
    test: Split
    classes: int
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def chosen(count: int, limit: int) -> Tensor:
    """Indices of `limit` of `count` examples (0: all), the same for every seed, in ascending
    order."""
    if limit == 0 or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values


def stratified(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Indices (rest, held out): of every class the same share is held out, the same examples for
    every seed."""
    generator = torch.Generator().manual_seed(0)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        held_out[members[order[: round(share * len(members))]]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def digits(root: Path) -> Splits:
    """scikit-learn's 1,797 digits of 8×8 pixels in its own wheel, enlarged to 1×28×28 with a blank
    margin of 2.

    Four fifths of each class are for training, the rest for testing.
    """
    pixels, labels = _digits_table()
    small = pixels.view(-1, 1, 8, 8) * (255 / 16)
    enlarged = torch.nn.functional.interpolate(
        small, (24, 24), mode="bilinear", align_corners=False
    )
    images = torch.nn.functional.pad(enlarged, (2, 2, 2, 2)).round().to(torch.uint8)
    whole = Split(images, labels)
    train, test = stratified(whole.labels, 0.2)
    return Splits(whole.subset(train), whole.subset(test), classes=10)


def _digits_table() -> tuple[Tensor, Tensor]:
    """The 64 pixels, in [0, 16], and the label of each digit: scikit-learn's table, without a
    second of imports."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits come with scikit-learn, which is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
    return table[:, :-1], table[:, -1].long()
