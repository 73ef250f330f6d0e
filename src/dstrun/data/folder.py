"""A tree of images, one folder a class, read into memory once.

    ROOT/train/CLASS/*.png and ROOT/test/CLASS/*.png (or val/, valid/, validation/), or
    ROOT/CLASS/*.png, of which a fifth of each class is held out for testing

Images become RGB, their shorter side `size` pixels long, and are cut square at the centre. Knows torch, and Pillow
through torchvision.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from dstrun.data.splits import DataError, Split, Splits, chosen, stratified

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def folder(
    root: Path,
    download: bool = False,
    size: int = 32,
    train_limit: int = 0,
    test_limit: int = 0,
    undecodable: float = 0.0,
) -> Splits:
    """The tree below `root` as splits of (3, size, size) images; limits are applied before anything is decoded.

    Of each split a share of at most `undecodable`, in [0, 1), may be images that cannot be decoded: they are left out,
    and noted. Raises DataError for more of them, a tree with no images, an empty class, a class that only the test part
    has, or more images than memory holds.
    """
    if not (isinstance(undecodable, int | float) and 0 <= undecodable < 1):
        raise ValueError(f"undecodable is {undecodable!r}, expected a share ≥ 0 and < 1")
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    parts = {part.name: part for part in root.iterdir() if part.is_dir()}
    tests = [parts[name] for name in ("test", "val", "valid", "validation") if name in parts]
    test_part = next(filter(_classes, tests), tests[0] if tests else None)  # ImageNet's own test/ has no classes
    if "train" in parts and not test_part:
        raise DataError(f"{root} has train/ but neither test/ nor val/ beside it")
    if "train" in parts and test_part:
        files, labels, classes = _listing(parts["train"])
        test_files, test_labels, _ = _listing(test_part, classes)
    else:
        all_files, all_labels, classes = _listing(root)
        train, test = stratified(all_labels, 0.2)
        files, labels = [all_files[i] for i in train], all_labels[train]
        test_files, test_labels = [all_files[i] for i in test], all_labels[test]
    train_split, notes = _decoded(files, labels, train_limit, size, undecodable)
    test_split, test_notes = _decoded(test_files, test_labels, test_limit, size, undecodable)
    return Splits(train_split, test_split, len(classes), (*notes, *test_notes))


def _classes(root: Path) -> list[str]:
    """The folders in it, but for hidden ones, sorted."""
    return sorted(part.name for part in root.iterdir() if part.is_dir() and not part.name.startswith("."))


def _listing(root: Path, classes: Sequence[str] | None = None) -> tuple[list[Path], Tensor, list[str]]:
    """The image files below `root`, their labels, and the classes in the order of the labels."""
    found = _classes(root)
    if classes is not None and (extra := sorted(set(found) - set(classes))):
        raise DataError(f"{root} has classes that the training part has not: {', '.join(extra[:5])}")
    names = list(classes or found)
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        images = sorted(
            path
            for path in (root / name).rglob("*")
            if path.suffix.lower() in ENDINGS and f"{os.sep}." not in str(path)[len(str(root)) :]
        )
        if not images and name in found:
            raise DataError(f"class {name!r} in {root} holds no image ({', '.join(ENDINGS)})")
        files += images
        labels += [label] * len(images)
    if not files:
        raise DataError(f"{root} holds no class folders with images in them")
    return files, torch.tensor(labels), names


def _decoded(
    files: Sequence[Path], labels: Tensor, limit: int, size: int, undecodable: float
) -> tuple[Split, list[str]]:
    """What can be decoded of the files, and a note where that is not all; DataError where too much is not."""
    indices = chosen(len(files), limit).tolist()
    needed, memory = len(indices) * 3 * size * size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory * 0.8:
        raise DataError(
            f"{len(indices):,} images of {size}×{size} take {needed / 2**30:.0f} GiB, this machine has "
            f"{memory / 2**30:.0f}: lower data.size or set data.train_limit"
        )
    images = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)

    def decode(position: int) -> str | None:
        try:
            images[position] = _read(files[indices[position]], size)
        except Undecodable as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        broken = {at: why for at, why in enumerate(pool.map(decode, range(len(indices)))) if why}
    split = Split(images, labels[indices])
    if not broken:
        return split, []
    told = f"{len(broken)} of {len(indices):,} images cannot be decoded ({next(iter(broken.values()))}"
    told += f", and {len(broken) - 1} more)" if len(broken) > 1 else ")"
    if len(broken) > undecodable * len(indices):
        raise DataError(f"{told}; data.args.undecodable=0.01 would leave out up to 1 % of them")
    good = [at for at in range(len(indices)) if at not in broken]
    return split.subset(torch.tensor(good)), [f"{told}: left out"]


class Undecodable(Exception):
    """An image file that no image can be made of; the message names it, and says why in one line."""


def _read(path: Path, size: int) -> Tensor:
    """One image, uint8 (3, size, size)."""
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import pil_to_tensor

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("F", "I")):  # of which Pillow would cut off all above 255, and make 0 of NaN
                raise ValueError("has floating-point or 16-bit pixels, expected 8 bits a channel")
            return pil_to_tensor(ImageOps.fit(image.convert("RGB"), (size, size)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(f"{path}: {' '.join(str(error).split())}") from error
