"""Checks of what a data set's builder returns: types, shapes and labels.

A user's own builder may return anything; DataError says in one line what was expected, and how to
convert the value where that is known.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dstrun.data.splits import FileSplit, Split, Splits, TextSplit
from dstrun.system.errors import DataError

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
IMAGES = "uint8 (N, C, H, W)"
NAMED = 5  # classes that a note names


def check(splits: Any) -> Splits:
    """Return the same splits; raise DataError for types, shapes or labels that no run can use."""
    if not isinstance(splits, Splits):
        raise DataError(
            f"got {_kind(splits)}, expected dstrun.Splits(train, test, classes) of two dstrun.Split"
        )
    if type(splits.classes) is not int:
        raise DataError(
            f"classes is {splits.classes!r}, {_kind(splits.classes)}, expected a whole number (int)"
        )
    if isinstance(splits.train, TextSplit) or isinstance(splits.test, TextSplit):
        _check_text(splits)
        return splits
    for name, split in (("train", splits.train), ("test", splits.test)):
        if not isinstance(split, Split | FileSplit):
            raise DataError(f"{name} is {_kind(split)}, expected dstrun.Split(images, labels)")
        if isinstance(split, Split):
            _check_images(name, split.images)
        images = split.images if isinstance(split, Split) else split.places
        _check_labels(name, split.labels, len(images), splits.classes)
    if splits.classes < 2:
        raise DataError(f"there is {splits.classes} class, expected at least 2")
    _check_texts(splits)
    train, test = splits.train.shape, splits.test.shape
    if train != test:
        raise DataError(f"train images are {train}, test images {test}")
    return splits


def note_missing_classes(splits: Splits) -> Splits:
    """Return the splits with a note of the classes without a training image."""
    if isinstance(splits.train, TextSplit):
        return splits
    counts = splits.train.labels.bincount(minlength=splits.classes)
    missing = (counts == 0).nonzero().flatten().tolist()
    if not missing:
        return splits
    names = splits.class_names or range(splits.classes)
    named = ", ".join(str(names[label]) for label in missing[:NAMED])
    more = " …" if len(missing) > NAMED else ""
    note = f"no training image of {len(missing)} of {splits.classes} classes ({named}{more})"
    return replace(splits, notes=(*splits.notes, note))


def _check_text(splits: Splits) -> None:
    """Raise DataError for splits of which one or both are texts, but not as a run takes them."""
    for name, split in (("train", splits.train), ("test", splits.test)):
        if not isinstance(split, TextSplit):
            raise DataError(f"{name} is {_kind(split)}, expected dstrun.TextSplit as the other is")
        text = split.text
        if not isinstance(text, Tensor) or text.dtype != torch.uint8 or text.dim() != 1:
            found = _kind(text)
            if isinstance(text, Tensor):
                found = f"{text.dtype} {tuple(text.shape)}"
            raise DataError(f"the {name} text is {found}, expected a torch tensor, uint8 (N,)")
        if not len(split):
            raise DataError(f"the {name} text has {len(text)} bytes, expected at least 2")
    if splits.classes != 256:
        raise DataError(f"classes is {splits.classes}, expected 256, the values of a byte")
    if splits.train.shape != splits.test.shape:
        lengths = f"{splits.train.shape[0]} bytes, test sequences {splits.test.shape[0]}"
        raise DataError(f"train sequences have {lengths}")
    _check_texts(splits)


def _check_texts(splits: Splits) -> None:
    """Raise DataError for notes that are no texts, or a wrong number of class names."""
    if isinstance(splits.notes, str) or not all(isinstance(note, str) for note in splits.notes):
        raise DataError(f"notes is {splits.notes!r}, expected a tuple of texts")
    if splits.class_names and len(splits.class_names) != splits.classes:
        raise DataError(
            f"there are {len(splits.class_names)} class_names, "
            f"expected {splits.classes}, one per class"
        )


def _check_images(name: str, images: Any) -> None:
    """Raise DataError for images that are not uint8 (N, C, H, W)."""
    if not isinstance(images, Tensor):
        raise DataError(
            f"{name} images are {_kind(images)}, expected a torch tensor, {IMAGES}"
            f"{_as_tensor(images)}"
        )
    found = f"{name} images are {images.dtype} {tuple(images.shape)}"
    if images.dim() == 3:
        raise DataError(f"{found}, expected {IMAGES}: images.unsqueeze(1) adds one channel")
    if images.dim() != 4:
        raise DataError(f"{found}, expected {IMAGES}")
    if images.dtype != torch.uint8:
        raise DataError(f"{found}, expected {IMAGES}: {_as_bytes(images)}")
    if not len(images):
        raise DataError(f"the {name} split has no images")
    if 0 in images.shape:
        raise DataError(f"{found}: they have no pixels")
    if _has_channels_last(images.shape):
        raise DataError(
            f"{found}, which looks like (N, H, W, C), expected {IMAGES}: images.permute(0, 3, 1, 2)"
        )


def _has_channels_last(shape: torch.Size) -> bool:
    """Return whether a shape of four dimensions looks like (N, H, W, C)."""
    _, height, width, channels = shape
    if height == width and channels in CHANNELS and height > channels:
        return True
    return channels == 3 and min(height, width) > 4


def _as_bytes(images: Tensor) -> str:
    """Return the expression that makes uint8 pixels of images, by the range of their values."""
    low, high = 0, 0
    if images.numel() and not images.is_complex():
        low, high = images.min().item(), images.max().item()  # type: ignore[assignment]
    if images.is_floating_point() and low >= 0 and high <= 1:
        return "(images * 255).round().to(torch.uint8)"
    if low >= 0 and high <= 255:
        return "images.to(torch.uint8)"
    return (
        f"they go from {low:.4g} to {high:.4g}; give pixels in 0 to 255, "
        "data.mean and data.std normalise them"
    )


def _check_labels(name: str, labels: Any, images: int, classes: int) -> None:
    """Raise DataError for labels that are not int64 (N,) in 0 to classes − 1."""
    expected = f"int64 ({images},)"
    if not isinstance(labels, Tensor):
        raise DataError(
            f"{name} labels are {_kind(labels)}, expected a torch tensor, {expected}"
            f"{_as_tensor(labels)}"
        )
    found = f"{name} labels are {labels.dtype} {tuple(labels.shape)}"
    if labels.shape == (images, 1):
        raise DataError(f"{found}, expected {expected}: labels.flatten().long()")
    if labels.shape == (images, classes):
        raise DataError(f"{found}, which looks one-hot, expected {expected}: labels.argmax(1)")
    if labels.shape != (images,):
        raise DataError(f"{found}, expected {expected}")
    if labels.dtype != torch.int64:
        raise DataError(f"{found}, expected {expected}: labels.long()")
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= classes:
        hint = ": labels - 1" if (low, high) == (1, classes) else ""
        raise DataError(f"{name} labels go from {low} to {high}, expected 0 to {classes - 1}{hint}")


def _kind(value: Any) -> str:
    """Return a value's type in words: 'a tuple', 'a NumPy array', 'nothing (None)'."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _as_tensor(value: Any) -> str:
    """Return the function that makes a tensor of a value, after a colon; '' where unknown."""
    if isinstance(value, np.ndarray):
        return ": torch.from_numpy(…)"
    if not isinstance(value, list | tuple):
        return ""
    is_of_tensors = bool(value) and isinstance(value[0], Tensor)
    return ": torch.stack(…)" if is_of_tensors else ": torch.tensor(…)"
