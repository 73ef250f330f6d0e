"""What is known of a listed tree: classes, the images of each part, a fingerprint. Knows
nothing."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHOLE = "all"  # the part of a tree without parts


@dataclass(frozen=True)
class Part:
    """The image files of a part and the label of each: class by class, within a class in the order
    of their paths."""

    files: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """A listed tree. `parts` has the keys train and test, or `WHOLE` alone; `notes` say what a
    person should know.

    `fingerprint`: 16 hexadecimal digits over classes, parts, and names and sizes of the images,
    wherever the tree lies."""

    classes: tuple[str, ...]
    parts: Mapping[str, Part]
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def facts(self) -> dict[str, Any]:
        """What a run records of the tree, as JSON has it."""
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
    """Return a file's name as UTF-8 has it: bytes that are none, which file systems allow, are
    replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def make_part(folder: Path, classes: Sequence[str], images: Sequence[Images]) -> Part:
    """Make the part below `folder` of the images of each class."""
    paths = [
        (label, os.path.join(classes[label], *path))
        for label, some in enumerate(images)
        for path, _ in some
    ]
    files = tuple(os.path.join(folder, path) for _, path in paths)
    return Part(files, tuple(label for label, _ in paths))


def fingerprint_of(classes: Sequence[str], parts: Mapping[str, Sequence[Images]]) -> str:
    """Return 16 hexadecimal digits over classes, parts, and names and sizes of the images."""
    digest = hashlib.blake2b(digest_size=8)
    for part, images in parts.items():
        for name, some in zip(classes, images, strict=True):
            for path, size in some:
                words = "\0".join((part, name, *path, str(size), ""))
                digest.update(words.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
