"""Tables on the terminal, without the columns that are too many for its width."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dstrun.compare.aggregate import FRONT
from dstrun.compare.report.method_table import BEST
from dstrun.compare.report.table import NAMES, columns, header, is_on_front, lines
from dstrun.runs.labels import quantity
from dstrun.system.streams import legible
from dstrun.system.terminal import print_whole

GAP = 3  # characters between two columns
DISPENSABLE = ("seconds", "epochs", "flops", "difference", "running", "failed", "runs")


def print_settings(title: str, rows: pd.DataFrame) -> None:
    """Print a title and the table of settings, with rows of the front in bold or marked by '*'.

    A terminal that is too narrow gets no columns of least importance, and a line that names them.
    """
    console = Console(highlight=False, soft_wrap=True)
    width, keys = console.width, columns(rows)
    left_out = _drop_columns(rows, keys, width) if console.is_terminal else []
    mark, best = "" if console.is_terminal else "*", is_on_front(rows)
    console.print(Text(title))
    print_whole(console, _settings_table(rows, keys, best, mark))
    if any(best):
        console.print(f"{mark or 'bold'}: {FRONT}")
    if left_out:
        _print_left_out(width, ", ".join(left_out))


def _settings_table(
    rows: pd.DataFrame, keys: Sequence[str], best: Sequence[bool], mark: str
) -> Table:
    """Return the table, with a line between models and data whose rows are together."""
    head, *body = lines(rows, keys)
    table = _table(head, sum(key in NAMES for key in keys))
    pairs = rows[["model.name", "data.name"]].agg(tuple, axis=1)
    starts = pairs.ne(pairs.shift()).tolist()
    are_together, accuracy = sum(starts) == pairs.nunique(), keys.index("accuracy")
    for place, cells in enumerate(body):
        if place and are_together and starts[place]:
            table.add_section()
        if best[place]:
            cells[accuracy] += mark
        style = "bold" if best[place] else ""
        table.add_row(*(Text(legible(cell)) for cell in cells), style=style)
    return table


def _drop_columns(rows: pd.DataFrame, keys: list[str], width: int) -> list[str]:
    """Remove columns from `keys` until the table is no wider, and return their headers."""
    left_out = []
    while _width(lines(rows, keys)) > width and (key := _least_important(keys)):
        keys.remove(key)
        left_out.append(header(key))
    return left_out


def _least_important(keys: Sequence[str]) -> str | None:
    """Return the column to leave out first; None if the rest is to stay.

    Options go first, from the last on, then figures.
    """
    for key in reversed(keys):
        if "." in key and key not in (*NAMES, "reg.alpha", "reg.density"):
            return key
    return next((key for key in DISPENSABLE if key in keys), None)


def print_methods(
    title: str, lines: Sequence[Sequence[str]], best: Sequence[tuple[int, int]]
) -> None:
    """Print a table of methods with its title, the cells of `best` in bold or marked by '*'."""
    console = Console(highlight=False, soft_wrap=True)
    mark = "" if console.is_terminal else "*"
    console.print(Text(title))
    table = _table(lines[0], 1)
    for row, line in enumerate(lines[1:], start=1):
        cells = []
        for column, cell in enumerate(line):
            is_best = (row, column) in best
            cells.append(Text(legible(cell) + mark * is_best, style="bold" if is_best else ""))
        table.add_row(*cells)
    print_whole(console, table)
    console.print(f"{mark or 'bold'}: {BEST}")


def print_layers(lines: Sequence[Sequence[str]]) -> None:
    """Print the lines of a table of layers, with as many settings as a terminal has room for."""
    _print_first_columns(lines, words=1, least=2, noun="setting")


def print_overlap(lines: Sequence[Sequence[str]]) -> None:
    """Print the lines of a table of overlap, with as many layers as a terminal has room for."""
    _print_first_columns(lines, words=2, least=4, noun="layer")


def _print_first_columns(lines: Sequence[Sequence[str]], words: int, least: int, noun: str) -> None:
    """Print lines, on a terminal that is too narrow at least their first columns.

    `words` of them hold words, the others numbers; a column left out is called `noun`.
    """
    console = Console(highlight=False, soft_wrap=True)
    width, room = console.width, len(lines[0])
    while console.is_terminal and room > least:
        if _width([line[:room] for line in lines]) <= width:
            break
        room -= 1
    table = _table(lines[0][:room], words)
    for line in lines[1:]:
        table.add_row(*(Text(legible(cell)) for cell in line[:room]))
    print_whole(console, table)
    if left_out := len(lines[0]) - room:
        _print_left_out(width, quantity(left_out, noun))


def _print_left_out(width: int, words: str) -> None:
    """Print which columns were left out."""
    note = f"left out at {width} columns: {words}; --csv has all, or a wider terminal"
    Console(highlight=False, width=width).print(Text(note))


def _table(head: Sequence[str], words: int) -> Table:
    """Return an empty table whose first `words` columns hold words, and the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for word in head[:words]:
        table.add_column(Text(legible(word)), no_wrap=True)
    for word in head[words:]:
        table.add_column(Text(legible(word)), justify="right", no_wrap=True)
    return table


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Return the width of a table of these lines."""
    return sum(max(map(cell_len, cells)) + GAP for cells in zip(*lines, strict=True))
