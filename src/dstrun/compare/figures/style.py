"""Style of the figures: theme, colours, the look of a run, and text that plotly shows as it is."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from dstrun.compare.labels import METHOD_HUES
from dstrun.runs.tasks import ACCURACY, Figure

COLOURS = (  # Okabe and Ito's, which colour-blind people can tell apart, and two more
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#a06cc8",
    "#a67c2d",
)
# five for the first settings or methods, and five for those whose colour comes for the second time;
# dashes and gaps in pixels where plotly has no name
DASHES = (
    *("solid", "dash", "dot", "dashdot", "longdash"),
    *("longdashdot", "2px,6px", "14px,3px,3px,3px", "3px,3px,9px,3px", "6px,8px"),
)
SYMBOLS = (
    *("circle", "square", "triangle-up", "cross", "star"),
    *("diamond", "x", "triangle-down", "pentagon", "hexagon"),
)
METHOD_SYMBOLS = (
    *("circle", "square", "triangle-up", "diamond", "cross", "x", "triangle-down", "star"),
    *("pentagon", "triangle-left", "hexagon", "triangle-right"),
)
SHARED = math.lcm(len(COLOURS), len(METHOD_SYMBOLS))  # methods until a pair of them comes again
KINDS = 5  # dashes and symbols of one setting or method, for its seeds or settings
GREY = "#888888"
PERCENT = ".3~%"
INK, LINE, GROUND = ("#26262b", "#d8d8dc"), ("#dcdce2", "#3a3a42"), ("#ffffff", "#24242a")


def template(dark: bool) -> dict[str, Any]:
    """Return plotly's template for a light or a dark page: the colours of all but the data."""
    ink, line, ground = INK[dark], LINE[dark], GROUND[dark]
    axis = {"gridcolor": line, "zerolinecolor": line, "linecolor": line}
    hover_label = {
        "bgcolor": ground,
        "font": {"color": ink},
        "align": "left",
        "namelength": -1,
    }
    layout = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink},
        "xaxis": axis,
        "yaxis": axis,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": hover_label,
        "updatemenudefaults": {"bgcolor": ground, "bordercolor": line, "font": {"color": ink}},
    }
    return {"layout": layout}


def text(words: object) -> str:
    """Return words so that plotly shows them as they are and reads no tags in them."""
    return html.escape(str(words), quote=False)


def hover(lines: Sequence[str]) -> str:
    """Return lines for a hover box."""
    return "<br>".join(text(line) for line in lines)


def spread(mean: float, std: float, count: float, figure: Figure = ACCURACY) -> str:
    """Return mean, standard deviation and number of values: '97.91% ± 0.06 (3)'."""
    deviation = f"{std * 100:.2f}" if figure.is_share else figure.shown(std)
    return figure.shown(mean) + (f" ± {deviation} ({count:.0f})" if np.isfinite(std) else "")


def look(hue: int, kind: int) -> dict[str, str]:
    """Return colour, dash and symbol of a run.

    A setting has a colour, and a seed of it a dash and a symbol; settings of one colour have other
    ones. Dense settings, whose numbers go down from −1, are grey. A method has a colour and a
    symbol, and a setting of it a dash. Twice as many as there are colours are told apart, of
    methods, if each has one setting, ten times as many.
    """
    is_method, is_dense = hue >= METHOD_HUES, hue < 0
    number = hue - METHOD_HUES if is_method else -1 - hue if is_dense else hue
    turn = number if is_dense else number // len(COLOURS)
    place = (kind + turn // 2) % KINDS + KINDS * (turn % 2)
    sign = (number + number // SHARED) % len(METHOD_SYMBOLS)
    return {
        "color": GREY if is_dense else COLOURS[number % len(COLOURS)],
        "dash": DASHES[place],
        "symbol": METHOD_SYMBOLS[sign] if is_method else SYMBOLS[place],
    }


def stroke(hue: int, kind: int) -> dict[str, Any]:
    """Return the style of a run's line."""
    chosen = look(hue, kind)
    return {"color": chosen["color"], "dash": chosen["dash"], "width": 2}


def depth_colours(count: int) -> list[str]:
    """Return colours from the first layer to the last.

    The ends of the scale, too faint on one of the themes, are left out.
    """
    return sample_colorscale("Viridis", np.linspace(0.25, 0.9, count)) if count else []
