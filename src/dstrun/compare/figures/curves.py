"""Figures of training by epoch: loss, accuracy, α and density.

`epochs` is the store's table of the runs, and `runs` has their labels.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels, curve
from dstrun.compare.figures.pareto import ACCURACY
from dstrun.compare.figures.style import PERCENT, stroke

TITLES = {
    "train_loss": "loss in training (nats)",
    "test_loss": "test loss (nats)",
    "train_accuracy": "accuracy in training (%)",
    "test_accuracy": ACCURACY,
}
VALIDATION_TITLES = {
    "validation_loss": "validation loss (nats)",
    "validation_accuracy": "validation accuracy (%)",
}
ALPHA_TITLE = "α, where it is steered (log scale)"
RIGHT_AXIS: Mapping[str, Any] = {
    "overlaying": "y",
    "side": "right",
    "tickformat": PERCENT,
    "tickmode": "auto",  # not at the heights of the left axis' ticks
    "showgrid": False,
    "anchor": "x",
    "title": {"text": f"{ACCURACY}, solid"},
}


def learning_curves(epochs: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return loss and accuracy in training and on held-out images, and an adjusted α, by epoch."""
    titles = dict(TITLES)
    if epochs["validation_accuracy"].notna().any():
        titles |= VALIDATION_TITLES
    if epochs["alpha"].notna().any():
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
    """Return density and test accuracy by epoch.

    Dashed, left axis: density of the masked layers. Solid, right axis: test accuracy.
    """
    panels = Panels([""])
    for run in runs.itertuples():
        mine, style = epochs[epochs["run"] == run.run], stroke(run.hue, run.kind)
        dashed, solid = style | {"dash": "dash"}, style | {"dash": "solid"}
        density = curve(mine["epoch"], mine["density"], run.label, dashed, percent=True)
        accuracy = curve(mine["epoch"], mine["test_accuracy"], run.label, solid, percent=True)
        panels.add(0, density | {"showlegend": False})
        panels.add(0, accuracy | {"yaxis": "y2"})
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%), dashed", rangemode="tozero")
    panels.layout |= {"yaxis2": dict(RIGHT_AXIS), "legend": {"x": 1.08}}
    return panels.figure()
