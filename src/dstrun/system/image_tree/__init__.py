"""Trees of images: which folders are parts and classes, which files are images, and what is passed
over.

    ROOT/train/CLASS/*.png and ROOT/test/CLASS/*.png, or
    ROOT/CLASS/*.png, of which a share of each class is to be held out

- Parts are known by `names`. A folder that only wraps another (seg_train/seg_train/CLASS) is stepped into, and the
  notes say so.
- All images below a class's folder, at any depth, are the class's.
- Links are followed, but for those in a class's folder that lead above it, to a part or to another class's folder, and
  would label images of others: these are passed over and counted. A folder is read once a class, so that a loop of
  links ends.
- A link to nothing that has the name of an image is listed, and cannot be decoded later. Beside the folders of classes,
  any other link to nothing is refused: it may be a class.
- Hidden files and folders, and files with other endings, are passed over and counted in the notes.

Knows errors. No torch: a run's tree is compared with the one it was trained on before torch is
loaded."""

import os
from pathlib import Path

from dstrun.system.errors import DataError
from dstrun.system.image_tree.lister import Lister
from dstrun.system.image_tree.names import TEST, TRAIN
from dstrun.system.image_tree.tree import WHOLE, Part, Tree

__all__ = ["TEST", "TRAIN", "WHOLE", "Part", "Tree", "list_tree"]

MOST_KNOWN = 8  # trees kept in memory; one of a million images takes some 200 MB
_KNOWN: dict[
    tuple[str, Path], tuple[Tree, dict[Path, int]]
] = {}  # trees of this process, with their folders' times of change


def list_tree(root: Path) -> Tree:
    """Return what a tree of images holds. DataError for one that no run could use.

    A tree is listed once a process, and again when a folder in it has changed: a sweep of many runs
    looks at one tree."""
    place = os.path.abspath(root), root
    tree, times = _KNOWN.get(place, (None, {}))
    if tree is not None and all(_changed(folder) == time for folder, time in times.items()):
        return tree
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    lister = Lister()
    try:
        tree = lister.tree(root)
    except OSError as error:
        raise DataError(str(error)) from error
    while len(_KNOWN) >= MOST_KNOWN:
        _KNOWN.pop(next(iter(_KNOWN)))
    _KNOWN[place] = tree, lister.times
    return tree


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1
