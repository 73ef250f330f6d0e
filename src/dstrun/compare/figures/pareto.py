"""Figures of accuracy, or another headline, against density, parameters and multiply-adds.

Functions from tables to figures without a theme. `runs` are runs with labels; fractions stay
fractions, and axes say %. A run has the same look in every figure.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dstrun.compare.aggregate import finished_runs, front
from dstrun.compare.figures.panels import DECADES, Figure, Panels, Trace, line
from dstrun.compare.figures.style import GREY, PERCENT, hover, look, spread, text
from dstrun.compare.headlines import headline_of, headline_values
from dstrun.compare.labels import METHOD_HUES, is_dense
from dstrun.runs.status import FINISHED
from dstrun.runs.tasks import ACCURACY
from dstrun.runs.tasks import Figure as TaskFigure

LEGEND = 12  # settings that a legend names at most
LEAST = 1e-5  # drawn for 0 on a logarithmic scale
OUTLIER = 5  # interquartile ranges below the first quartile, from which a value is out of sight
DASHED = {"color": GREY, "dash": "dash"}
Pair = tuple[str, str]


def accuracy_density(runs: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """Return accuracy against density of every run, a panel per model and data.

    With the Pareto front, the means of the dense runs and the paper's rows. Front, dense means and
    the first range of the axis are those of the finished runs.
    """
    pairs = list(by_pair(runs[headline_values(runs).notna()]))
    panels = Panels([pair_name(pair) for pair, _ in pairs], columns=2)
    for panel, (pair, some) in enumerate(pairs):
        finished = finished_runs(some)
        panels.add(panel, _front(finished))
        for trace in _fronts_of_methods(finished):
            panels.add(panel, trace)
        reach = [min(_drawable(some["density"]).min(), 0.01), 1]
        for trace in [*_dense_means(finished, reach), *_marks(some, "density")]:
            panels.add(panel, trace)
        reached = headline_values(finished)
        if published is not None:
            rows = published[is_pair(published, pair) & (published["density"] < 1)]
            if len(rows):
                panels.add(panel, _paper_marks(rows))
                reached = pd.concat([reached, rows["accuracy"]])
        panels.y(panel, range=range_around(reached, headline_of(some)))
    title = "remaining weights (%, log scale)"
    panels.x(type="log", tickvals=DECADES, tickformat=PERCENT, title=title)
    name_heights(panels, [headline_of(some) for _, some in pairs])
    return panels.figure()


def name_heights(panels: Panels, shown: Sequence[TaskFigure]) -> None:
    """Give the vertical axes a title and a format, by the figure that each panel shows."""
    if all(figure == ACCURACY for figure in shown):
        panels.y(tickformat=PERCENT, title=axis_title(ACCURACY))
        return
    for panel, figure in enumerate(shown):
        panels.y(panel, title=axis_title(figure), tickformat=axis_format(figure))


def axis_title(figure: TaskFigure, split: str = "test") -> str:
    """Return 'test accuracy (%)'."""
    return f"{split} {figure.title}{' (%)' * figure.is_share}"


def axis_format(figure: TaskFigure) -> str | None:
    """Return the format of an axis' ticks: plotly's own, but for shares."""
    return PERCENT if figure.is_share else None


def kept_against_accuracy(runs: pd.DataFrame) -> Figure:
    """Return accuracy against the shares of parameters and multiply-adds that are kept.

    A row of panels per model and data.
    """
    runs = runs.assign(parameters_share=runs["parameters_kept"] / runs["parameters"])
    pairs = list(by_pair(runs[headline_values(runs).notna()]))
    titles: list[str] = []
    for pair, _ in pairs:
        titles += [pair_name(pair)] * 2
    panels = Panels(titles, columns=2)
    for row, (_, some) in enumerate(pairs):
        shares = {"parameters": "parameters_share", "multiply-adds": "flops_fraction"}
        for panel, (what, column) in enumerate(shares.items(), start=2 * row):
            for trace in _marks(some[some[column].notna()], column):
                panels.add(panel, trace)
            panels.y(
                panel, range=range_around(headline_values(finished_runs(some)), headline_of(some))
            )
            title = f"{what} kept (% of dense, log scale)"
            panels.x(panel, type="log", title=title, tickvals=DECADES, tickformat=PERCENT)
    name_heights(panels, [headline_of(some) for _, some in pairs for _ in range(2)])
    return panels.figure()


def by_pair(table: pd.DataFrame) -> Iterator[tuple[Pair, pd.DataFrame]]:
    """Yield model and data, and their rows."""
    yield from table.groupby(["model.name", "data.name"], sort=False)


def is_pair(table: pd.DataFrame, pair: Pair) -> pd.Series:
    """Return for each row whether it is of that model and data."""
    return (table["model.name"] == pair[0]) & (table["data.name"] == pair[1])


def pair_name(pair: Pair) -> str:
    """Return 'vgg16 on cifar10'."""
    return f"{pair[0]} on {pair[1]}"


def range_around(reached: pd.Series, figure: TaskFigure = ACCURACY) -> list[float]:
    """Return a range of an axis with some room around the values, of which there is at least one.

    Values far worse than the others, by five interquartile ranges, are left out of sight.
    """
    if figure.is_lower_better:
        low, high = range_around(-reached)
        return [-high, -low]
    low, high = reached.min(), reached.max()
    first, third = reached.quantile(0.25), reached.quantile(0.75)
    if third > first:
        low = max(low, first - OUTLIER * (third - first))
    room = max(0.08 * (high - low), 0.002)
    return [float(low - room), float(high + room)]


def _drawable(values: pd.Series) -> pd.Series:
    """Return values that a logarithmic axis can show."""
    return values.clip(lower=LEAST)


def _front(runs: pd.DataFrame) -> Trace:
    """Return the Pareto front as a line of steps."""
    best = runs[front(runs)].sort_values("density")
    style = {"color": GREY, "width": 1.5, "shape": "hv"}
    return line(best["density"], headline_values(best), "Pareto front", style)


def _fronts_of_methods(runs: pd.DataFrame) -> Iterator[Trace]:
    """Yield the Pareto front of each method, where there are several."""
    for hue, some in runs[runs["hue"] >= METHOD_HUES].groupby("hue", sort=False):
        style = {"color": look(hue, 0)["color"], "width": 1}
        yield (
            _front(some)
            | {"name": text(_name(some)), "line": style | {"shape": "hv"}}
            | {
                "showlegend": False,
                "hovertext": text(f"{_name(some)}, Pareto front"),
            }
        )


def _dense_means(runs: pd.DataFrame, reach: list[float]) -> Iterator[Trace]:
    """Yield a horizontal line at the mean headline of each dense setting."""
    for _, some in runs[is_dense(runs)].groupby("series", sort=False):
        reached = headline_values(some)
        mean, label = reached.mean(), some["setting_label"].iloc[0]
        words = text(f"{label}: {spread(mean, reached.std(), len(some), headline_of(some))}")
        yield line(reach, [mean] * 2, "dense, mean", DASHED, words)


def _marks(runs: pd.DataFrame, x: str) -> Iterator[Trace]:
    """Yield a trace per setting or method, with a mark per run, open until the run is finished."""
    names = {hue: _name(some) for hue, some in runs.groupby("hue", sort=False)}
    has_names = len(names) <= LEGEND or max(names) >= METHOD_HUES
    for hue, some in runs.groupby("hue", sort=False):
        symbols = []
        for kind, state in zip(some["kind"], some["state"], strict=True):
            ending = "" if state == FINISHED else "-open"
            symbols.append(look(hue, kind)["symbol"] + ending)
        yield {
            "type": "scatter",
            "x": _drawable(some[x]),
            "y": headline_values(some),
            "mode": "markers",
            "marker": {"size": 10, "color": look(hue, 0)["color"], "symbol": symbols},
            "hovertext": [hover(lines) for lines in some["hover"]],
            "hoverinfo": "text",
            "customdata": some["run"],
            "name": text(names[hue]),
            "showlegend": has_names,
        }


def _name(runs: pd.DataFrame) -> str:
    """Return the name of the runs of one hue: of their method, or of their setting."""
    of_method = runs["hue"].iloc[0] >= METHOD_HUES
    return str(runs["reg.method" if of_method else "setting_label"].iloc[0])


def _paper_marks(rows: pd.DataFrame) -> Trace:
    """Return the rows of the paper's tables as marks with their standard deviations."""
    hovers = []
    for row in rows.itertuples():
        source = f"the paper, table {row.table}: {row.method}"
        figures = [f"remaining {row.density:.2%}", f"accuracy {row.accuracy:.2%}"]
        hovers.append(hover([source, *figures]))
    return {
        "type": "scatter",
        "x": rows["density"],
        "y": rows["accuracy"],
        "text": "paper: " + rows["method"],
        "mode": "markers+text",
        "textposition": "bottom center",
        "textfont": {"color": GREY},
        "hovertext": hovers,
        "hoverinfo": "text",
        "name": "the paper",
        "error_x": _bars(rows["density_std"]),
        "error_y": _bars(rows["accuracy_std"]),
        "marker": {"symbol": "diamond-open", "size": 11, "color": GREY, "line": {"width": 2}},
    }


def _bars(deviations: pd.Series) -> dict[str, Any]:
    """Return error bars, none where a standard deviation is not reported."""
    return {"array": deviations.astype(float).fillna(0), "thickness": 1, "color": GREY}
