"""A listed tree: classes, the images of each part, fingerprint."""

import hashlib
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

WHOLE = "all"  # the only part of a tree without parts


@dataclass(frozen=True)
class Names(Sequence[str]):
    """Paths below a folder, as bytes one after the other: a million take 50 MB and not 200.

    `ends`: where each ends in `names`.
    """

    folder: str
    names: bytes
    ends: array

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        end = self.ends[index]
        index %= len(self)
        start = self.ends[index - 1] if index else 0
        return os.path.join(self.folder, os.fsdecode(self.names[start:end]))


@dataclass(frozen=True)
class Part:
    """The image files of a part, ordered by class and then by path, and their number by class."""

    files: Names
    counts: tuple[int, ...]


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
    names, ends = bytearray(), array("Q")
    for name, some in zip(classes, images, strict=True):
        for path, _ in some:
            names += os.fsencode(os.path.join(name, *path))
            ends.append(len(names))
    return Part(Names(str(folder), bytes(names), ends), tuple(map(len, images)))


def fingerprint_of(classes: Sequence[str], parts: Mapping[str, Sequence[Images]]) -> str:
    """Return 16 hexadecimal digits that depend on classes, parts, image names and sizes."""
    digest = hashlib.blake2b(digest_size=8)
    for part, images in parts.items():
        for name, some in zip(classes, images, strict=True):
            for path, size in some:
                words = "\0".join((part, name, *path, str(size), ""))
                digest.update(words.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
