"""Figure of accuracy against density with a line per method."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from dstrun.compare.figures.panels import DECADES, Figure, Panels, Trace, line
from dstrun.compare.figures.pareto import (
    ACCURACY,
    DASHED,
    by_pair,
    pair_name,
    range_around,
)
from dstrun.compare.figures.style import PERCENT, hover, look, spread, text
from dstrun.compare.labels import is_dense, method_hue, sparse_methods
from dstrun.compare.methods import lines_of_methods

BAND = 0.15  # opacity
SIDEWAYS = 1.02  # factor of density from a line to the next, so that none hides another


def against_density(settings: pd.DataFrame) -> Figure:
    """Return mean accuracy against mean density, a line per method, a panel per model and data.

    `settings` is the table of `aggregate.by_setting`. A band is one standard deviation over seeds
    on both sides; the dashed line is the mean of dense runs. Lines are moved sideways, each a
    little more than the last.
    """
    usable = settings[settings["accuracy"].notna() & (settings["density"] > 0)]
    pairs = [(pair, some) for pair, some in by_pair(usable) if sparse_methods(some)]
    panels = Panels([pair_name(pair) for pair, _ in pairs], columns=2)
    for panel, (_, some) in enumerate(pairs):
        dense = is_dense(some)
        reach = [some.loc[~dense, "density"].min() / 1.2, some.loc[~dense, "density"].max() * 1.2]
        sparse = []
        for name, rows in lines_of_methods(some):
            if not dense[rows.index].all():
                sparse.append((name, rows.sort_values("density")))
            for accuracy in rows.loc[dense, "accuracy"]:
                panels.add(panel, line(reach, [accuracy] * 2, f"{name}, mean", DASHED))
        for trace in _lines(sparse):
            panels.add(panel, trace)
        panels.y(panel, range=range_around(some["accuracy"]))
    title = "remaining weights (%, log scale)"
    panels.x(type="log", tickvals=DECADES, tickformat=PERCENT, title=title)
    panels.y(tickformat=PERCENT, title=ACCURACY)
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
    x, y, deviations = rows["density"] * aside, rows["accuracy"], rows["accuracy_std"].fillna(0)
    hovers = []
    for row in rows.itertuples():
        accuracy = spread(row.accuracy, row.accuracy_std, row.count)
        hovers.append(hover([name, f"remaining {row.density:.2%}", accuracy]))
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
