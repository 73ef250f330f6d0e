"""Traces of figures drawn by matplotlib: a function per type of trace.

Sizes are in points, of plotly's pixels at the size of the text. `looks` has a look for the names
that need one; colours and dashes are the trace's own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dstrun.compare.drawing.heat_maps import MAP, draw_map
from dstrun.compare.drawing.looks import OPEN, Look, linestyle, marker
from dstrun.compare.drawing.notation import (
    CannotDraw,
    Numbers,
    colour,
    each,
    numbers,
    require_known,
    words,
)

PIXELS = 13  # of the size of the text in plotly's figures
EVERYWHERE = ("type", "name", "xaxis", "yaxis", "legendgroup", "showlegend", "opacity")
ON_A_SCREEN = ("hovertext", "hoverinfo", "hovertemplate", "customdata")
SCATTER = (
    *("x", "y", "mode", "line", "marker", "error_x", "error_y"),
    *("text", "textposition", "textfont", "fill", "fillcolor"),
)
PLACES = {  # of words beside their point: alignments, and the offset in letters
    "middle left": ("right", "center", -0.5, 0),
    "bottom center": ("center", "top", 0, -0.6),
}
STEPS = {"linear": "default", "hv": "steps-post"}
THINNER, SMALLER = 0.8, 0.7  # of lines and marks, since panels have fewer letters than on a screen
THIN, WIDER = (
    ("P", "X", "*", (4, 1, 0), (6, 1, 0), (3, 1, 0)),
    1.3,
)  # markers that look smaller than others, and the factor for them
EDGE = 0.25  # points of white around marks, so that those on each other are told apart
SPACING = 0.22  # of marks along lines that need them, as a share of the panel's diagonal


class Pen:
    """Sizes and looks that all traces of a figure share."""

    def __init__(self, font_size: float, looks: Mapping[str, Look]) -> None:
        self.point = font_size / PIXELS  # points of a pixel
        self.looks = looks
        self._marked = 0

    def next_start(self) -> float:
        """Return where along its line the first mark goes, so that lines on each other show."""
        self._marked += 1
        return (self._marked * 0.37) % 1 * SPACING


def draw(axes: Axes, trace: Mapping[str, Any], pen: Pen) -> None:
    """Draw a trace; raise CannotDraw for a type or a part of it that is not known."""
    if trace["type"] not in TYPES:
        raise CannotDraw(f"trace: no way to draw {trace['type']}")
    drawn, function = TYPES[trace["type"]]
    require_known(trace, (*EVERYWHERE, *drawn), ON_A_SCREEN, trace["type"])
    function(axes, trace, pen)


def sample(trace: Mapping[str, Any], name: str, pen: Pen) -> Line2D:
    """Return the line or the mark of a trace without data, for the legend."""
    return Line2D([], [], label=name, **_style(trace, pen))


def _style(trace: Mapping[str, Any], pen: Pen) -> dict[str, Any]:
    """Return matplotlib's style of a trace of lines, marks or both, of its first mark."""
    mode = trace["mode"].split("+")
    style: dict[str, Any] = {"linestyle": "none", "alpha": trace.get("opacity")}
    look = pen.looks.get(trace["name"], Look())
    given = trace.get("marker", {})
    line = trace.get("line", {})
    if "lines" in mode:
        require_known(line, ("color", "dash", "width", "shape"), (), "line")
        style |= {
            "color": colour(line["color"]),
            "linestyle": linestyle(line.get("dash", "solid")),
            "linewidth": line.get("width", 2) * pen.point * THINNER,
            "drawstyle": STEPS[line.get("shape", "linear")],
        }
    if "markers" in mode or look.marks_lines:
        require_known(given, ("symbol", "size", "color", "line"), (), "marker")
        symbol = look.symbol or each(given.get("symbol", "circle"), 1)[0]
        style |= _mark(symbol, given.get("color", line.get("color")), given.get("size", 7), pen)
    return style


def _mark(symbol: str, shown: str, size: float, pen: Pen) -> dict[str, Any]:
    """Return matplotlib's style of a mark."""
    shape, is_filled = marker(symbol)
    return {
        "marker": shape,
        "markersize": size * pen.point * SMALLER * (WIDER if shape in THIN else 1),
        "markeredgecolor": "white" if is_filled else colour(shown),
        "markerfacecolor": colour(shown) if is_filled else "none",
        "markeredgewidth": EDGE if is_filled else 3 * EDGE,
    }


def _scatter(axes: Axes, trace: Mapping[str, Any], pen: Pen) -> None:
    """Draw points as lines, marks, words or a filled band."""
    x, y = numbers(trace["x"]), numbers(trace["y"])
    mode = trace["mode"].split("+")
    if unknown := {*mode} - {"lines", "markers", "text", "none"}:
        raise CannotDraw(f"mode: no way to draw {unknown.pop()}")
    if "fill" in trace:
        if trace["fill"] != "toself":
            raise CannotDraw(f"fill: no way to draw {trace['fill']}")
        shown = colour(trace["fillcolor"])
        axes.fill(x, y, color=shown, alpha=trace["opacity"], linewidth=0)
    if "lines" in mode:
        style = _style(trace, pen)
        if "markers" not in mode and "marker" in style:
            style["markevery"] = (pen.next_start(), SPACING) if len(x) > 1 else 1
        axes.plot(x, y, **style)
    elif "markers" in mode:
        _marks(axes, trace, x, y, pen)
    _error_bars(axes, trace, x, y, pen)
    if "text" in mode:
        _texts(axes, trace, x, y, pen)


def _marks(axes: Axes, trace: Mapping[str, Any], x: Numbers, y: Numbers, pen: Pen) -> None:
    """Draw marks, each with its own symbol, or with that of its name and its own filling."""
    own = each(trace["marker"].get("symbol", "circle"), len(x))
    look = pen.looks.get(trace["name"], Look()).symbol
    symbols = []
    for symbol in own:
        ending = OPEN * symbol.endswith(OPEN)
        symbols.append(look.removesuffix(OPEN) + ending if look else symbol)
    for symbol in dict.fromkeys(symbols):
        chosen = [symbol == one for one in symbols]
        style = _style(trace, pen)
        given = trace["marker"]
        style |= _mark(symbol, given["color"], given.get("size", 7), pen)
        axes.plot(x[chosen], y[chosen], **style)


def _error_bars(axes: Axes, trace: Mapping[str, Any], x: Numbers, y: Numbers, pen: Pen) -> None:
    """Draw standard deviations on both sides of points or bars, none where they are 0."""
    for key, name in (("error_x", "xerr"), ("error_y", "yerr")):
        if key not in trace:
            continue
        bars = trace[key]
        require_known(bars, ("array", "thickness", "color"), ("visible",), key)
        lengths = numbers(bars["array"])
        chosen = lengths > 0
        shown = bars.get("color") or trace["line"]["color"]
        if chosen.any():
            ends = {"xerr": None, "yerr": None} | {name: lengths[chosen]}
            thickness = bars.get("thickness", 2) * pen.point
            axes.errorbar(
                x[chosen],
                y[chosen],
                xerr=ends["xerr"],
                yerr=ends["yerr"],
                fmt="none",
                ecolor=colour(shown),
                elinewidth=thickness,
                capsize=2 * pen.point,
                capthick=thickness,
            )


def _texts(axes: Axes, trace: Mapping[str, Any], x: Numbers, y: Numbers, pen: Pen) -> None:
    """Write words beside their points, where these are in view."""
    if trace["textposition"] not in PLACES:
        raise CannotDraw(f"textposition: no way to draw {trace['textposition']}")
    across, up, right, above = PLACES[trace["textposition"]]
    font = trace.get("textfont", {})
    require_known(font, ("color",), (), "textfont")
    letter = PIXELS * pen.point
    for text, *(at, height) in zip(trace["text"], x, y, strict=True):
        axes.annotate(
            words(text),
            (at, height),
            (right * letter, above * letter),
            textcoords="offset points",
            ha=across,
            va=up,
            fontsize="small",
            annotation_clip=True,
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
            color=colour(font.get("color", "black")),
        )


def _bar(axes: Axes, trace: Mapping[str, Any], pen: Pen) -> None:
    """Draw a bar per category, with deviations."""
    require_known(trace["marker"], ("color",), (), "marker")
    places, heights = np.arange(len(trace["x"]), dtype=float), numbers(trace["y"])
    axes.bar(places, heights, width=0.8, color=colour(trace["marker"]["color"]))
    _error_bars(axes, trace, places, heights, pen)


TYPES = {
    "scatter": (SCATTER, _scatter),
    "bar": (("x", "y", "error_y", "marker"), _bar),
    "heatmap": (MAP, lambda axes, trace, _: draw_map(axes, trace)),
}
