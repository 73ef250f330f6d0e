"""The entries of one folder of a tree: folders, images, and entries that are skipped."""

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
class Entries:
    """The entries of a folder: names of folders, images with sizes in bytes, skipped entries.

    `skipped` counts the skipped entries by kind, and `dangling` names the broken links among them.
    `identity` is that of the folder itself, not of a link to it; `changed` is its time of change,
    ns.
    """

    folders: list[str]
    images: list[tuple[str, int]]
    skipped: Counter[str]
    dangling: list[str]
    identity: Identity
    changed: int


def read_folder(folder: Path) -> Entries:
    """Return the entries of a folder, links followed; raise OSError if it cannot be read."""
    status = folder.stat()
    folders: list[str] = []
    images: list[tuple[str, int]] = []
    skipped: Counter[str] = Counter()
    dangling: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
                skipped["hidden"] += 1
            elif _leads_to_folder(entry):
                folders.append(entry.name)
            elif entry.name.lower().endswith(ENDINGS) and (size := _size(entry)) is not None:
                images.append((entry.name, size))
            else:
                skipped[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
                if entry.is_symlink() and not os.path.exists(entry.path):
                    dangling.append(entry.name)
    identity = status.st_dev, status.st_ino
    return Entries(
        sorted(folders), sorted(images), skipped, sorted(dangling), identity, status.st_mtime_ns
    )


def identity_of(folder: Path) -> Identity:
    """Return the identity of a folder, links followed, without reading it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def ancestors(folder: Path) -> set[Identity]:
    """Return the folders above a folder, both of its path as written and with links resolved."""
    above = (*Path(os.path.abspath(folder)).parents, *Path(os.path.realpath(folder)).parents)
    return {identity_of(one) for one in above}


def _leads_to_folder(entry: os.DirEntry) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _size(entry: os.DirEntry) -> int | None:
    """Return the size of a file in bytes, 0 for a broken link, None for other than a file."""
    try:
        status = entry.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None
