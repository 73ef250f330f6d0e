"""Trees of images: which folders are parts and classes, which files are images.

    ROOT/train/CLASS/*.png and ROOT/test/CLASS/*.png, or
    ROOT/CLASS/*.png, of which a share of each class is to be held out

- Names of parts are recognised by `names`. A folder that contains only one other folder
  (seg_train/seg_train/CLASS) is replaced by that folder, and the notes say so.
- All images below the folder of a class, at any depth, belong to the class.
- Links are followed, except for a link in the folder of a class that leads above it, to a part or
  to another class, and would give the label to images of others: such links are skipped and
  counted. A folder is read once for a class, so that a circle of links ends.
- A broken link with the name of an image is listed, and its image cannot be decoded later. Beside
  the folders of classes, any other broken link is refused, since it may be a class.
- Hidden files and folders, and files with other endings, are skipped and counted in the notes.

The tree of a run is compared with the one it was trained on before torch is loaded, so nothing here
imports torch.
"""

import os
from pathlib import Path

from dstrun.system.errors import DataError
from dstrun.system.image_tree.index import read_index, write_index
from dstrun.system.image_tree.lister import Lister
from dstrun.system.image_tree.messages import comma_list
from dstrun.system.image_tree.names import TEST, TRAIN
from dstrun.system.image_tree.tree import WHOLE, Part, Tree

__all__ = ["TEST", "TRAIN", "WHOLE", "Part", "Tree", "comma_list", "list_tree"]

MOST_KNOWN = 8  # trees kept in memory; one of a million images takes some 50 MB
# the trees that this process has listed, with the times of change of their folders
_KNOWN: dict[tuple[str, Path], tuple[Tree, dict[Path, int]]] = {}


def list_tree(root: Path) -> Tree:
    """Return the tree of images below a folder; raise DataError for one that no run can use.

    A tree is listed once in a process, a large one once on a machine (`index`), and again after a
    folder in it has changed, since many runs of a sweep need the same tree.
    """
    place = os.path.abspath(root), root
    for known in (_KNOWN.get(place), read_index(root) if place not in _KNOWN else None):
        if known and all(_changed(folder) == time for folder, time in known[1].items()):
            return _remember(place, *known)
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    lister = Lister()
    try:
        tree = lister.tree(root)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or root}: {error.strerror}") from error
    write_index(root, tree, lister.times)
    return _remember(place, tree, lister.times)


def _remember(place: tuple[str, Path], tree: Tree, times: dict[Path, int]) -> Tree:
    """Keep a tree for this process, and return it."""
    _KNOWN[place] = tree, times
    while len(_KNOWN) > MOST_KNOWN:
        _KNOWN.pop(next(iter(_KNOWN)))
    return tree


def _changed(folder: Path) -> int:
    """Return the time of change of a folder, ns; -1 if it cannot be read."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1
