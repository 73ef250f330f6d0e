"""What lies directly in a folder of images: folders, images, and what is passed over. Knows
nothing."""

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".jif",
    ".png",
    ".apng",
    ".bmp",
    ".dib",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".tga",
    ".jp2",
)
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")

Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class Listed:
    """What lies directly in a folder: names of folders, images with their sizes in bytes, and what
    is passed over.

    `dangling` names links to nothing among what is passed over. `identity` is the folder's own,
    whatever link has led to it; `changed` is its time of change, ns."""

    folders: list[str]
    images: list[tuple[str, int]]
    passed: Counter[str]
    dangling: list[str]
    identity: Identity
    changed: int


def read_folder(folder: Path) -> Listed:
    """Read a folder, links as what they lead to. OSError where it may not be read."""
    status = folder.stat()
    folders: list[str] = []
    images: list[tuple[str, int]] = []
    passed: Counter[str] = Counter()
    dangling: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                passed["hidden"] += 1
            elif _leads_to_folder(entry):
                folders.append(entry.name)
            elif entry.name.lower().endswith(ENDINGS) and (size := _size(entry)) is not None:
                images.append((entry.name, size))
            else:
                passed[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
                if entry.is_symlink() and not os.path.exists(entry.path):
                    dangling.append(entry.name)
    identity = status.st_dev, status.st_ino
    return Listed(
        sorted(folders), sorted(images), passed, sorted(dangling), identity, status.st_mtime_ns
    )


def identity_of(folder: Path) -> Identity:
    """Return what tells a folder from all others, links followed, without reading it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def ancestors(folder: Path) -> set[Identity]:
    """Return the folders above a folder, both as its path is written and where links lead."""
    places = Path(os.path.abspath(folder)), Path(os.path.realpath(folder))
    return {identity_of(above) for place in places for above in place.parents}


def _leads_to_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _size(entry: os.DirEntry) -> int | None:
    """Return the bytes of an image file, 0 for a link to nothing, None for what is no file, such as
    a pipe."""
    try:
        status = entry.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None
