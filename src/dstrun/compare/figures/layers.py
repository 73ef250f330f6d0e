"""Figures of every layer: density over epochs, density at the end, and maps of layers × epochs.

`layers` is the store's table of the runs, and `runs` has their labels.
"""

from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.aggregate import by_layer
from dstrun.compare.figures.panels import Figure, Panels, Trace, curve, pack
from dstrun.compare.figures.pareto import LEAST
from dstrun.compare.figures.style import (
    COLOURS,
    GREY,
    PERCENT,
    depth_colours,
    hover,
    spread,
    stroke,
    text,
)

LETTER = 6  # pixels of a letter in the names along an axis
QUANTITIES = {
    "density": "density",
    "threshold_mean": "mean threshold",
    "churn": "churn",
    "explored": "explored",
}
Layers = list[tuple[str, pd.DataFrame]]  # names, 'model' for the sum of all first, and their rows


def layer_density(layers: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return the density of every layer over epochs (the paper's figures 4 to 6).

    One run has a panel with a line per layer; several have a panel per layer, a line per run.
    """
    sums = layers.groupby(["run", "at"], observed=True, sort=False)[["kept", "total"]].sum()
    model = sums.assign(density=sums["kept"] / sums["total"]).reset_index()
    named = [("model", model), *layers.groupby("layer", observed=True, sort=False)]
    panels = _one_panel(named) if len(runs) == 1 else _panel_per_layer(named, runs)
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    panels.add_scale_buttons()
    return panels.figure()


def _one_panel(layers: Layers) -> Panels:
    """Return a panel with a line per layer, and a dashed one of the model."""
    panels = Panels([""])
    styles: list[dict[str, Any]] = [{"color": GREY, "dash": "dash"}]
    styles += [{"color": colour, "width": 2} for colour in depth_colours(len(layers) - 1)]
    for (name, rows), style in zip(layers, styles, strict=True):
        panels.add(0, curve(rows["at"], rows["density"], name, style, percent=True))
    return panels


def _panel_per_layer(layers: Layers, runs: pd.DataFrame) -> Panels:
    """Return a panel per layer with a line per run."""
    panels = Panels([name for name, _ in layers], columns=2 if len(layers) == 4 else 3)
    for panel, (_, rows) in enumerate(layers):
        rows_of = dict(list(rows.groupby("run", observed=True, sort=False)))
        for run in runs.itertuples():
            if run.run in rows_of:
                mine, style = rows_of[run.run], stroke(run.hue, run.kind)
                panels.add(
                    panel, curve(mine["at"], mine["density"], run.label, style, percent=True)
                )
    return panels


def final_density(layers: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return the density of every layer at the end as bars (the paper's figure 7).

    A panel per setting, with mean and standard deviation over its runs.
    """
    rows = by_layer(layers, runs)
    names = [name for name in dict.fromkeys(rows["layer"]) if name]
    titles, traces = [], []
    for _, some in rows.groupby("series", sort=False):
        figures = some.set_index("layer")[["mean", "std", "count"]]
        titles.append(f"{some['setting_label'].iloc[0]}: {figures.loc['', 'mean']:.2%} remaining")
        traces.append(_bars(figures.reindex(names)))
    panels = Panels(titles, columns=2, below=LETTER * max(map(len, names)))
    for panel, trace in enumerate(traces):
        panels.add(panel, trace)
    panels.x(title="layer, from the first to the last", type="category")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    return panels.figure()


def _bars(figures: pd.DataFrame) -> Trace:
    """Return a bar per layer, from a table of mean, std and count by layer."""
    hovers = [hover([name, spread(*row)]) for name, *row in figures.itertuples()]
    return {
        "type": "bar",
        "x": [text(name) for name in figures.index],
        "y": figures["mean"],
        "name": "density",
        "hovertext": hovers,
        "hoverinfo": "text",
        "error_y": {"array": figures["std"].fillna(0), "thickness": 1, "color": GREY},
        "marker": {"color": COLOURS[0]},
        "showlegend": False,
    }


def heat_map(layers: pd.DataFrame, quantity: str) -> Figure:
    """Return one run's map of layers × epochs of one of QUANTITIES.

    All but thresholds are on a logarithmic scale of colours.
    """
    names = list(dict.fromkeys(layers["layer"]))
    table = layers.astype({"layer": str}).pivot_table(
        index="layer", columns="at", values=quantity, dropna=False
    )
    values = table.reindex(names).to_numpy(dtype=float)
    is_logarithmic = quantity != "threshold_mean"
    form = PERCENT if is_logarithmic else ".4~g"
    words = f"{QUANTITIES[quantity]} %{{customdata:{form}}}"
    trace = {
        "type": "heatmap",
        "x": table.columns.to_list(),
        "y": [text(name) for name in names],
        "z": pack(np.log10(np.maximum(values, LEAST)) if is_logarithmic else values),
        "customdata": pack(values),
        "hovertemplate": f"%{{y}}, epoch %{{x:.4~g}}<br>{words}<extra></extra>",
        "colorbar": _colour_bar(quantity, is_logarithmic),
        "name": quantity,
    }
    if is_logarithmic:
        trace |= {"colorscale": "Cividis", "zmax": 0}
    else:
        trace |= {"colorscale": "RdBu", "zmid": 0}
    panels = Panels([""], height=max(200, 120 + 24 * len(names)))
    panels.add(0, trace)
    panels.y(autorange="reversed", title="layer", type="category", automargin=True)
    panels.x(title="epoch")
    return panels.figure()


def _colour_bar(quantity: str, is_logarithmic: bool) -> dict[str, Any]:
    """Return the scale beside a heat map, in percent or in units of |w|."""
    unit = "%" if is_logarithmic else "|w|"
    bar: dict[str, Any] = {"title": {"text": f"{QUANTITIES[quantity]} ({unit})", "side": "right"}}
    if is_logarithmic:
        ticks = [10.0**exponent for exponent in range(-5, 1)]
        bar |= {"tickvals": np.log10(ticks), "ticktext": [f"{tick * 100:g}%" for tick in ticks]}
    return bar
