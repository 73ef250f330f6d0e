"""A tree of images, one folder a class, read into memory once. `image_tree` says what its parts and
classes are.

Images are turned as their EXIF orientation says, as viewers show them, and become RGB: alpha is
dropped, and of an animation or a file of several pages the first is read. Their shorter side
becomes `size` pixels, and they are cut square at the centre. Knows image_tree, torch, and Pillow
through torchvision."""

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

from dstrun.data.splits import Split, Splits, chosen, stratified
from dstrun.system.errors import DataError
from dstrun.system.image_tree import TEST, TRAIN, WHOLE, Part, list_tree

if TYPE_CHECKING:
    from PIL import Image

HELD_OUT = 0.2  # of each class, for testing, of a tree without parts


def folder(
    root: Path,
    download: bool = False,
    size: int = 32,
    train_limit: int = 0,
    test_limit: int = 0,
    undecodable: float = 0.0,
) -> Splits:
    """The tree below `root` as splits of (3, size, size) images; limits are applied before anything
    is decoded.

    Of each split a share of at most `undecodable`, in [0, 1), may be images that cannot be decoded:
    they are left out, and noted. Raises DataError for more of them, a tree with no images, an empty
    class, a class that only the test part has, or more images than memory holds."""
    if not (isinstance(undecodable, int | float) and 0 <= undecodable < 1):
        raise ValueError(f"undecodable is {undecodable!r}, expected a share ≥ 0 and < 1")
    tree = list_tree(root)
    if WHOLE in tree.parts:
        files, labels = _files(tree.parts[WHOLE])
        train, test = stratified(labels, HELD_OUT)
        train_part, test_part = (
            ([files[i] for i in indices], labels[indices]) for indices in (train, test)
        )
    else:
        train_part, test_part = _files(tree.parts[TRAIN]), _files(tree.parts[TEST])
    train_split, train_notes = _decoded("training", *train_part, train_limit, size, undecodable)
    test_split, test_notes = _decoded("test", *test_part, test_limit, size, undecodable)
    notes = (*tree.notes, *train_notes, *test_notes)
    return Splits(train_split, test_split, len(tree.classes), notes, tree.classes, tree.facts)


def _files(part: Part) -> tuple[list[str], Tensor]:
    return list(part.files), torch.tensor(part.labels)


def _decoded(
    part: str, files: Sequence[str], labels: Tensor, limit: int, size: int, undecodable: float
) -> tuple[Split, list[str]]:
    """What can be decoded of the files, and a note where that is not all; DataError where too much
    is not."""
    indices = chosen(len(files), limit).tolist()
    needed, memory = (
        len(indices) * 3 * size * size,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )
    if needed > memory * 0.8:
        raise DataError(
            f"{len(indices):,} images of {size}×{size} take {needed / 2**30:.0f} GiB, this machine has "
            f"{memory / 2**30:.0f}: lower data.size or set data.train_limit"
        )
    images = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)

    def decode(position: int) -> str | None:
        try:
            images[position] = _read(Path(files[indices[position]]), size)
        except Undecodable as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd files that it reads all the same
        broken = {at: why for at, why in enumerate(pool.map(decode, range(len(indices)))) if why}
    split = Split(images, labels[indices])
    if not broken:
        return split, []
    told = f"{len(broken)} of {len(indices):,} {part} images cannot be decoded ({next(iter(broken.values()))}"
    told += f", and {len(broken) - 1} more)" if len(broken) > 1 else ")"
    if len(broken) > undecodable * len(indices):
        raise DataError(f"{told}{_advice(len(broken), len(indices), undecodable)}")
    good = [at for at in range(len(indices)) if at not in broken]
    return split.subset(torch.tensor(good)), [f"{told}: left out"]


def _advice(broken: int, images: int, allowed: float) -> str:
    """Return what to do of a split of which more cannot be decoded than is allowed."""
    if broken == images:
        return "; none of them can"
    needed = min(ceil(round(1000 * broken / images, 6)) / 1000, broken / (broken + 1))
    more = f", more than data.args.undecodable={allowed:g} allows" if allowed else ""
    return f"{more}; data.args.undecodable={needed:g} leaves them out"


class Undecodable(Exception):
    """An image file that no image can be made of; the message names it, and says why in one
    line."""


def _read(path: Path, size: int) -> Tensor:
    """One image, uint8 (3, size, size)."""
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import pil_to_tensor

    try:
        with Image.open(path) as image:
            if image.mode.startswith(
                ("F", "I")
            ):  # of which Pillow would cut off all above 255, and make 0 of NaN
                raise ValueError("has floating-point or 16-bit pixels, expected 8 bits a channel")
            return pil_to_tensor(ImageOps.fit(_turned(image).convert("RGB"), (size, size)))
    except Exception as error:  # Pillow's readers raise a dozen kinds for damaged files
        raise Undecodable(
            f"{path}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _turned(image: "Image.Image") -> "Image.Image":
    """Return the image as its EXIF orientation shows it; as it is where the EXIF data is
    damaged."""
    from PIL import ImageOps

    image.load()
    with suppress(Exception):  # struct.error, TypeError and others, of what is beside the pixels
        ImageOps.exif_transpose(image, in_place=True)
    return image
