"""Table of methods: a row per method, a column per density asked for, headlines as cells."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from dstrun.compare import against
from dstrun.compare.headlines import headline_of, written
from dstrun.compare.labels import DENSE
from dstrun.compare.methods import ASKED, LISTS, by_density
from dstrun.compare.report.sheet import Sheet
from dstrun.compare.report.table import frame_csv
from dstrun.runs.tasks import Figure
from dstrun.system.errors import printable

BEST = "the best at its density"
NEXT = "≈: seeds cannot tell it from the best (95 % interval of the difference)"
Marks = list[tuple[int, int]]  # places of cells, line and column


def tables(settings: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield 'vgg16 on cifar10' and the table of `by_density`, for those that have one.

    Without the paper's rows, which no run stands behind; none for a table of single runs.
    """
    if "state" in settings:
        return
    ours = settings[settings["names"].notna()]
    for (model, data), some in ours.groupby(["model.name", "data.name"], sort=False):
        table = by_density(some)
        if len(table):
            yield printable(f"{model} on {data}"), table


def title(network: str, table: pd.DataFrame) -> str:
    """Return what the cells are, and that of the dense runs."""
    figure = headline_of(table)
    words = [f"{network}, {figure.title}{' %' * figure.is_share} by density asked for"]
    for row in table[table["reg.method"] == DENSE].to_dict("records"):
        words.append(f"{printable(row['method'])}: {_cell(figure, row)}")
    return "; ".join(words)


def _cell(figure: Figure, row: Mapping[str, Any]) -> str:
    mark = against.UNCLEAR * row["unclear"]
    return written(figure, row[figure.name], row[f"{figure.name}_std"]) + mark


def lines(head: str, table: pd.DataFrame) -> tuple[list[list[str]], Marks]:
    """Return a header, of `head` and densities, and a line per method; the places of the best."""
    sparse, figure = table[table["reg.method"] != DENSE], headline_of(table)
    densities = sorted(sparse[ASKED].unique(), reverse=True)
    found, best = [[head, *(f"{100 * one:g} %" for one in densities)]], []
    for method, rows in sparse.groupby("method", sort=False):
        cells = [printable(method)]
        for column, density in enumerate(densities, start=1):
            here = rows[rows[ASKED] == density].to_dict("records")
            cells.append(_cell(figure, here[0]) if here else "")
            if here and here[0]["best"]:
                best.append((len(found), column))
        found.append(cells)
    return found, best


def sheet(network: str, table: pd.DataFrame) -> Sheet:
    """Return the table, the best of each density in bold."""
    (found, best), notes = lines("method", table), against.notes(table)
    if not notes and table["unclear"].any():
        notes = [NEXT]
    return Sheet(found, 1, title(network, table), frozenset(best), BEST, notes)


def csv(named: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Return the `tables` as CSV, with the column network and fractions."""
    table = pd.concat([table.assign(network=name) for name, table in named])
    return frame_csv(table.drop(columns=[*LISTS, against.FOUND], errors="ignore"))
