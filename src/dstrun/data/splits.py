"""Disk → tensors: a data set is two splits of uint8 images (N, C, H, W) with int64 labels (N,).

What cannot be read raises DataError with one line that says what was looked for and where. Knows torch, and
torchvision or scikit-learn where a set comes from them.
"""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dstrun.errors import DataError

PUBLISHED = {  # of sets whose files torchvision itself compares with nothing once they are unpacked: SHA-256
    "MNIST": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
}


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
    """A data set: what to train on, what to test on, and how many classes the labels 0 … classes − 1 stand for.

    `notes`: what a person should know of it and need not stop a run, in words. `class_names`: in the order of the
    labels, where they have names. `origin`: what tells the files it comes from apart; a run records it in status.json.
    """

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


def check(splits: Splits) -> Splits:
    """The same splits, or DataError for shapes, types or labels that no run could use.

    A class of which there is nothing to train on is noted.
    """
    for name, split in (("train", splits.train), ("test", splits.test)):
        images, labels = split.images, split.labels
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise DataError(f"{name} images are {images.dtype} {tuple(images.shape)}, expected uint8 (N, C, H, W)")
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise DataError(f"{name} labels are {labels.dtype} {tuple(labels.shape)}, expected int64 ({len(images)},)")
        if not len(labels):
            raise DataError(f"the {name} split has no images")
        if labels.min() < 0 or labels.max() >= splits.classes:
            raise DataError(
                f"{name} labels go from {labels.min()} to {labels.max()}, expected 0 to {splits.classes - 1}"
            )
    if splits.classes < 2:
        raise DataError(f"there is {splits.classes} class, expected at least 2")
    shapes = [tuple(split.images.shape[1:]) for split in (splits.train, splits.test)]
    if shapes[0] != shapes[1]:
        raise DataError(f"train images are {shapes[0]}, test images {shapes[1]}")
    empty = (splits.train.labels.bincount(minlength=splits.classes) == 0).nonzero().flatten().tolist()
    if empty:
        which = ", ".join(map(str, empty[:5])) + (" …" if len(empty) > 5 else "")
        note = f"no training image of {len(empty)} of {splits.classes} classes ({which})"
        return replace(splits, notes=(*splits.notes, note))
    return splits


def chosen(count: int, limit: int) -> Tensor:
    """Indices of `limit` of `count` examples (0: all), the same for every seed, in ascending order."""
    if limit == 0 or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit].sort().values


def stratified(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Indices (rest, held out): of every class the same share is held out, the same examples for every seed."""
    generator = torch.Generator().manual_seed(0)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        held_out[members[order[: round(share * len(members))]]] = True
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def digits(root: Path, download: bool = False, size: int = 0, train_limit: int = 0, test_limit: int = 0) -> Splits:
    """scikit-learn's 1,797 digits of 8×8 pixels in its own wheel, enlarged to 1×28×28 with a blank margin of 2.

    Four fifths of each class are for training, the rest for testing.
    """
    pixels, labels = _digits_table()
    small = pixels.view(-1, 1, 8, 8) * (255 / 16)
    enlarged = torch.nn.functional.interpolate(small, (24, 24), mode="bilinear", align_corners=False)
    images = torch.nn.functional.pad(enlarged, (2, 2, 2, 2)).round().to(torch.uint8)
    whole = Split(images, labels)
    train, test = stratified(whole.labels, 0.2)
    return Splits(whole.subset(train), whole.subset(test), classes=10)


def _digits_table() -> tuple[Tensor, Tensor]:
    """The 64 pixels, in [0, 16], and the label of each digit: scikit-learn's table, without a second of imports."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits come with scikit-learn, which is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
    return table[:, :-1], table[:, -1].long()


def torchvision_set(
    kind: str, root: Path, download: bool = False, size: int = 0, train_limit: int = 0, test_limit: int = 0
) -> Splits:
    """One of torchvision's sets by its class name, read from its usual place below `root`."""
    import torchvision

    build = getattr(torchvision.datasets, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CIFAR's pickles are older than numpy's wishes about them
            sets = [build(root, train=train, download=download) for train in (True, False)]
        train, test = (Split(_channels_first(part.data), torch.as_tensor(part.targets)) for part in sets)
    except Exception as error:  # torchvision raises whatever its parsers do, RuntimeError to UnpicklingError
        raise DataError(_why_unreadable(kind, root, download, error)) from error
    for name, digest in PUBLISHED.get(kind, {}).items():
        file = root / kind / "raw" / name
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != digest:
                raise DataError(f"{kind} is damaged: {file} is not the file that was published (by its SHA-256)")
    return Splits(train, test, classes=len(sets[0].classes))


def _channels_first(data: Any) -> Tensor:
    images = torch.as_tensor(data)
    return images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()


def _why_unreadable(kind: str, root: Path, download: bool, error: Exception) -> str:
    place = root / {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}.get(kind, f"{kind}/raw")
    if download:
        return f"{kind} could not be downloaded to {root} ({type(error).__name__}: {error})"
    what = "is damaged" if place.is_dir() and any(place.iterdir()) else "is not there"
    return f"{kind} {what}: expected its files in {place} (data.download=true fetches them)"
