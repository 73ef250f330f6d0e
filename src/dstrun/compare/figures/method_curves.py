"""Figures of a quantity of the whole network over epochs: a line and a band a method or setting."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dstrun.compare.figures.methods import BAND
from dstrun.compare.figures.panels import DECADES, Figure, Panels, Trace, curve, pack
from dstrun.compare.figures.style import PERCENT, text

ROW = ("run", "epoch", "step", "at")  # what rows of layers.csv of one step have in common
PART = 1e-6  # of an epoch: rounding of `at`
FEW = 6  # lines whose bands are not too many


class Course(NamedTuple):
    """A line: its name, its look, and the runs whose mean it is."""

    name: str
    look: Mapping[str, str]
    runs: Sequence[str]


def of_network(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of layers.csv of all layers together: a row per run and step.

    Columns: run, epoch, step, at; explored, churn: shares of all masked weights; gradient_norm: of
    all kept weights, √(Σ ‖g‖²), NaN where a layer has none. Churn is an epoch's, see _by_epoch.
    """
    weighted = pd.DataFrame({key: layers[key] for key in (*ROW, "total")})
    for key in ("explored", "churn"):
        weighted[key] = layers[key] * layers["total"]
    weighted["gradient_norm"] = layers["gradient_norm"] ** 2
    groups = weighted.groupby([*ROW], observed=True, sort=False)
    sums = groups.sum(min_count=1).reset_index()
    is_whole = groups["gradient_norm"].count().to_numpy() == groups.size().to_numpy()
    for key in ("explored", "churn"):
        sums[key] /= sums["total"]
    sums["churn"] = _by_epoch(sums)
    sums["gradient_norm"] = np.sqrt(sums["gradient_norm"]).where(is_whole)
    return sums


def _by_epoch(network: pd.DataFrame) -> pd.Series:
    """Return churn summed over the rows of an epoch, in its last row; NaN in the others.

    With `log.steps` an epoch has several rows, each compared with the one before. NaN as well in a
    run's first epoch, whose first row layers.csv compares with a full mask, and in one that is not
    over.
    """
    last = network.groupby("run", observed=True)["epoch"].transform("max")
    first = network.groupby("run", observed=True)["epoch"].transform("min")
    is_over = (network["epoch"] < last) | (network["at"] > network["epoch"] - PART)
    is_end = ~network.duplicated(["run", "epoch"], keep="last") & (network["epoch"] > first)
    sums = network.groupby(["run", "epoch"], observed=True)["churn"].transform("sum", min_count=1)
    return sums.where(is_end & is_over)


def over_epochs(
    network: pd.DataFrame, blocks: Mapping[str, Sequence[Course]], quantity: str, title: str
) -> Figure:
    """Return a quantity of `of_network` over epochs: a panel a block, by title; a line a course.

    A line is the mean over the runs, the band one standard deviation on both sides; on a
    logarithmic axis both are those of logarithms. Churn has a linear one, since it can be 0.
    """
    is_share, is_logarithmic = quantity != "gradient_norm", quantity != "churn"
    if is_logarithmic:
        network = network.assign(**{quantity: np.log(network[quantity].where(lambda x: x > 0))})
    network = network[network[quantity].notna()]
    panels = Panels([*blocks], columns=2)
    for panel, courses in enumerate(blocks.values()):
        opacity = BAND if len(courses) <= FEW else BAND / 2
        for course in courses:
            steps = network[network["run"].isin(course.runs)].groupby("step")
            x, y, deviations = steps["at"].mean(), steps[quantity].mean(), steps[quantity].std()
            edges = y - deviations.fillna(0), y + deviations.fillna(0)
            if is_logarithmic:
                y, edges = np.exp(y), (np.exp(edges[0]), np.exp(edges[1]))
            if (deviations > 0).any():
                panels.add(panel, _band(x, *edges, course) | {"opacity": opacity})
            if len(y):
                style = {"color": course.look["color"], "dash": course.look["dash"], "width": 2}
                panels.add(panel, curve(x, y, course.name, style, percent=is_share))
    panels.x(title="epoch")
    panels.y(title=title, tickformat=PERCENT if is_share else None)
    if is_logarithmic:
        panels.y(type="log", exponentformat="power", tickvals=DECADES if is_share else None)
    return panels.figure()


def _band(x: pd.Series, low: pd.Series, high: pd.Series, course: Course) -> Trace:
    """Return the area between two lines over epochs, in single precision."""
    return {
        "type": "scatter",
        "x": pack([*x, *x[::-1]]),
        "y": pack([*high, *low[::-1]]),
        "fill": "toself",
        "fillcolor": course.look["color"],
        "mode": "none",
        "name": text(course.name),
        "hoverinfo": "skip",
        "showlegend": False,
    }
