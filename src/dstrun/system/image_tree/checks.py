"""Check that the folders taken for classes are not parts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dstrun.system.errors import DataError
from dstrun.system.image_tree.names import EXPECTED
from dstrun.system.image_tree.tree import Images


def refuse_parts_for_classes(part: Path, classes: Mapping[str, Images]) -> None:
    """Raise DataError for classes without images of their own, but with folders of equal names.

    Those folders are the classes. One equal name is not enough: some trees are published as
    CLASS/images/*.
    """
    folders = {name: _folders(images) for name, images in classes.items()}
    counts = Counter(folder for inside in folders.values() for folder in inside)
    common = sorted(folder for folder, count in counts.items() if count > 1)
    if len(common) > 1:
        holders = sorted(name for name, inside in folders.items() if inside & set(common))
        raise DataError(
            f"{part} holds {', '.join(holders[:4])}, and these hold {', '.join(common[:4])}, "
            f"which look like the classes: expected parts named {EXPECTED}, "
            "or one folder a class with its images in it"
        )


def _folders(images: Images) -> set[str]:
    """Return the names of the folders that contain all images of a class, or an empty set."""
    if any(len(path) == 1 for path, _ in images):
        return set()
    return {path[0] for path, _ in images}
