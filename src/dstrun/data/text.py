"""Folder of plain-text files as sequences of bytes, of which each is to be predicted.

ROOT/**/*.txt                        the last tenth of all text, in the order of names, is for
                                     testing
ROOT/train/**/*.txt, ROOT/test/**    the parts as they are
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from dstrun.data.splits import Splits, TextSplit
from dstrun.system.errors import DataError

ENDINGS = ("txt", "text")
HELD_OUT = 0.1  # of the text, for testing, of a folder without parts
LEAST = 2  # sequences of a split


def text(root: Path, length: int = 128, endings: Sequence[str] = ENDINGS) -> Splits:
    """Return the text below `root` as splits of sequences of `length` bytes.

    Files are joined in the order of their paths, each with a line end; `endings` are those of the
    names of files that are read, in either case. Raise DataError for a folder without such files, a
    file that is not UTF-8, and for a text too short, ValueError for another argument.
    """
    if type(length) is not int or length < 1:
        raise ValueError(f"length is {length!r}, expected a whole number ≥ 1")
    if isinstance(endings, str) or not endings or not all(isinstance(e, str) for e in endings):
        raise ValueError(f"endings is {endings!r}, expected a list such as [txt, md]")
    parts = [root / "train", root / "test"]
    has_parts = all(part.is_dir() for part in parts)
    texts = [_read(part, endings) for part in (parts if has_parts else [root])]
    names = ("training", "test") if has_parts else ("whole",)
    splits = [_split(name, one, length) for name, one in zip(names, texts, strict=True)]
    train, test = splits if has_parts else splits[0].parted(HELD_OUT)
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()  # 0 is in no text of a person
    return Splits(train, test, 256, origin={"bytes": sum(map(len, texts)), "text": digest})


def _split(name: str, content: bytes, length: int) -> TextSplit:
    """Return the sequences of a text; raise DataError for too few."""
    least = LEAST if name != "whole" else 2 * LEAST
    if len(content) < least * length + 1:
        what = "text" if name == "whole" else f"{name} text"
        raise DataError(
            f"the {what} has {len(content):,} bytes, expected at least {least * length + 1:,}: "
            f"{least} sequences of data.args.length={length} and one byte more"
        )
    return TextSplit(torch.frombuffer(bytearray(content), dtype=torch.uint8), length)


def _read(root: Path, endings: Sequence[str]) -> bytes:
    """Return the text of all files below a folder."""
    wanted = {f".{ending.lower().lstrip('.')}" for ending in endings}
    if not root.is_dir():
        there = "a file" if root.exists() else "nothing there"
        raise DataError(f"expected a folder of text files, got {there}: {root}")
    try:
        files = sorted(
            (file for file in root.rglob("*") if _is_text(file, root, wanted)),
            key=lambda file: file.relative_to(root).as_posix(),
        )
        content = b"".join(map(_content, files))
    except OSError as error:
        raise DataError(f"a text cannot be read ({error})") from error
    if not content:
        kinds = ", ".join(sorted(wanted))
        found = f"{len(files)} files ({kinds}) without text" if files else f"no file ({kinds})"
        raise DataError(f"{root} has {found}; data.args.endings=[md] reads others")
    return content


def _is_text(file: Path, root: Path, wanted: set[str]) -> bool:
    """Return whether to read a file: no hidden one, nor one in a hidden folder."""
    is_hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return file.suffix.lower() in wanted and not is_hidden and file.is_file()


def _content(file: Path) -> bytes:
    """Return the bytes of a file, with a line end at its end; raise DataError if not UTF-8."""
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise DataError(
            f"{file} is not UTF-8: byte {byte:#04x} at offset {error.start:,}; "
            "`iconv -f latin1 -t utf-8` converts a file of that encoding"
        ) from error
    return content if not content or content.endswith(b"\n") else content + b"\n"
