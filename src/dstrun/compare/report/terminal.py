"""Tables on the terminal, without the columns that are too many for its width."""

import os
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dstrun.compare.against import UNCLEAR
from dstrun.compare.labels import DENSITIES, EPOCHS
from dstrun.compare.report.sheet import Lines, Sheet
from dstrun.compare.report.table import (
    NAMES,
    SETTINGS,
    columns,
    header,
    lines,
    sheet,
    with_settings,
)
from dstrun.runs.labels import quantity
from dstrun.system.streams import legible
from dstrun.system.terminal import print_whole

WIDE = 160  # columns of other output, where $COLUMNS does not say
GAP = 3  # characters between two columns
LEAST_WORDS = 12  # characters of a column of words, which is folded before it gets narrower
LEAST_WIDE = 48  # the same in other output, where no column is left out
LASTING = ("reg.alpha", *DENSITIES)  # options that stay columns
DISPENSABLE = (
    "perplexity",
    "seconds",
    "epochs",
    "flops",
    "difference",
    "running",
    "failed",
    "runs",
)


def print_settings(title: str, rows: pd.DataFrame) -> None:
    """Print a title and the table of settings, with headlines of the front in bold or with '*'.

    A terminal that is too narrow gets no columns of least importance, and a line that names them;
    what tells two rows apart stays. Other output has all, options in one column if it is wide.
    """
    console = Console()
    width, is_terminal = _room(console), console.is_terminal
    rows, keys, left_out = _fit(rows, columns(rows), width, is_terminal)
    fold = keys.index(SETTINGS) if SETTINGS in keys else -1
    print_sheet(sheet(rows, title, keys), fold=fold, left_out=left_out)


def print_sheet(
    shown: Sheet, *, fold: int = -1, least: int = 0, noun: str = "", left_out: Sequence[str] = ()
) -> None:
    """Print a table with its title and notes, its best cells in bold or marked by '*'.

    On a terminal that is too narrow, the words of the column `fold` are folded. Then columns are
    left out from the last on, down to the first `least`, 0 for none; `noun` is what one is, or
    headers are named. `left_out` are headers of columns that were left out already.
    """
    console = Console(highlight=False, soft_wrap=True)
    width, head, room = _room(console), shown.lines[0], len(shown.lines[0])
    while console.is_terminal and least and room > least:
        if _width([line[:room] for line in shown.lines], fold, LEAST_WORDS) <= width:
            break
        room -= 1
    mark = "" if console.is_terminal else "*"
    lines = [line[:room] for line in _marked(shown, mark)]
    printed = _table(lines[0], shown.words)
    for row, line in enumerate(lines[1:], start=1):
        if row in shown.sections:
            printed.add_section()
        styles = ["bold" if (row, column) in shown.best else "" for column in range(room)]
        printed.add_row(*map(Text, line, styles))
    if shown.title:
        console.print(Text(shown.title))
    if fold >= 0:
        _fold(printed, fold, lines, width, LEAST_WORDS if console.is_terminal else LEAST_WIDE)
    print_whole(console, printed)
    for note in shown.below(mark or "bold"):
        console.print(Text(legible(note)), soft_wrap=not console.is_terminal, width=width)
    more = quantity(len(head) - room, noun) if noun and room < len(head) else ", ".join(head[room:])
    if words := ", ".join([*left_out, *filter(None, [more])]):
        note = f"left out at {width} columns: {words}; --csv has all, or a wider terminal"
        Console(highlight=False, width=width).print(Text(note))


def _room(console: Console) -> int:
    """Return the width to lay a table out for: rich takes 80 where nothing says it."""
    is_known = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console.width if is_known else WIDE


def _marked(sheet: Sheet, mark: str) -> list[list[str]]:
    """Return lines with marks, and as much space for them in the other cells of a column."""
    columns = []
    for place, cells in enumerate(zip(*sheet.lines, strict=True)):
        stars = [mark * ((row, place) in sheet.best) for row in range(len(cells))]
        signs = [UNCLEAR * cell.endswith(UNCLEAR) for cell in cells]
        widths = [max(map(len, marks)) * (place >= sheet.words) for marks in (stars, signs)]
        found = [cells[0]]
        for cell, star, sign in list(zip(cells, stars, signs, strict=True))[1:]:
            ends = star.ljust(widths[0]) + sign.ljust(widths[1])
            found.append(cell.removesuffix(UNCLEAR) + ends)
        columns.append(found)
    return [[legible(cell) for cell in line] for line in zip(*columns, strict=True)]


def _fit(
    rows: pd.DataFrame, keys: Sequence[str], width: int, is_terminal: bool
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return rows and columns for a table of that width, and the headers of those left out.

    On a terminal, options that tell no two rows apart go first, from the last on. The others then
    share one column, which can be folded there, and on a terminal figures go.
    """
    keys, left_out = list(keys), []

    def is_too_wide(least: int = 0) -> bool:
        cells = lines(rows, keys)
        words = keys.index(SETTINGS) if least and SETTINGS in keys else -1
        return _width(cells, words, least) > width

    options = [key for key in keys if "." in key and key not in (*NAMES, *LASTING)]
    for key in [*reversed(options)] * is_terminal:
        if is_too_wide() and _is_idle(rows, keys, key):
            keys.remove(key)
            options.remove(key)
            left_out.append(header(key, rows))
    if options and is_too_wide():
        place = sum(key in NAMES for key in keys)
        rows = with_settings(rows, options)
        keys = [key for key in keys if key not in options]
        keys.insert(place, SETTINGS)
    kept = [] if rows[EPOCHS].nunique() <= 1 else ["epochs"]
    for key in DISPENSABLE * is_terminal:
        if key in keys and key not in kept and is_too_wide(LEAST_WORDS):
            keys.remove(key)
            left_out.append(header(key, rows))
    return rows, keys, left_out


def _is_idle(rows: pd.DataFrame, keys: Sequence[str], key: str) -> bool:
    """Return whether rows that differ in an option's column differ in another one too."""
    names = [one for one in keys if one in rows.columns[: rows.columns.get_loc("setting")]]
    rest = [one for one in (*names, EPOCHS) if one != key]
    return len(rows[rest].drop_duplicates()) == len(rows[[*rest, key]].drop_duplicates())


def _fold(table: Table, place: int, lines: Lines, width: int, least: int) -> None:
    """Give a column of words the width that the others leave, if it is wider, but at least that."""
    room = width - _width(lines, place, 0)
    column = table.columns[place]
    if max(cell_len(line[place]) for line in lines) > room:
        column.no_wrap, column.width = False, max(room, least)


def _table(head: Sequence[str], words: int) -> Table:
    """Return an empty table whose first `words` columns hold words, and the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for word in head[:words]:
        table.add_column(Text(legible(word)), no_wrap=True)
    for word in head[words:]:
        table.add_column(Text(legible(word)), justify="right", no_wrap=True)
    return table


def _width(lines: Lines, words: int = -1, least: int = 0) -> int:
    """Return the width of a table of these lines, whose column `words` has that width at most."""
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    if words >= 0:
        widths[words] = min(widths[words], least)
    return sum(widths) + GAP * len(widths)
