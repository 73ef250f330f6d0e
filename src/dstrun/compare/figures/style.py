"""Style of the figures: theme, colours, the look of a run, and text that plotly shows as it is."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from dstrun.compare.labels import METHOD_HUES
from dstrun.runs.tasks import ACCURACY, Figure

COLOURS = (  # Okabe and Ito's, which colour-blind people can tell apart
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)
METHOD_COLOURS = (*COLOURS, "#a06cc8", "#a67c2d")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "triangle-up", "cross", "star")
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

    A setting has a colour, as long as there are enough, and a seed a dash and a symbol. Dense
    settings, whose numbers go down from −1, are grey. A method has a colour and a symbol, and a
    setting of it a dash, which methods of one colour begin with different ones of.
    """
    if hue >= METHOD_HUES:
        turn, colour = divmod(hue - METHOD_HUES, len(METHOD_COLOURS))
        return {
            "color": METHOD_COLOURS[colour],
            "dash": DASHES[(kind + turn) % len(DASHES)],
            "symbol": SYMBOLS[turn % len(SYMBOLS)],
        }
    turn, colour = divmod(hue if hue >= 0 else -1 - hue, len(COLOURS))
    kind = (kind + 3 * turn) % len(DASHES)
    return {
        "color": COLOURS[colour] if hue >= 0 else GREY,
        "dash": DASHES[kind],
        "symbol": SYMBOLS[kind],
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
