"""Atomic file writes, JSON and CSV files, checksums."""

import csv
import hashlib
import io
import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20  # bytes


@contextmanager
def atomic_write(path: Path, mode: str = "w", before: Path | None = None) -> Iterator[IO[Any]]:
    """Open a file that replaces `path` when the block ends, and is removed when it raises.

    A reader, or a machine that loses power, sees the old file or the new one, never a part. With
    `before` the old file is kept under that name; one of the two exists at every moment.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with _open(beside, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):  # frees its bytes on a full disk
            beside.unlink()
        raise
    if before is not None:
        with suppress(FileNotFoundError):
            path.replace(before)
    beside.replace(path)
    _sync(path.parent)


def _open(path: Path, mode: str) -> IO[Any]:
    """Open a file, text in UTF-8 in any locale; invalid bytes of a file name become \\udce9."""
    if "b" in mode:
        return path.open(mode)
    return path.open(mode, encoding="utf-8", errors="backslashreplace")


def _sync(folder: Path) -> None:
    """Write the entries of a folder to the disk, if its file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, indented; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_replace_non_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _replace_non_finite(node: Any) -> Any:
    """Return the same nested value with None for NaN and infinity."""
    if isinstance(node, Mapping):
        return {key: _replace_non_finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_replace_non_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} for a file that is missing, damaged or no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as the text of a CSV file, one line each; None becomes an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file, as text by column."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def is_file(path: Path) -> bool:
    """Return whether `path` is a regular file: no link, which may lead elsewhere, and no pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def crc32(path: Path, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file.

    Raise ValueError for a file that is shorter or missing.
    """
    checksum, left = 0, size
    try:
        with path.open("rb") as file:
            while left and (piece := file.read(min(left, CHUNK))):
                checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    except FileNotFoundError:
        pass
    if left:
        raise ValueError(f"{path} has lost {left} of {size} bytes")
    return checksum


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; '' where it is no regular file or unreadable."""
    if not is_file(path):
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
