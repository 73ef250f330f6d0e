"""Figures of accuracy, or another headline, against density or cost with a line per method."""

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
AXES = {"density": "remaining weights (%", "flops": "multiply-adds (% of dense"}
WORDS = {"density": "remaining", "flops": "multiply-adds"}
SIDEWAYS = 0.06  # share of a density by which the last line is moved from the first


def against(settings: pd.DataFrame, column: str = "density") -> Figure:
    """Return mean headline against one of AXES, a line per method, a panel per model and data.

    `settings` is the table of `aggregate.by_setting`. A band is one standard deviation over seeds
    on both sides; the dashed line is the mean of dense runs. Settings without finished runs are
    left out where others have some. At densities, which methods share, lines are moved sideways,
    each a little more than the last.
    """
    usable = settings[headline_values(settings).notna() & (settings[column] > 0)]
    pairs = [(pair, _finished(some)) for pair, some in by_pair(usable) if sparse_methods(some)]
    panels = Panels([pair_name(pair) for pair, _ in pairs], columns=2)
    for panel, (_, some) in enumerate(pairs):
        dense = is_dense(some)
        reach = [some.loc[~dense, column].min() / 1.2, some.loc[~dense, column].max() * 1.2]
        sparse = []
        for name, rows in lines_of_methods(some):
            if not dense[rows.index].all():
                sparse.append((name, rows.sort_values(column)))
            for mean in headline_values(rows[dense[rows.index]]):
                panels.add(panel, line(reach, [mean] * 2, f"{name}, mean", DASHED))
        for trace in _lines(sparse, column):
            panels.add(panel, trace)
        panels.y(panel, range=range_around(headline_values(some), headline_of(some)))
    title = f"{AXES[column]}, log scale)"
    panels.x(type="log", tickvals=DECADES, tickformat=PERCENT, title=title)
    name_heights(panels, [headline_of(some) for _, some in pairs])
    return panels.figure()


def _finished(settings: pd.DataFrame) -> pd.DataFrame:
    """Return the settings with finished runs; all of them if no sparse one has any."""
    is_done = settings["finished"] > 0
    return settings[is_done] if (is_done & ~is_dense(settings)).any() else settings


def styles(named: Sequence[tuple[str, pd.DataFrame]]) -> list[dict[str, str]]:
    """Return the look of each of `lines_of_methods`: its method's, with a dash of its own."""
    seen: Counter[str] = Counter()
    found = []
    for _, rows in named:
        method = str(rows["reg.method"].iloc[0])
        found.append(look(method_hue(method), seen[method]))
        seen[method] += 1
    return found


def _lines(named: Sequence[tuple[str, pd.DataFrame]], column: str) -> Iterator[Trace]:
    """Yield the traces of lines, each with the name given and in its method's style."""
    for place, ((name, rows), style) in enumerate(zip(named, styles(named), strict=True)):
        middle = max(len(named) - 1, 1) / 2
        aside = 1 + SIDEWAYS / 2 * (place / middle - 1) if column == "density" else 1.0
        yield from _line_with_band(name, rows.assign(x=rows[column] * aside), column, style)


def _line_with_band(
    name: str, rows: pd.DataFrame, column: str, style: dict[str, str]
) -> list[Trace]:
    """Return the line of a method over its densities, on the band of its deviations.

    `rows` have the place of each mark along the axis as `x`.
    """
    reached, deviations = headline_values(rows), headline_values(rows, "_std").fillna(0)
    hovers = []
    for row in rows.to_dict("records"):
        figure = headline_of_row(row)
        words = spread(row[figure.name], row[f"{figure.name}_std"], row["count"], figure)
        hovers.append(hover([name, f"{WORDS[column]} {row[column]:.2%}", words]))
    marker = {"symbol": style["symbol"], "size": 7}
    stroke = {"color": style["color"], "dash": style["dash"], "width": 2}
    drawn = line(rows["x"], reached, name, stroke, hovers, mode="lines+markers", marker=marker)
    if not (deviations > 0).any():
        return [drawn]
    return [band(rows["x"], reached - deviations, reached + deviations, name, style), drawn]


def band(x: pd.Series, low: pd.Series, high: pd.Series, name: str, style: dict[str, str]) -> Trace:
    """Return the area between two lines, in a line's colour."""
    return {
        "type": "scatter",
        "x": [*x, *x[::-1]],
        "y": [*high, *low[::-1]],
        "fill": "toself",
        "fillcolor": style["color"],
        "opacity": BAND,
        "mode": "none",
        "name": text(name),
        "hoverinfo": "skip",
        "showlegend": False,
    }
