"""A listed tree: classes, the images of each part, fingerprint."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHOLE = "all"  # the only part of a tree without parts


@dataclass(frozen=True)
class Part:
    """The image files of a part with their labels, ordered by class and then by path."""

    files: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """A listed tree. `parts` has the keys train and test, or only `WHOLE`.

    `notes` are lines for the user. `fingerprint` has 16 hexadecimal digits and depends on classes,
    parts, and names and sizes of the images, but not on the place of the tree.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, Part]
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts on the tree that a run records, for JSON."""
        images = {name: len(part.files) for name, part in self.parts.items()}
        names = [_shown(name) for name in self.classes]
        return {
            "classes": len(names),
            "class_names": names,
            "tree": self.fingerprint,
            "tree_images": images,
        }


Images = list[tuple[tuple[str, ...], int]]  # of a class: path within its folder, size in bytes


def _shown(name: str) -> str:
    """Return a file name as UTF-8; bytes that are no character are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def make_part(folder: Path, classes: Sequence[str], images: Sequence[Images]) -> Part:
    """Return the part below `folder` with the images of each class."""
    files: list[str] = []
    labels: list[int] = []
    for label, (name, some) in enumerate(zip(classes, images, strict=True)):
        files += [os.path.join(folder, name, *path) for path, _ in some]
        labels += [label] * len(some)
    return Part(tuple(files), tuple(labels))


def fingerprint_of(classes: Sequence[str], parts: Mapping[str, Sequence[Images]]) -> str:
    """Return 16 hexadecimal digits that depend on classes, parts, image names and sizes."""
    digest = hashlib.blake2b(digest_size=8)
    for part, images in parts.items():
        for name, some in zip(classes, images, strict=True):
            for path, size in some:
                words = "\0".join((part, name, *path, str(size), ""))
                digest.update(words.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
