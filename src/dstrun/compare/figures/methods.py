"""Figure of accuracy, or another headline, against density with a line per method."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from dstrun.compare.figures.panels import DECADES, Figure, Panels, Trace, line
from dstrun.compare.figures.pareto import (
    DASHED,
    by_pair,
    name_heights,
    pair_name,
    range_around,
)
from dstrun.compare.figures.style import PERCENT, hover, look, spread, text
from dstrun.compare.headlines import headline_of, headline_of_row, headline_values
from dstrun.compare.labels import is_dense, method_hue, sparse_methods
from dstrun.compare.methods import lines_of_methods

BAND = 0.15  # opacity
SIDEWAYS = 1.02  # factor of density from a line to the next, so that none hides another


def against_density(settings: pd.DataFrame) -> Figure:
    """Return mean headline against mean density, a line per method, a panel per model and data.

    `settings` is the table of `aggregate.by_setting`. A band is one standard deviation over seeds
    on both sides; the dashed line is the mean of dense runs. Lines are moved sideways, each a
    little more than the last.
    """
    usable = settings[headline_values(settings).notna() & (settings["density"] > 0)]
    pairs = [(pair, some) for pair, some in by_pair(usable) if sparse_methods(some)]
    panels = Panels([pair_name(pair) for pair, _ in pairs], columns=2)
    for panel, (_, some) in enumerate(pairs):
        dense = is_dense(some)
        reach = [some.loc[~dense, "density"].min() / 1.2, some.loc[~dense, "density"].max() * 1.2]
        sparse = []
        for name, rows in lines_of_methods(some):
            if not dense[rows.index].all():
                sparse.append((name, rows.sort_values("density")))
            for mean in headline_values(rows[dense[rows.index]]):
                panels.add(panel, line(reach, [mean] * 2, f"{name}, mean", DASHED))
        for trace in _lines(sparse):
            panels.add(panel, trace)
        panels.y(panel, range=range_around(headline_values(some), headline_of(some)))
    title = "remaining weights (%, log scale)"
    panels.x(type="log", tickvals=DECADES, tickformat=PERCENT, title=title)
    name_heights(panels, [headline_of(some) for _, some in pairs])
    return panels.figure()


def _lines(named: Sequence[tuple[str, pd.DataFrame]]) -> Iterator[Trace]:
    """Yield the traces of lines, each with the name given and in its method's style."""
    seen: Counter[str] = Counter()
    for place, (name, rows) in enumerate(named):
        method = str(rows["reg.method"].iloc[0])
        style = look(method_hue(method), seen[method])
        seen[method] += 1
        yield from _line_with_band(name, rows, style, SIDEWAYS ** (place - (len(named) - 1) / 2))


def _line_with_band(
    name: str, rows: pd.DataFrame, style: dict[str, str], aside: float
) -> list[Trace]:
    """Return the line of a method over its densities, on the band of its deviations.

    `aside` is the factor by which it is moved along the axis.
    """
    x, y, deviations = (
        rows["density"] * aside,
        headline_values(rows),
        headline_values(rows, "_std").fillna(0),
    )
    hovers = []
    for row in rows.to_dict("records"):
        figure = headline_of_row(row)
        reached = spread(row[figure.name], row[f"{figure.name}_std"], row["count"], figure)
        hovers.append(hover([name, f"remaining {row['density']:.2%}", reached]))
    marker = {"symbol": style["symbol"], "size": 7}
    stroke = {"color": style["color"], "dash": style["dash"], "width": 2}
    drawn = line(x, y, name, stroke, hovers, mode="lines+markers", marker=marker)
    if not (deviations > 0).any():
        return [drawn]
    band = {
        "type": "scatter",
        "x": [*x, *x[::-1]],
        "y": [*(y + deviations), *(y - deviations)[::-1]],
        "fill": "toself",
        "fillcolor": style["color"],
        "opacity": BAND,
        "mode": "none",
        "name": text(name),
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [band, drawn]
