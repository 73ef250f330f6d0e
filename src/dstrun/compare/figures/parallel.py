"""Figure of parallel coordinates: an axis per option or figure, and a line per run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dstrun.compare.figures.panels import ROW, Figure, Panels, Trace, line
from dstrun.compare.figures.style import GREY, look, text
from dstrun.compare.headlines import examples_of, headline_values, headlines_of, written
from dstrun.compare.labels import cell_text, varying_options
from dstrun.runs.labels import column_label, heading
from dstrun.runs.tasks import ACCURACY
from dstrun.runs.tasks import Figure as TaskFigure

TICKS = 12  # labels of an axis at most


class Axis(NamedTuple):
    """One vertical axis: the height of each run's value in [0, 1], and labels by height."""

    key: str
    title: str
    heights: list[float]
    ticks: dict[float, str]


def parallel_coordinates(runs: pd.DataFrame) -> Figure:
    """Return a line per run through the options in which runs vary to its density and headline."""
    usable = runs[headline_values(runs).notna()]
    axes = [_option_axis(key, usable) for key in varying_options(usable)]
    axes.append(_figure_axis("density", usable["density"]))
    for figure in headlines_of(usable):
        axes.append(_figure_axis(figure.column(), usable[figure.column()], figure))
    panels = Panels([""], height=ROW + 90)
    panels.layout["shapes"] = []
    for place, axis in enumerate(axes):
        panels.add(0, _tick_labels(place, axis))
        panels.layout["shapes"].append(_vertical(place))
    colours = [look(hue, 0)["color"] for hue in usable["hue"]]
    for colour in dict.fromkeys(colours):
        chosen = [place for place, own in enumerate(colours) if own == colour]
        panels.add(0, _lines(usable, axes, chosen, colour))
    names = [text(axis.title) for axis in axes]
    panels.x(tickvals=list(range(len(axes))), ticktext=names, side="top")
    panels.x(showgrid=False, zeroline=False, range=[-0.6, len(axes) - 0.5], tickangle=0)
    panels.y(visible=False)
    return panels.figure()


def _lines(runs: pd.DataFrame, axes: Sequence[Axis], places: Sequence[int], colour: str) -> Trace:
    """Return the lines of the runs at those places as one trace, with gaps between them."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    names: list[str] = []
    labels: list[str] = []
    for place in places:
        xs += [*range(len(axes)), None]
        ys += [*(axis.heights[place] for axis in axes), None]
        names += [runs["run"].iloc[place]] * (len(axes) + 1)
        labels += [text(runs["label"].iloc[place])] * (len(axes) + 1)
    style = {"color": colour, "width": 1.5}
    options = {"customdata": names, "showlegend": False, "opacity": 0.75}
    return line(xs, ys, "runs", style, labels, **options)


def _tick_labels(place: int, axis: Axis) -> Trace:
    """Return the labels beside an axis."""
    return {
        "type": "scatter",
        "x": [place] * len(axis.ticks),
        "y": list(axis.ticks),
        "text": [text(label) for label in axis.ticks.values()],
        "name": text(column_label(axis.key)),
        "mode": "text",
        "textposition": "middle left",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _vertical(place: int) -> dict[str, Any]:
    """Return the vertical line of an axis."""
    style = {"color": GREY, "width": 1}
    return {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": style}


def _figure_axis(key: str, cells: pd.Series, figure: TaskFigure = ACCURACY) -> Axis:
    """Return the axis of a figure, from its lowest value to its highest, with its unit."""
    low, high = cells.min(), cells.max()
    reach = (high - low) or 1
    ticks = {step / 4: written(figure, low + reach * step / 4) for step in range(5)}
    title = f"{column_label(key)}{' (%)' * figure.is_share}"
    return Axis(key, title, ((cells - low) / reach).tolist(), ticks)


def _option_axis(key: str, runs: pd.DataFrame) -> Axis:
    """Return the axis of an option: its values in order, a missing one lowest."""
    words = [cell_text(cell, key) for cell in runs[key]]
    numbers = dict(zip(words, pd.to_numeric(runs[key], errors="coerce"), strict=True))
    order = sorted(numbers, key=lambda word: (word != "", np.nan_to_num(numbers[word]), word))
    places = {word: place / max(len(order) - 1, 1) for place, word in enumerate(order)}
    step = -(-len(order) // TICKS)
    ticks = {places[word]: word or "–" for word in order[::step]}
    title = heading(key, examples_of(runs))
    return Axis(key, title, [places[word] for word in words], ticks)
