"""Table of the density of every layer at the end: a row per layer, a column per setting."""

import pandas as pd

from dstrun.compare.aggregate import agreement
from dstrun.compare.headlines import written
from dstrun.compare.report.sheet import Sheet
from dstrun.compare.report.table import frame_csv
from dstrun.runs.tasks import ACCURACY
from dstrun.system.errors import printable


def lines(network: str, rows: pd.DataFrame) -> list[list[str]]:
    """Return the header and a line per layer, the last of all layers together, in printable words.

    `rows` is the table of `aggregate.by_layer`, `network` the model and data.
    """
    settings = rows.drop_duplicates("series")
    cells = {}
    for row in rows.itertuples():
        cells[row.series, row.layer] = written(ACCURACY, row.mean, row.std)  # a share, too
    table = [[f"{network}, remaining %", *settings["setting_label"]]]
    for layer in [*filter(None, dict.fromkeys(rows["layer"])), ""]:
        densities = [cells.get((series, layer), "") for series in settings["series"]]
        table.append([layer or "all", *densities])
    return [list(map(printable, line)) for line in table]


def sheet(network: str, rows: pd.DataFrame) -> Sheet:
    """Return the table, with the agreement of its settings below."""
    found = agreement(rows)
    return Sheet(lines(network, rows), notes=[found] if found else [])


def csv(tables: dict[str, pd.DataFrame]) -> str:
    """Return the tables of several networks as one CSV text, with the column network."""
    named = [rows.assign(network=name) for name, rows in tables.items()]
    return frame_csv(pd.concat(named).drop(columns="series"))
