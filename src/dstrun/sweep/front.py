"""Front of a search: the columns of front.csv, and its rows as a table."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from dstrun.runs.tasks import ACCURACY, Figure


def front_figures(headline: Figure) -> tuple[str, str, str]:
    """Return the columns of front.csv: the headline in validation, density, the headline."""
    return headline.column("validation"), "density", headline.column()


def front_table(
    keys: Sequence[str], rows: Sequence[Sequence[Any]], headline: Figure = ACCURACY
) -> Table:
    """Return the rows of front.csv as a table: settings as they are, shares in per cent."""
    table = Table(title="Pareto front", title_justify="left")
    for column in [*keys, "validation", "density", "test"]:
        table.add_column(column.rpartition(".")[2], justify="right")
    for row in rows:
        cells = []
        for value in row[1 : 1 + len(keys)]:
            cells.append(f"{value:.3g}" if isinstance(value, float) else str(value))
        for figure, value in zip((headline, ACCURACY, headline), row[1 + len(keys) :], strict=True):
            cells.append("" if value is None else figure.shown(value))
        table.add_row(*cells)
    return table
