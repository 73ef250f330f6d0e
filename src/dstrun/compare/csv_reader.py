"""Reader of CSV files that may be growing, cut or damaged, many at once, into pandas frames.

Files with the same header are joined and parsed as one, since making a frame costs milliseconds. If
that fails, because a line of one of them is damaged, they are parsed one by one; what cannot be
read is left out and noted.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dstrun.system.files import is_file

AT_ONCE = 50  # files joined at a time, which bounds the memory for their text and table
NEVER_WRITTEN = (b'"', b"\0", b"\r")  # bytes that a parser would interpret
LARGEST_COUNT = 2**53  # up to which a float holds every whole number


class Kind(NamedTuple):
    """A kind of CSV file.

    `optional` columns may be missing, `counts` are whole numbers, `text` is the one column of words
    ('' for none); all others are numbers.
    """

    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    counts: tuple[str, ...] = ("epoch", "step")
    text: str = ""


class Frame(NamedTuple):
    """Rows in the columns of a kind, missing columns empty, and notes on what could not be read."""

    rows: pd.DataFrame
    notes: list[str]


def read_files(files: Sequence[Path], kind: Kind) -> list[Frame]:
    """Return the complete lines of each file.

    A file that is missing, or that lacks the first count or the text, has no rows.
    """
    frames: list[Frame] = []
    for start in range(0, len(files), AT_ONCE):
        frames += _read(files[start : start + AT_ONCE], kind)
    return frames


def _read(files: Sequence[Path], kind: Kind) -> list[Frame]:
    """Return the frame of each file, from one parse for all files of one header."""
    contents = [whole_lines(file) for file in files]
    places_by_header: dict[bytes, list[int]] = {}
    for place, content in enumerate(contents):
        places_by_header.setdefault(content[: content.find(b"\n") + 1], []).append(place)
    found: dict[int, Frame] = {}
    for header, places in places_by_header.items():
        bodies = [contents[place][len(header) :] for place in places]
        frames = _parse_together(header, bodies, kind)
        if frames is None:
            frames = [_parse_alone(header + body, kind) for body in bodies]
        found |= zip(places, frames, strict=True)
    return [_with_file_name(found[place], file.name) for place, file in enumerate(files)]


def _with_file_name(frame: Frame, name: str) -> Frame:
    """Return a frame whose notes begin with the name of its file."""
    return Frame(frame.rows, [f"{name}: {note}" for note in frame.notes])


def whole_lines(file: Path) -> bytes:
    """Return the bytes of a file up to its last end of line.

    None of a link, which may lead elsewhere, and of what cannot be read.
    """
    try:
        content = file.read_bytes() if is_file(file) else b""
    except OSError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def _parse_together(header: bytes, bodies: Sequence[bytes], kind: Kind) -> list[Frame] | None:
    """Return the frames of files with the same header from one parse; None if one is damaged."""
    columns = _columns(header, kind)
    if _missing(columns, kind) or not _are_rectangular(bodies, header.count(b",")):
        return None
    types = dict.fromkeys(columns, "float64")
    if kind.text:
        types[kind.text] = "category"
    try:
        table = pd.read_csv(io.BytesIO(header + b"".join(bodies)), dtype=types, usecols=columns)
    except (ValueError, OverflowError):  # ParserError is a ValueError
        return None
    ends = np.cumsum([body.count(b"\n") for body in bodies])
    has_a_row_per_line = len(table) == ends[-1]  # no empty line, no quote that spans several
    if not has_a_row_per_line or not _sound_rows(table, columns, kind).all():
        return None
    table = _in_columns(table, columns, kind)
    starts = [0, *ends[:-1]]
    return [Frame(table.iloc[start:end], []) for start, end in zip(starts, ends, strict=True)]


def _are_rectangular(bodies: Sequence[bytes], commas: int) -> bool:
    """Return whether texts have, on average, so many commas a line."""
    return all(body.count(b",") == commas * body.count(b"\n") for body in bodies)


def _parse_alone(content: bytes, kind: Kind) -> Frame:
    """Return the frame of one file, some lines of which may be damaged."""
    for odd in NEVER_WRITTEN:
        content = content.replace(odd, b"")
    columns = _columns(content, kind)
    notes = []
    if content and (missing := _missing(columns, kind)):
        notes.append(f"no column {', '.join(missing)}: written by another version?")
    if not {*kind.counts[:1], *filter(None, [kind.text])} <= set(columns):
        return Frame(_empty(kind), notes)
    try:
        table = _parse_lines(content, columns, kind)
    except ValueError as error:  # damage that no check above finds
        return Frame(_empty(kind), [*notes, f"cannot be read: {error}"])
    good = table[_sound_rows(table, columns, kind)]
    if lost := content.count(b"\n") - 1 - len(good):
        notes.append(f"{lost} line{'s' * (lost != 1)} cannot be read")
    return Frame(_in_columns(good, columns, kind).reset_index(drop=True), notes)


def _parse_lines(content: bytes, columns: Sequence[str], kind: Kind) -> pd.DataFrame:
    """Return the lines that have as many cells as the header; NaN for a cell that is no number."""
    header, *lines = content.split(b"\n")
    complete = [line for line in lines if line.count(b",") == header.count(b",")]
    text = io.BytesIO(b"\n".join([header, *complete]))
    table = pd.read_csv(text, usecols=list(columns), dtype=str, encoding_errors="replace")
    for column in columns:
        if column != kind.text:
            table[column] = pd.to_numeric(table[column], errors="coerce").astype(float)
    return table


def _sound_rows(table: pd.DataFrame, columns: Sequence[str], kind: Kind) -> pd.Series:
    """Return for each row whether its counts are whole numbers ≥ 0 and its text is not empty."""
    counts = table[_counts(columns, kind)]
    is_sound = ((counts >= 0) & (counts < LARGEST_COUNT) & (counts % 1 == 0)).all(axis=1)
    return is_sound & table[kind.text].notna() if kind.text else is_sound


def _in_columns(table: pd.DataFrame, columns: Sequence[str], kind: Kind) -> pd.DataFrame:
    """Return sound rows in the columns of a kind: counts as integers, text as categories."""
    table = table.astype(dict.fromkeys(_counts(columns, kind), "int64"))
    if kind.text:
        words = table[kind.text].astype("category")
        names = list(map(str, words.cat.categories))  # which pandas takes for numbers if it can
        table = table.assign(**{kind.text: words.cat.rename_categories(names)})
    return table.reindex(columns=list(kind.columns))


def _counts(columns: Sequence[str], kind: Kind) -> list[str]:
    """Return the columns that are counts."""
    return [column for column in kind.counts if column in columns]


def _empty(kind: Kind) -> pd.DataFrame:
    """Return a table without rows."""
    return pd.DataFrame({column: pd.Series(dtype="float64") for column in kind.columns})


def _columns(content: bytes, kind: Kind) -> list[str]:
    """Return the columns of a kind that are in the header of a file."""
    header = content[: content.find(b"\n") + 1].decode(errors="replace").strip().split(",")
    return [column for column in kind.columns if column in header]


def _missing(columns: Sequence[str], kind: Kind) -> list[str]:
    """Return the columns of a kind that are missing and not optional."""
    return [column for column in kind.columns if column not in (*columns, *kind.optional)]


def stack(tables: dict[str, pd.DataFrame], kind: Kind) -> pd.DataFrame:
    """Return the rows of all tables, with the column `run`, the name of each.

    Names are categories, which take a byte or two a row.
    """
    filled = {name: table for name, table in tables.items() if len(table)}
    if not filled:
        return pd.DataFrame({column: pd.Series(dtype=float) for column in ("run", *kind.columns)})
    parts = list(filled.values())
    bare = [part.drop(columns=kind.text) if kind.text else part for part in parts]
    table = pd.concat(bare, ignore_index=True)
    places = np.repeat(np.arange(len(parts)), list(map(len, parts)))
    table.insert(0, "run", pd.Categorical.from_codes(places, categories=list(filled)))
    if kind.text:
        words = [part[kind.text].astype("category") for part in parts]
        table.insert(1, kind.text, pd.api.types.union_categoricals(words))
    return table
