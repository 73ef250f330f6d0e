"""Heat maps of figures drawn by matplotlib: cells, their scale of colours, and numbers in them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from dstrun.compare.drawing.notation import (
    CannotDraw,
    Numbers,
    numbers,
    require_known,
    tick_text,
    words,
)

MAP = (
    *("x", "y", "z", "x0", "dx", "y0", "dy", "colorscale", "zmin", "zmax", "zmid", "colorbar"),
    *("showscale", "xgap", "ygap", "text", "texttemplate", "hoverongaps"),
)
SCALES = {"Cividis": "cividis", "Viridis": "viridis", "RdBu": "RdBu_r"}  # low is blue in both
BRIGHT = 0.5  # luminance of a cell, from which on its number is black
LEAST = 4.5  # points of numbers in cells; smaller ones are left out
FILLED = 0.85  # of the width of a cell, by its number


def draw_map(axes: Axes, trace: Mapping[str, Any]) -> None:
    """Draw a map of cells with its scale of colours beside it; missing cells stay empty."""
    cells = numbers(trace["z"])
    if trace["colorscale"] not in SCALES:
        raise CannotDraw(f"colorscale: no way to draw {trace['colorscale']}")
    low = trace.get("zmin", np.nanmin(cells))
    high = trace.get("zmax", np.nanmax(cells))
    norm = Normalize(low, high)
    if "zmid" in trace:
        reach = max(abs(high - trace["zmid"]), abs(low - trace["zmid"])) or 1
        norm = TwoSlopeNorm(trace["zmid"], trace["zmid"] - reach, trace["zmid"] + reach)
    mesh = axes.pcolormesh(
        _edges(trace, "x", cells.shape[1]),
        _edges(trace, "y", cells.shape[0]),
        np.ma.masked_invalid(cells),
        cmap=SCALES[trace["colorscale"]],
        norm=norm,
        rasterized=True,  # else a viewer draws white lines between cells
    )
    if "xgap" in trace:
        mesh.set(edgecolor="white", linewidth=0.5)
    axes.grid(visible=False)
    if "text" in trace:
        _write_numbers(axes, trace, mesh)
    if trace.get("showscale", True):
        _add_scale(axes, trace, mesh)


def _edges(trace: Mapping[str, Any], name: str, count: int) -> Numbers:
    """Return the edges of so many cells: in the middle between places, or of categories."""
    places = trace.get(name)
    if places is None:
        step = trace.get(f"d{name}", 1)
        return trace.get(f"{name}0", 0) + step * np.arange(-0.5, count, 1.0)
    if any(isinstance(place, str) for place in places):
        return np.arange(-0.5, count, 1.0)
    at = numbers(places)
    if len(at) < 2:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middles = (at[1:] + at[:-1]) / 2
    return np.array([2 * at[0] - middles[0], *middles, 2 * at[-1] - middles[-1]])


def _write_numbers(axes: Axes, trace: Mapping[str, Any], mesh: QuadMesh) -> None:
    """Write the text of each cell into it, black or white."""
    if trace["texttemplate"] != "%{text}":
        raise CannotDraw(f"texttemplate: no way to draw {trace['texttemplate']}")
    colours = mesh.to_rgba(np.ma.masked_invalid(numbers(trace["z"])))
    luminance = np.asarray(colours)[..., :3] @ [0.2126, 0.7152, 0.0722]
    for row, texts in enumerate(trace["text"]):
        for column, text in enumerate(texts):
            shown = "black" if luminance[row, column] > BRIGHT else "white"
            axes.text(column, row, words(text), ha="center", va="center", color=shown)


def fit_numbers(axes: Axes) -> None:
    """Give the numbers in the cells of a panel one size that has room, or leave them out."""
    texts: Sequence[Text] = [text for text in axes.texts if text.get_text()]
    if not texts or not any(isinstance(one, QuadMesh) for one in axes.collections):
        return
    across, down = (abs(np.subtract(*limits)) for limits in (axes.get_xlim(), axes.get_ylim()))
    box, boxes = axes.get_window_extent(), [text.get_window_extent() for text in texts]
    room = min(
        FILLED * box.width / across / max(one.width for one in boxes),
        FILLED * box.height / down / max(one.height for one in boxes),
        1.0,
    )
    size = texts[0].get_fontsize() * room
    for text in texts:
        text.set(fontsize=size, visible=size >= LEAST)


def _add_scale(axes: Axes, trace: Mapping[str, Any], mesh: ScalarMappable) -> None:
    """Add the scale of colours: beside its panel, or beside all of which one has it for all."""
    bar = trace["colorbar"]
    require_known(bar, ("title", "tickvals", "ticktext", "tickformat"), (), "colorbar")
    figure = axes.figure
    beside = figure.axes if "showscale" in trace else [axes]
    scale = figure.colorbar(mesh, ax=beside, pad=0.02, aspect=25, fraction=0.08)
    scale.outline.set_linewidth(0.5)
    scale.set_label(words(bar["title"]["text"]))
    if form := bar.get("tickformat"):
        scale.formatter = FuncFormatter(lambda value, _: tick_text(value, form, has_unit=False))
    if "tickvals" in bar:
        low, high = mesh.get_clim()
        pairs = zip(bar["tickvals"], bar["ticktext"], strict=True)
        seen = [(at, words(text)) for at, text in pairs if low - 1e-9 <= at <= high + 1e-9]
        scale.set_ticks([at for at, _ in seen], labels=[text for _, text in seen], minor=False)
