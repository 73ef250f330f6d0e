"""Tree of images with one folder per class, read into memory once. `image_tree` lists its files.

Images are rotated as their EXIF orientation says, as viewers show them, and converted to RGB: alpha
is dropped, and of an animation or a file of several pages the first is read. The shorter side is
scaled to `size` pixels, and the centre square is cut out.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dstrun.data.splits import Split, Splits, limited_indices, stratified_split
from dstrun.system.errors import DataError
from dstrun.system.image_tree import TEST, TRAIN, WHOLE, Part, list_tree

if TYPE_CHECKING:
    from PIL import Image

HELD_OUT = 0.2  # of each class, for testing, of a tree without parts
MEMORY_SHARE = 0.8  # of this machine, that the images of a split may take


def folder(
    root: Path,
    size: int = 32,
    train_limit: int = 0,
    test_limit: int = 0,
    undecodable: float = 0.0,
) -> Splits:
    """Return the tree below `root` as splits of (3, size, size) images.

    The limits are applied before any image is decoded. Up to a share `undecodable`, in [0, 1), of
    each split may be images that cannot be decoded: they are left out, and noted. Raise DataError
    for more of them, a tree without images, an empty class, a class that only the test part has,
    and images that memory cannot hold.
    """
    if not (isinstance(undecodable, int | float) and 0 <= undecodable < 1):
        raise ValueError(f"undecodable is {undecodable!r}, expected a share ≥ 0 and < 1")
    tree = list_tree(root)
    if WHOLE in tree.parts:
        train, test = _split(tree.parts[WHOLE])
    else:
        train, test = _files(tree.parts[TRAIN]), _files(tree.parts[TEST])
    train_split, train_notes = _decode("training", *train, train_limit, size, undecodable)
    test_split, test_notes = _decode("test", *test, test_limit, size, undecodable)
    notes = (*tree.notes, *train_notes, *test_notes)
    return Splits(train_split, test_split, len(tree.classes), notes, tree.classes, tree.facts)


def _files(part: Part) -> tuple[list[str], Tensor]:
    return list(part.files), torch.tensor(part.labels)


def _split(part: Part) -> tuple[tuple[list[str], Tensor], tuple[list[str], Tensor]]:
    """Return files and labels for training, and for testing, of a tree without parts."""
    files, labels = _files(part)
    train, test = stratified_split(labels, HELD_OUT)
    train_files = [files[index] for index in train]
    test_files = [files[index] for index in test]
    return (train_files, labels[train]), (test_files, labels[test])


def _decode(
    part: str, files: Sequence[str], labels: Tensor, limit: int, size: int, undecodable: float
) -> tuple[Split, list[str]]:
    """Return the images that can be decoded, and a note on the others.

    Raise DataError where more than a share `undecodable` cannot be decoded.
    """
    indices = limited_indices(len(files), limit)
    images, reasons = _read_all([files[index] for index in indices], size)
    split = Split(images, labels[indices])
    if not reasons:
        return split, []
    broken, total = len(reasons), len(indices)
    note = f"{broken} of {total:,} {part} images cannot be decoded ({next(iter(reasons.values()))}"
    note += f", and {broken - 1} more)" if broken > 1 else ")"
    if broken > undecodable * total:
        raise DataError(f"{note}{_advice(broken, total, undecodable)}")
    good = [place for place in range(total) if place not in reasons]
    return split.subset(torch.tensor(good)), [f"{note}: left out"]


def _read_all(files: Sequence[str], size: int) -> tuple[Tensor, dict[int, str]]:
    """Return the images, uint8 (N, 3, size, size), and why some cannot be decoded, by index."""
    _require_memory(len(files), size)
    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)

    def read(index: int) -> str | None:
        try:
            images[index] = _read(Path(files[index]), size)
        except Undecodable as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd files that it can read
        found = enumerate(pool.map(read, range(len(files))))
        return images, {index: reason for index, reason in found if reason}


def _require_memory(images: int, size: int) -> None:
    """Raise DataError where the images of a split would take too much of the memory."""
    needed = images * 3 * size * size
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory * MEMORY_SHARE:
        raise DataError(
            f"{images:,} images of {size}×{size} take {needed / 2**30:.0f} GiB, this machine has "
            f"{memory / 2**30:.0f}: lower data.size or set data.train_limit"
        )


def _advice(broken: int, images: int, allowed: float) -> str:
    """Return what to do about a split with more broken images than allowed."""
    if broken == images:
        return "; none of them can"
    needed = min(ceil(round(1000 * broken / images, 6)) / 1000, broken / (broken + 1))
    more = f", more than data.args.undecodable={allowed:g} allows" if allowed else ""
    return f"{more}; data.args.undecodable={needed:g} leaves them out"


class Undecodable(Exception):
    """An image file that cannot be decoded; the message, one line, says which and why."""


def _read(path: Path, size: int) -> Tensor:
    """Return one image, uint8 (3, size, size)."""
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import pil_to_tensor

    try:
        with Image.open(path) as image:
            # Pillow would clip values above 255, and turn NaN into 0.
            if image.mode.startswith(("F", "I")):
                raise ValueError("has floating-point or 16-bit pixels, expected 8 bits per channel")
            return pil_to_tensor(ImageOps.fit(_rotated(image).convert("RGB"), (size, size)))
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Undecodable(f"{path}: {reason}") from error


def _rotated(image: "Image.Image") -> "Image.Image":
    """Return the image in its EXIF orientation, or unchanged where the EXIF data is damaged."""
    from PIL import ImageOps

    image.load()
    with suppress(Exception):  # struct.error, TypeError and others, for damaged EXIF data
        ImageOps.exif_transpose(image, in_place=True)
    return image
