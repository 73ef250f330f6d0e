"""Files that are whole or absent, and digests that tell whether one is still as it was written.
Knows nothing."""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20


@contextmanager
def whole(path: Path, mode: str = "w", before: Path | None = None) -> Iterator[IO[Any]]:
    """A file to write, which takes the place of `path` when the block ends well and is gone when it
    does not.

    A reader sees the old file or the new one, never a part, and so does a machine that loses power.
    With `before` the old one is kept under that name: in between there may be no `path`, but one of
    the two is always there."""
    beside = path.with_name(path.name + ".new")
    try:
        with _open(beside, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):  # on a full disk its bytes are wanted
            beside.unlink()
        raise
    if before is not None:
        with suppress(FileNotFoundError):
            path.replace(before)
    beside.replace(path)
    _sync(path.parent)


def _open(path: Path, mode: str) -> IO[Any]:
    """Open a file in UTF-8, whatever the locale; bytes of a file's name that are no text are
    written as \\udce9."""
    if "b" in mode:
        return path.open(mode)
    return path.open(mode, encoding="utf-8", errors="backslashreplace")


def _sync(folder: Path) -> None:
    """Lets the names in a folder reach the disk, where its file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_file(path: Path) -> bool:
    """Whether a plain file is there: no link, which might lead elsewhere, and no pipe, which might
    never end."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def crc32(path: Path, size: int) -> int:
    """Of the file's first bytes, so many of them. ValueError for a file that has fewer, or that is
    not there."""
    found, left = 0, size
    try:
        with path.open("rb") as file:
            while left and (piece := file.read(min(left, CHUNK))):
                found, left = zlib.crc32(piece, found), left - len(piece)
    except FileNotFoundError:
        pass
    if left:
        raise ValueError(f"{path} has lost {left} of {size} bytes")
    return found


def sha256(path: Path) -> str:
    """Of the whole file, in hexadecimal; '' for what is no plain file or cannot be read."""
    if not is_file(path):
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
