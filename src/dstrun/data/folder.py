"""Tree of images with one folder per class: read into memory once, or streamed from its files.

`image_tree` lists the files, `image_files` decodes them.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from dstrun.data.image_files import Undecodable, read_square
from dstrun.data.splits import FileSplit, Split, Splits, limited_indices, stratified_split
from dstrun.system.errors import DataError
from dstrun.system.image_tree import WHOLE, Tree, comma_list, list_tree

HELD_OUT = 0.2  # of each class, for testing, of a tree without parts
MEMORY_SHARE = 0.8  # of this machine, that the images of a split may take


def folder(
    root: Path,
    size: int = 32,
    train_limit: int = 0,
    test_limit: int = 0,
    stream: bool = False,
    undecodable: float = 0.0,
) -> Splits:
    """Return the tree below `root` as splits of (3, size, size) images, or with `stream` of files.

    The limits are applied before any image is decoded. Up to a share `undecodable`, in [0, 1), of
    each split may be images that cannot be decoded: they are left out, and noted; of a stream once
    they are met. Raise DataError for more of them, a tree without images, an empty class, a class
    that only the test part has, and images that memory cannot hold; of a stream, for a class that
    only the training part has, too.
    """
    if not (isinstance(undecodable, int | float) and 0 <= undecodable < 1):
        raise ValueError(f"undecodable is {undecodable!r}, expected a share ≥ 0 and < 1")
    tree = list_tree(root)
    train, test = _file_splits(tree, size, undecodable)
    if stream:
        _refuse_untested(tree, test)
    train = train.subset(limited_indices(len(train), train_limit))
    test = test.subset(limited_indices(len(test), test_limit))
    if stream:
        return Splits(train, test, len(tree.classes), tree.notes, tree.classes, tree.facts)
    train_split, train_notes = _decode("training", train)
    test_split, test_notes = _decode("test", test)
    notes = (*tree.notes, *train_notes, *test_notes)
    return Splits(train_split, test_split, len(tree.classes), notes, tree.classes, tree.facts)


def _file_splits(tree: Tree, size: int, undecodable: float) -> tuple[FileSplit, FileSplit]:
    """Return the files for training, and for testing: a share of each class without parts."""
    found = []
    for part in tree.parts.values():
        counts = torch.tensor(part.counts)
        labels = torch.arange(len(counts)).repeat_interleave(counts)
        found.append(FileSplit(part.files, labels, torch.arange(len(labels)), size, undecodable))
    if WHOLE in tree.parts:
        train, test = (
            found[0].subset(some) for some in stratified_split(found[0].labels, HELD_OUT)
        )
    else:
        train, test = found
    return train, test


def _refuse_untested(tree: Tree, test: FileSplit) -> None:
    """Raise DataError for a class without a test image, as of a tree of which a part is missing."""
    counts = test.labels.bincount(minlength=len(tree.classes))
    if names := [name for name, count in zip(tree.classes, counts, strict=True) if not count]:
        raise DataError(f"the test part has no image of {comma_list(names, 5)}")


def _decode(part: str, files: FileSplit) -> tuple[Split, tuple[str, ...]]:
    """Return the images that can be decoded, and a note on the others.

    Raise DataError where more than the allowed share cannot be decoded.
    """
    images, reasons = _read_all(files)
    split, undecodable = Split(images, files.labels), files.undecodable
    if not reasons:
        return split, ()
    broken, total = len(reasons), len(files)
    note = f"{broken} of {total:,} {part} images cannot be decoded ({next(iter(reasons.values()))}"
    note += f", and {broken - 1} more)" if broken > 1 else ")"
    if broken > undecodable * total:
        raise DataError(f"{note}{_advice(broken, total, undecodable)}")
    good = [place for place in range(total) if place not in reasons]
    return split.subset(torch.tensor(good)), (f"{note}: left out",)


def _read_all(files: FileSplit) -> tuple[Tensor, dict[int, str]]:
    """Return the images, uint8 (N, 3, size, size), and why some cannot be decoded, by index."""
    _require_memory(len(files), files.size)
    images = torch.empty(len(files), *files.shape, dtype=torch.uint8)

    def read(index: int) -> str | None:
        try:
            images[index] = read_square(Path(files.file(index)), files.size)
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
            f"{memory / 2**30:.0f}: lower data.size, set data.train_limit or data.stream=true"
        )


def _advice(broken: int, images: int, allowed: float) -> str:
    """Return what to do about a split with more broken images than allowed."""
    if broken == images:
        return "; none of them can"
    needed = min(ceil(round(1000 * broken / images, 6)) / 1000, broken / (broken + 1))
    more = f", more than data.args.undecodable={allowed:g} allows" if allowed else ""
    return f"{more}; data.args.undecodable={needed:g} leaves them out"
