"""Whether a run can train on what a data set's builder gave: types, shapes, labels. Knows torch and
splits.

A user's own builder may give anything; what is no `Splits` of uint8 images and int64 labels is
refused in one line that says how to make it one."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dstrun.data.splits import Split, Splits
from dstrun.system.errors import DataError

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def check(splits: Any) -> Splits:
    """Return the same splits, or raise DataError for types, shapes or labels that no run could
    use."""
    if not isinstance(splits, Splits):
        raise DataError(
            f"got {_kind(splits)}, expected dstrun.Splits(train, test, classes) of two dstrun.Split"
        )
    if type(splits.classes) is not int:
        raise DataError(
            f"classes is {splits.classes!r}, {_kind(splits.classes)}, expected a whole number (int)"
        )
    for name, split in (("train", splits.train), ("test", splits.test)):
        if not isinstance(split, Split):
            raise DataError(f"{name} is {_kind(split)}, expected dstrun.Split(images, labels)")
        _check_images(name, split.images)
        _check_labels(name, split.labels, len(split.images), splits.classes)
    if splits.classes < 2:
        raise DataError(f"there is {splits.classes} class, expected at least 2")
    if isinstance(splits.notes, str) or not all(isinstance(note, str) for note in splits.notes):
        raise DataError(f"notes is {splits.notes!r}, expected a tuple of texts")
    if splits.class_names and len(splits.class_names) != splits.classes:
        raise DataError(
            f"there are {len(splits.class_names)} class_names, expected {splits.classes}, one a class"
        )
    shapes = [tuple(split.images.shape[1:]) for split in (splits.train, splits.test)]
    if shapes[0] != shapes[1]:
        raise DataError(f"train images are {shapes[0]}, test images {shapes[1]}")
    return splits


def note_missing_classes(splits: Splits) -> Splits:
    """Return the splits with a note of the classes that there is no image of to train on."""
    empty = (
        (splits.train.labels.bincount(minlength=splits.classes) == 0).nonzero().flatten().tolist()
    )
    if not empty:
        return splits
    named = [splits.class_names[label] if splits.class_names else str(label) for label in empty[:5]]
    which = ", ".join(named) + (" …" if len(empty) > 5 else "")
    note = f"no training image of {len(empty)} of {splits.classes} classes ({which})"
    return replace(splits, notes=(*splits.notes, note))


def _check_images(name: str, images: Any) -> None:
    """Raise DataError for what is not uint8 (N, C, H, W), with the expression that makes it so
    where that is known."""
    expected = "expected uint8 (N, C, H, W)"
    if not isinstance(images, Tensor):
        raise DataError(
            f"{name} images are {_kind(images)}, expected a torch tensor, {expected[9:]}{_as_tensor(images)}"
        )
    found, shape = f"{name} images are {images.dtype} {tuple(images.shape)}", images.shape
    if images.dim() == 3:
        raise DataError(f"{found}, {expected}: images.unsqueeze(1) adds one channel")
    if images.dim() != 4:
        raise DataError(f"{found}, {expected}")
    if images.dtype != torch.uint8:
        raise DataError(f"{found}, {expected}: {_as_bytes(images)}")
    if not len(images):
        raise DataError(f"the {name} split has no images")
    if 0 in shape:
        raise DataError(f"{found}: they have no pixels")
    square_last = shape[1] == shape[2] and shape[3] in CHANNELS and shape[1] > shape[3]
    if square_last or (shape[3] == 3 and min(shape[1:3]) > 4):
        raise DataError(
            f"{found}, which looks like (N, H, W, C), {expected}: images.permute(0, 3, 1, 2)"
        )


def _as_bytes(images: Tensor) -> str:
    """Return what makes uint8 pixels of these, by the range they lie in."""
    low, high = (
        (images.min().item(), images.max().item())
        if images.numel() and not images.is_complex()
        else (0, 0)
    )
    if images.is_floating_point() and low >= 0 and high <= 1:
        return "(images * 255).round().to(torch.uint8)"
    if low >= 0 and high <= 255:
        return "images.to(torch.uint8)"
    return f"they go from {low:.4g} to {high:.4g}; give pixels in 0 to 255, data.mean and data.std normalise them"


def _check_labels(name: str, labels: Any, images: int, classes: int) -> None:
    """Raise DataError for what is not int64 (N,) in 0 to classes − 1, with what makes it so where
    that is known."""
    expected = f"expected int64 ({images},)"
    if not isinstance(labels, Tensor):
        raise DataError(
            f"{name} labels are {_kind(labels)}, expected a torch tensor, {expected[9:]}{_as_tensor(labels)}"
        )
    found = f"{name} labels are {labels.dtype} {tuple(labels.shape)}"
    if labels.shape == (images, 1):
        raise DataError(f"{found}, {expected}: labels.flatten().long()")
    if labels.shape == (images, classes):
        raise DataError(f"{found}, which looks one-hot, {expected}: labels.argmax(1)")
    if labels.shape != (images,):
        raise DataError(f"{found}, {expected}")
    if labels.dtype != torch.int64:
        raise DataError(f"{found}, {expected}: labels.long()")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= classes:
        hint = ": labels - 1" if (low, high) == (1, classes) else ""
        raise DataError(f"{name} labels go from {low} to {high}, expected 0 to {classes - 1}{hint}")


def _kind(value: Any) -> str:
    """Return what something is in words: 'a tuple', 'a NumPy array', 'nothing' for None."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _as_tensor(value: Any) -> str:
    """Return what makes a tensor of a value, after a colon; '' where that is not known."""
    if isinstance(value, np.ndarray):
        return ": torch.from_numpy(…)"
    if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
        return ": torch.stack(…)"
    return ": torch.tensor(…)" if isinstance(value, list | tuple) else ""
