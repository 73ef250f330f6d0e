"""Figure of accuracy, or another headline, and density against α, the paper's figure 3."""

from collections.abc import Iterator, Sequence

import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels, Trace, line
from dstrun.compare.figures.pareto import (
    DASHED,
    Pair,
    axis_format,
    axis_title,
    by_pair,
    is_pair,
    pair_name,
    range_around,
)
from dstrun.compare.figures.style import GREY, PERCENT, hover, spread, stroke
from dstrun.compare.headlines import examples_of, headline_of, headline_values
from dstrun.compare.labels import cell_text, is_dense, varying_options
from dstrun.runs.labels import column_label
from dstrun.runs.tasks import ACCURACY
from dstrun.runs.tasks import Figure as TaskFigure

TICKS = 12  # values of α that the axis names at most


def against_alpha(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """Return the headline, above, and density against α, a column per model and data.

    `settings` is the table of `aggregate.by_setting`: marks are means over seeds, bars their
    standard deviations. `published` has points of the paper's figure 3 (densities).
    """
    usable = settings[headline_values(settings).notna()]
    sparse = usable[usable["reg.alpha"] > 0]
    pairs = list(by_pair(sparse))
    titles = [pair_name(pair) for pair, _ in pairs]
    panels = Panels([*titles, *[""] * len(pairs)], columns=len(pairs))
    for above, (pair, some) in enumerate(pairs):
        below, figure = len(pairs) + above, headline_of(some)
        for number, (words, rows) in enumerate(_lines(some)):
            panels.add(above, _with_spread(rows, figure.name, words, number, figure))
            panels.add(below, _with_spread(rows, "density", words, number))
        dense = _dense_headlines(usable, pair)
        for mean in dense:
            reach = [some["reg.alpha"].min() / 1.5, some["reg.alpha"].max() * 1.5]
            panels.add(above, line(reach, [mean] * 2, "dense, mean", DASHED))
        if published is not None and is_pair(published, pair).any():
            panels.add(below, _paper_marks(published[is_pair(published, pair)]))
        around = range_around(pd.concat([headline_values(some), dense]), figure)
        panels.y(above, title=axis_title(figure), range=around)
        panels.y(below, title="remaining weights (%)", rangemode="tozero")
    alphas = sorted(set(sparse["reg.alpha"]))
    if len(alphas) <= TICKS:
        panels.x(tickvals=alphas, ticktext=[cell_text(alpha, "reg.alpha") for alpha in alphas])
    panels.x(type="log", title="α (log scale)", exponentformat="power")
    panels.y(tickformat=PERCENT)
    for above, (_, some) in enumerate(pairs):
        panels.y(above, tickformat=axis_format(headline_of(some)))
    return panels.figure()


def _lines(settings: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Yield the rows that differ in α alone, with words for the options in which lines differ."""
    settings = settings.sort_values("reg.alpha")
    keys = []
    for key in ("group", *varying_options(settings)):
        if key != "reg.alpha" and settings[key].nunique() > 1:
            keys.append(key)
    if not keys:
        yield [], settings
        return
    names = [column_label(key, examples_of(settings)) for key in keys]
    for values, rows in settings.groupby(keys, dropna=False, sort=False):
        words = zip(keys, names, values, strict=True)
        yield [f"{name} {cell_text(value, key)}" for key, name, value in words], rows


def _with_spread(
    rows: pd.DataFrame,
    quantity: str,
    words: Sequence[str],
    number: int,
    figure: TaskFigure = ACCURACY,
) -> Trace:
    """Return a line over α with the standard deviation of each point."""
    deviations = rows[f"{quantity}_std"]
    hovers = []
    columns = (rows["reg.alpha"], rows[quantity], deviations, rows["count"])
    for alpha, mean, std, count in zip(*columns, strict=True):
        hovers.append(
            hover([*words, f"α {cell_text(alpha, 'reg.alpha')}", spread(mean, std, count, figure)])
        )
    name = ", ".join(words) or "mean over seeds"
    bars = {"array": deviations.fillna(0), "thickness": 1}
    options = {"mode": "lines+markers", "error_y": bars}
    return line(rows["reg.alpha"], rows[quantity], name, stroke(number, 0), hovers, **options)


def _dense_headlines(settings: pd.DataFrame, pair: Pair) -> pd.Series:
    """Return the mean headlines of the dense settings of a model and data with finished runs."""
    is_baseline = is_dense(settings) & is_pair(settings, pair) & (settings["finished"] > 0)
    return headline_values(settings)[is_baseline]


def _paper_marks(points: pd.DataFrame) -> Trace:
    """Return points of the paper's figure 3 as marks."""
    return {
        "type": "scatter",
        "x": points["reg.alpha"],
        "y": points["density"],
        "mode": "markers",
        "name": "the paper, read off figure 3",
        "marker": {"symbol": "diamond-open", "size": 10, "color": GREY},
    }
