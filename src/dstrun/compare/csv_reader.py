"""CSV files that may be growing, cut or damaged, into pandas frames: many at once, since a frame
costs milliseconds.

Files of one header are joined and parsed as one; where that fails, because a line of one of them is
damaged, they are read one by one, and what cannot be read is left out and told. Knows files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dstrun.system.files import is_file

AT_ONCE = 50  # files joined; the text and the table of so many are in memory at a time


class Kind(NamedTuple):
    """A kind of file: its columns, those that may be missing, those that count, and the one that is
    text, if any."""

    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    counts: tuple[str, ...] = ("epoch", "step")
    text: str = ""


class Frame(NamedTuple):
    """Rows in the columns of a kind, those that are missing empty, and what could not be read."""

    rows: pd.DataFrame
    notes: list[str]


def read(files: Sequence[Path], kind: Kind) -> list[Frame]:
    """The whole lines of each file; no rows of one that is not there or has not the columns that
    count."""
    return [
        frame
        for start in range(0, len(files), AT_ONCE)
        for frame in _read(files[start : start + AT_ONCE], kind)
    ]


def _read(files: Sequence[Path], kind: Kind) -> list[Frame]:
    contents = [whole_lines(file) for file in files]
    found: dict[int, Frame] = {}
    alike: dict[bytes, list[int]] = {}
    for at, content in enumerate(contents):
        alike.setdefault(content[: content.find(b"\n") + 1], []).append(at)
    for header, places in alike.items():
        bodies = [contents[at][len(header) :] for at in places]
        frames = _together(header, bodies, kind) or [_alone(header + body, kind) for body in bodies]
        found |= zip(places, frames, strict=True)
    return [
        Frame(found[at].rows, [f"{file.name}: {note}" for note in found[at].notes])
        for at, file in enumerate(files)
    ]


def whole_lines(file: Path) -> bytes:
    """A file's bytes up to its last end of line; none of what is no plain file, as a link that
    might lead elsewhere."""
    try:
        content = file.read_bytes() if is_file(file) else b""
    except OSError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _together(header: bytes, bodies: Sequence[bytes], kind: Kind) -> list[Frame] | None:
    """Frames of files with one and the same header, parsed in one go; None where that cannot be."""
    there, cells = _columns(header, kind), header.count(b",")
    if _missing(there, kind) or any(
        body.count(b",") != cells * body.count(b"\n") for body in bodies
    ):
        return None
    types = dict.fromkeys(there, "float64") | ({kind.text: "category"} if kind.text else {})
    try:
        table = pd.read_csv(io.BytesIO(header + b"".join(bodies)), dtype=types, usecols=there)
    except (ValueError, OverflowError):  # ParserError is a ValueError
        return None
    counts = [column for column in kind.counts if column in there]
    if not _counted(table[counts]).all() or (kind.text and table[kind.text].isna().any()):
        return None
    ends = np.cumsum([body.count(b"\n") for body in bodies])
    if len(table) != ends[-1]:  # an empty line, or a quote that spans some
        return None
    table = table.astype(dict.fromkeys(counts, "int64")).reindex(columns=list(kind.columns))
    return [
        Frame(table.iloc[start:end], []) for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def _alone(content: bytes, kind: Kind) -> Frame:
    """The frame of one file, of which some lines may be damaged."""
    for odd in (
        b'"',
        b"\0",
        b"\r",
    ):  # what a CSV file of ours has none of, and a parser would make something of
        content = content.replace(odd, b"")
    there = _columns(content, kind)
    notes = []
    if content and (missing := _missing(there, kind)):
        notes.append(f"no column {', '.join(missing)}: of another version?")
    if not {*kind.counts[:1], *filter(None, [kind.text])} <= set(there):
        return Frame(_nothing(kind), notes)
    header, *lines = content.split(b"\n")
    whole = [line for line in lines if line.count(b",") == header.count(b",")]
    options: dict[str, Any] = {"usecols": there, "dtype": str, "encoding_errors": "replace"}
    try:
        table = pd.read_csv(io.BytesIO(b"\n".join([header, *whole])), **options)
    except ValueError as error:  # whatever else damage may do
        return Frame(_nothing(kind), [*notes, f"cannot be read: {error}"])
    for column in there:
        numeric = column != kind.text
        table[column] = (
            pd.to_numeric(table[column], errors="coerce").astype(float)
            if numeric
            else table[column]
        )
    counts = [column for column in kind.counts if column in there]
    good = table[_counted(table[counts])]
    if kind.text:
        good = good[good[kind.text].notna()]
        good = good.assign(**{kind.text: good[kind.text].astype("category")})
    if lost := content.count(b"\n") - 1 - len(good):
        notes.append(f"{lost} line{'s' * (lost != 1)} cannot be read")
    table = good.reindex(columns=list(kind.columns)).astype(dict.fromkeys(counts, "int64"))
    return Frame(table.reset_index(drop=True), notes)


def _nothing(kind: Kind) -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype="float64") for column in kind.columns})


def _counted(counts: pd.DataFrame) -> pd.Series:
    """The rows of which every cell is a count: a whole number that a float holds exactly."""
    return ((counts >= 0) & (counts < 2**53) & (counts % 1 == 0)).all(axis=1)


def _columns(content: bytes, kind: Kind) -> list[str]:
    """The kind's columns that a file has."""
    header = content[: content.find(b"\n") + 1].decode(errors="replace").strip().split(",")
    return [column for column in kind.columns if column in header]


def _missing(there: Sequence[str], kind: Kind) -> list[str]:
    return [column for column in kind.columns if column not in (*there, *kind.optional)]


def stacked(tables: dict[str, pd.DataFrame], kind: Kind) -> pd.DataFrame:
    """All rows in one table, with the column `run`; names are categories, which take a byte or two
    a row."""
    filled = {name: table for name, table in tables.items() if len(table)}
    if not filled:
        return pd.DataFrame({column: pd.Series(dtype=float) for column in ("run", *kind.columns)})
    bare = [table.drop(columns=kind.text) if kind.text else table for table in filled.values()]
    one = pd.concat(bare, ignore_index=True)
    places = np.repeat(np.arange(len(filled)), [len(table) for table in filled.values()])
    one.insert(0, "run", pd.Categorical.from_codes(places, categories=list(filled)))
    if kind.text:
        words = pd.api.types.union_categoricals(
            [table[kind.text].astype("category") for table in filled.values()]
        )
        one.insert(1, kind.text, words)
    return one
