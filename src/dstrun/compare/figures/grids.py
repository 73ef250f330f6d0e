"""Heat maps with numbers: density of layers by method, and overlap of the masks of settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels, Trace
from dstrun.compare.figures.pareto import LEAST
from dstrun.compare.figures.style import PERCENT, text
from dstrun.compare.overlap import Matrix

CELL = 24  # pixels of height
NUMBERED = 16  # columns of a panel that have room for numbers at most
LETTER = 7  # pixels of a letter of a name beside a panel
WHOLE = "all layers"
SCALE = [10.0**exponent for exponent in range(-4, 1)]


def layers_by_method(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return densities as maps of methods × layers, a panel for each table, by its title.

    A table has a row for each method, and the layers as columns, WHOLE as the first of them. The
    scale of colours is logarithmic and that of all panels.
    """
    lowest = min(table[table > 0].min().min() for table in tables.values())
    longest = max(len(name) for table in tables.values() for name in table.index)
    columns = len(tables) if all(table.shape[1] <= 6 for table in tables.values()) else 1
    panels = _panels([*tables], columns, max(map(len, tables.values())), longest)
    for panel, table in enumerate(tables.values()):
        trace = _cells(table.to_numpy(dtype=float), [*table.columns], [*table.index])
        trace["z"] = np.log10(np.maximum(trace["z"], LEAST)).tolist()
        words = "%{y}<br>%{x}: %{customdata:.4~%} kept<extra></extra>"
        trace |= {"hovertemplate": words, "customdata": table.to_numpy(dtype=float).tolist()}
        trace |= {"zmin": float(np.log10(max(lowest, LEAST))), "zmax": 0, "showscale": panel == 0}
        trace["colorbar"] = {
            "title": {"text": "density", "side": "right"},
            "tickvals": np.log10(SCALE).tolist(),
            "ticktext": [f"{share * 100:g}%" for share in SCALE],
        }
        panels.add(panel, trace)
        is_left = panel % columns == 0
        panels.y(panel, autorange="reversed", type="category", showticklabels=is_left)
    panels.x(type="category", title="layer, from the first to the last")
    return panels.figure()


def overlap_matrices(matrices: Sequence[Matrix]) -> Figure:
    """Return the overlap of masks as maps of settings × settings, a panel for each matrix.

    Columns are numbered as the rows are. The scale of colours goes from 0 to the most.
    """
    names = [[f"{1 + place} {name}" for place, name in enumerate(one.names)] for one in matrices]
    longest = max(len(name) for some in names for name in some)
    most = max(float(np.nanmax(one.means)) for one in matrices) or 1.0
    titles = [one.asked if one.density == one.density else "" for one in matrices]
    panels = _panels(titles, min(2, len(titles)), max(map(len, names)), longest)
    for panel, (one, rows) in enumerate(zip(matrices, names, strict=True)):
        numbers = [str(1 + place) for place in range(len(rows))]
        same_as_left = panel % 2 == 1 and rows == names[panel - 1]
        trace = _cells(one.means, numbers, rows)
        mates = []
        for row, chances in zip(rows, one.chances, strict=True):
            told = zip(rows, chances, strict=True)
            mates.append([f"{row}<br>{other}<br>by chance {share:.1%}" for other, share in told])
        words = "%{customdata}, overlap %{z:.1%}<extra></extra>"
        trace |= {"customdata": mates, "hovertemplate": words, "hoverongaps": False}
        trace |= {"zmin": 0, "zmax": most, "showscale": panel == 0}
        trace["colorbar"] = {
            "title": {"text": "overlap", "side": "right"},
            "tickformat": PERCENT,
        }
        panels.add(panel, trace)
        panels.y(panel, autorange="reversed", type="category", showticklabels=not same_as_left)
    panels.x(type="category", title="setting, by its number", showgrid=False)
    panels.y(showgrid=False)
    return panels.figure()


def _panels(titles: Sequence[str], columns: int, rows: int, longest: int) -> Panels:
    """Return panels for maps of so many rows, with room for names of so many letters."""
    down = -(-len(titles) // columns)
    panels = Panels(titles, columns=columns, height=down * (max(5, rows) * CELL + 100) + 60)
    panels.layout["margin"]["l"] = 20 + LETTER * longest
    return panels


def _cells(values: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> Trace:
    """Return a heat map of shares, with numbers in percent where there is room."""
    shown: dict[str, Any] = {
        "type": "heatmap",
        "x": [text(name) for name in columns],
        "y": [text(name) for name in rows],
        "z": [[float(value) if value == value else None for value in row] for row in values],
        "colorscale": "Cividis",
        "xgap": 1,
        "ygap": 1,
        "name": "",
        "showlegend": False,
    }
    if len(columns) <= NUMBERED:
        shown |= {"text": [list(_numbers(row)) for row in values], "texttemplate": "%{text}"}
    return shown


def _numbers(shares: np.ndarray) -> Iterator[str]:
    """Yield shares as percentages of about three digits: '100', '12.3', '1.23'."""
    for share in 100 * shares:
        yield (
            ""
            if share != share
            else f"{share:.{0 if share >= 99.95 else 1 if share >= 10 else 2}f}"
        )
