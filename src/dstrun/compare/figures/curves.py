"""Figures of training by epoch: loss, accuracy or another figure, α and density.

`epochs` is the store's table of the runs, and `runs` has their labels.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels, curve
from dstrun.compare.figures.pareto import axis_format, axis_title
from dstrun.compare.figures.style import PERCENT, stroke
from dstrun.compare.headlines import headline_of, headlines_of

LOSSES = {"train_loss": "loss in training (nats)", "test_loss": "test loss (nats)"}
ALPHA_TITLE = "α, where it is steered (log scale)"
RIGHT_AXIS: Mapping[str, Any] = {
    "overlaying": "y",
    "side": "right",
    "tickmode": "auto",  # not at the heights of the left axis' ticks
    "showgrid": False,
    "anchor": "x",
}


def learning_curves(epochs: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return loss and headline in training and on held-out data, and an adjusted α, by epoch."""
    shown = headlines_of(runs)
    titles = dict(LOSSES)
    for figure in shown:
        if figure.in_training:
            titles[figure.column("train")] = f"{figure.title} in training{' (%)' * figure.is_share}"
        titles[figure.column()] = axis_title(figure)
    validated = [one for one in shown if epochs[one.column("validation")].notna().any()]
    if validated:
        titles["validation_loss"] = "validation loss (nats)"
    titles |= {one.column("validation"): axis_title(one, "validation") for one in validated}
    if (epochs["alpha"] > 0).any():
        titles["alpha"] = ALPHA_TITLE
    panels = Panels([""] * len(titles), columns=2)
    for panel, (column, title) in enumerate(titles.items()):
        _add_curves(panels, panel, column, epochs, runs)
        is_percent = column.endswith("accuracy")
        panels.y(panel, title=title, tickformat=PERCENT if is_percent else None)
    if "alpha" in titles:
        panels.y(len(titles) - 1, type="log", exponentformat="power")
    panels.x(title="epoch")
    return panels.figure()


def _add_curves(
    panels: Panels, panel: int, column: str, epochs: pd.DataFrame, runs: pd.DataFrame
) -> None:
    """Add a line per run of one column; names are in the legend once, for the first panel."""
    options = {"percent": column.endswith("accuracy"), "showlegend": panel == 0}
    for run in runs.itertuples():
        mine = epochs[epochs["run"] == run.run]
        if column == "alpha":
            mine = mine[mine[column] > 0]  # 0 once masks are frozen
        style = stroke(run.hue, run.kind)
        panels.add(panel, curve(mine["epoch"], mine[column], run.label, style, **options))


def density_and_accuracy(epochs: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return density and headline by epoch, of runs of one task.

    Dashed, left axis: density of the masked layers. Solid, right axis: test accuracy, say.
    """
    panels, figure = Panels([""]), headline_of(runs)
    for run in runs.itertuples():
        mine, style = epochs[epochs["run"] == run.run], stroke(run.hue, run.kind)
        dashed, solid = style | {"dash": "dash"}, style | {"dash": "solid"}
        density = curve(mine["epoch"], mine["density"], run.label, dashed, percent=True)
        options = {"percent": figure.is_share}
        reached = curve(mine["epoch"], mine[figure.column()], run.label, solid, **options)
        panels.add(0, density | {"showlegend": False})
        panels.add(0, reached | {"yaxis": "y2"})
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%), dashed", rangemode="tozero")
    right: Mapping[str, Any] = {
        "title": {"text": f"{axis_title(figure)}, solid"},
        "tickformat": axis_format(figure),
    }
    panels.layout |= {"yaxis2": {**RIGHT_AXIS, **right}, "legend": {"x": 1.08}}
    return panels.figure()
