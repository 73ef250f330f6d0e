"""Tables on the terminal, without the columns that are too many for its width."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dstrun.compare.aggregate import FRONT
from dstrun.compare.headlines import headline_of_row
from dstrun.compare.labels import DENSITIES, EPOCHS
from dstrun.compare.report.method_table import BEST
from dstrun.compare.report.table import (
    NAMES,
    SETTINGS,
    columns,
    header,
    is_on_front,
    lines,
    with_settings,
)
from dstrun.runs.labels import quantity
from dstrun.system.streams import legible
from dstrun.system.terminal import print_whole

GAP = 3  # characters between two columns
LEAST_WORDS = 12  # characters of a column of words, which is folded before it gets narrower
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
    """Print a title and the table of settings, with rows of the front in bold or marked by '*'.

    A terminal that is too narrow gets no columns of least importance, and a line that names them;
    what tells two rows apart stays.
    """
    console = Console(highlight=False, soft_wrap=True)
    width, keys = console.width, columns(rows)
    mark, best = "" if console.is_terminal else "*", is_on_front(rows)
    left_out: list[str] = []
    if console.is_terminal:
        rows, keys, left_out = _fit(rows, keys, width)
    console.print(Text(title))
    table = _settings_table(rows, keys, best, mark)
    if console.is_terminal and SETTINGS in keys:
        _fold(table, keys.index(SETTINGS), lines(rows, keys), width)
    print_whole(console, table)
    if any(best):
        console.print(f"{mark or 'bold'}: {FRONT}")
    if left_out:
        _print_left_out(width, ", ".join(left_out))


def _settings_table(
    rows: pd.DataFrame, keys: Sequence[str], best: Sequence[bool], mark: str
) -> Table:
    """Return the table, with a line between models and data whose rows are together."""
    head, *body = lines(rows, keys)
    table = _table(head, sum(key in (*NAMES, SETTINGS) for key in keys))
    pairs = rows[["model.name", "data.name"]].agg(tuple, axis=1)
    starts = pairs.ne(pairs.shift()).tolist()
    are_together = sum(starts) == pairs.nunique()
    for place, (cells, row) in enumerate(zip(body, rows.to_dict("records"), strict=True)):
        if place and are_together and starts[place]:
            table.add_section()
        if best[place]:
            cells[keys.index(headline_of_row(row).name)] += mark
        style = "bold" if best[place] else ""
        table.add_row(*(Text(legible(cell)) for cell in cells), style=style)
    return table


def _fit(
    rows: pd.DataFrame, keys: Sequence[str], width: int
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return rows and columns for a table of that width, and the headers of those left out.

    Options that tell no two rows apart go first, from the last on. The others then share one
    column, which can be folded, and figures go.
    """
    keys, left_out = list(keys), []

    def is_too_wide(least: int = 0) -> bool:
        cells = lines(rows, keys)
        words = keys.index(SETTINGS) if least and SETTINGS in keys else -1
        return _width(cells, words, least) > width

    options = [key for key in keys if "." in key and key not in (*NAMES, *LASTING)]
    for key in reversed(options):
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
    for key in DISPENSABLE:
        if key in keys and key not in kept and is_too_wide(LEAST_WORDS):
            keys.remove(key)
            left_out.append(header(key, rows))
    return rows, keys, left_out


def _is_idle(rows: pd.DataFrame, keys: Sequence[str], key: str) -> bool:
    """Return whether rows that differ in an option's column differ in another one too."""
    names = [one for one in keys if one in rows.columns[: rows.columns.get_loc("setting")]]
    rest = [one for one in (*names, EPOCHS) if one != key]
    return len(rows[rest].drop_duplicates()) == len(rows[[*rest, key]].drop_duplicates())


def _fold(table: Table, place: int, lines: Sequence[Sequence[str]], width: int) -> None:
    """Give a column of words the width that the others leave, if it is wider."""
    room = width - _width(lines, place, 0)
    column = table.columns[place]
    if max(cell_len(line[place]) for line in lines) > room:
        column.no_wrap, column.width = False, max(room, LEAST_WORDS)


def print_methods(
    title: str, lines: Sequence[Sequence[str]], best: Sequence[tuple[int, int]]
) -> None:
    """Print a table of methods with its title, the cells of `best` in bold or marked by '*'.

    On a terminal that is too narrow, names are folded, then densities are left out.
    """
    console = Console(highlight=False, soft_wrap=True)
    mark, width, room = "" if console.is_terminal else "*", console.width, len(lines[0])
    console.print(Text(title))
    while console.is_terminal and room > 2:
        if _width([line[:room] for line in lines], 0, LEAST_WORDS) <= width:
            break
        room -= 1
    table = _table(lines[0][:room], 1)
    for row, line in enumerate(lines[1:], start=1):
        cells = []
        for column, cell in enumerate(line[:room]):
            is_best = (row, column) in best
            cells.append(Text(legible(cell) + mark * is_best, style="bold" if is_best else ""))
        table.add_row(*cells)
    if console.is_terminal:
        _fold(table, 0, [line[:room] for line in lines], width)
    print_whole(console, table)
    console.print(f"{mark or 'bold'}: {BEST}")
    if left_out := lines[0][room:]:
        _print_left_out(width, ", ".join(left_out))


def print_layers(lines: Sequence[Sequence[str]]) -> None:
    """Print the lines of a table of layers, with as many settings as a terminal has room for."""
    _print_first_columns(lines, words=1, least=2, noun="setting")


def print_matrix(title: str, lines: Sequence[Sequence[str]]) -> None:
    """Print a matrix with its title, with as many settings as a terminal has room for."""
    Console(highlight=False, soft_wrap=True).print(Text(title))
    _print_first_columns(lines, words=1, least=3, noun="setting")


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


def _width(lines: Sequence[Sequence[str]], words: int = -1, least: int = 0) -> int:
    """Return the width of a table of these lines, whose column `words` has that width at most."""
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    if words >= 0:
        widths[words] = min(widths[words], least)
    return sum(widths) + GAP * len(widths)
