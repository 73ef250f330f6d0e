"""What all figures share: the theme, the look of a run, panels, lines, and text that is not read as
tags.

A figure is a mapping of plotly's own terms, `data` and `layout`; plotly's Python objects, which
check every value, take a millisecond a line, and tests make them of every figure. Knows plotly and
nothing of ours."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # Okabe and Ito's, told apart by all
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "triangle-up", "cross", "star")
GREY = "#888888"
PERCENT = ".3~%"
DECADES = [float(f"{mantissa}e{exponent}") for exponent in range(-5, 1) for mantissa in (1, 2, 5)]
Trace = dict[str, Any]
Figure = dict[str, Any]
ROW = 330  # pixels of height of a row of panels


def template(dark: bool) -> dict[str, Any]:
    """Colours of everything but the data, for a light or a dark page."""
    ink, line, ground = (
        ("#d8d8dc", "#3a3a42", "#24242a") if dark else ("#26262b", "#dcdce2", "#ffffff")
    )
    axis = {"gridcolor": line, "zerolinecolor": line, "linecolor": line}
    layout = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink},
        "xaxis": axis,
        "yaxis": axis,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": ground,
            "font": {"color": ink},
            "align": "left",
            "namelength": -1,
        },
        "updatemenudefaults": {"bgcolor": ground, "bordercolor": line, "font": {"color": ink}},
    }
    return {"layout": layout}


def text(words: object) -> str:
    """Words as plotly shows them and no more: its tags are not read."""
    return html.escape(str(words), quote=False)


def hover(words: Sequence[str]) -> str:
    """Words for a hover box, a line each."""
    return "<br>".join(text(word) for word in words)


def spread(mean: float, std: float, count: float) -> str:
    """A fraction's mean, its standard deviation and how many there were: '97.91% ± 0.06 (3)'."""
    return f"{mean:.2%}" + (f" ± {std * 100:.2f} ({count:.0f})" if np.isfinite(std) else "")


def look(series: int, repeat: int) -> dict[str, str]:
    """Colour, dash and symbol of a run: a colour a setting, as far as they reach, a dash and a
    symbol a seed.

    Dense settings, which count from −1 down, are grey.
    """
    turn, colour = divmod(series if series >= 0 else -1 - series, len(COLOURS))
    kind = (repeat + 3 * turn) % len(DASHES)
    return {
        "color": COLOURS[colour] if series >= 0 else GREY,
        "dash": DASHES[kind],
        "symbol": SYMBOLS[kind],
    }


def stroke(series: int, repeat: int, **changes: Any) -> dict[str, Any]:
    """How a run's line is drawn."""
    chosen = look(series, repeat)
    return {"color": chosen["color"], "dash": chosen["dash"], "width": 2} | changes


def by_depth(count: int) -> list[str]:
    """Colours from the first layer to the last; the scale's ends, too faint on one of the themes,
    are left out."""
    return sample_colorscale("Viridis", np.linspace(0.25, 0.9, count)) if count else []


class Panels:
    """A figure of so many panels in rows, which are counted from 0; `below` each pixels for words
    on end."""

    def __init__(
        self, titles: Sequence[str], columns: int = 1, height: int | None = None, below: int = 0
    ) -> None:
        self._count, self._columns = len(titles), max(1, min(columns, len(titles)))
        rows = max(1, -(-self._count // self._columns))
        height = height or rows * (ROW + below) + 90
        self.data: list[Trace] = []
        self.layout: dict[str, Any] = {
            "height": height,
            "margin": {"t": 40, "r": 20, "l": 70, "b": 50 + below},
            "annotations": [],
        }
        across = _shares(self._columns, 0.14 / self._columns)
        down = _shares(rows, min((100 + below) / height, 1 / (2 * rows)))[::-1]
        for panel, title in enumerate(titles):
            (left, right), (foot, head) = (
                across[panel % self._columns],
                down[panel // self._columns],
            )
            self.layout[f"xaxis{_suffix(panel)}"] = {
                "domain": [left, right],
                "anchor": f"y{_suffix(panel)}",
            }
            self.layout[f"yaxis{_suffix(panel)}"] = {
                "domain": [foot, head],
                "anchor": f"x{_suffix(panel)}",
            }
            place = {
                "x": (left + right) / 2,
                "y": head,
                "xref": "paper",
                "yref": "paper",
                "yanchor": "bottom",
            }
            words = {
                "text": text(title),
                "showarrow": False,
                "xanchor": "center",
                "font": {"size": 15},
            }
            self.layout["annotations"] += [place | words] if title else []

    def add(self, panel: int, trace: Trace) -> None:
        """Puts a trace into a panel; its name stands in the legend if none of that name does so
        already."""
        place = {
            "xaxis": f"x{_suffix(panel)}",
            "yaxis": f"y{_suffix(panel)}",
            "legendgroup": trace["name"],
        }
        first = not any(
            trace["name"] == other["name"] and other["showlegend"] for other in self.data
        )
        self.data.append(place | trace | {"showlegend": trace.get("showlegend", True) and first})

    def x(self, panel: int | None = None, **axis: Any) -> None:
        """Sets the horizontal axis of a panel, or of all, the title then under the lowest of each
        column."""
        self._set("xaxis", panel, axis, range(max(0, self._count - self._columns), self._count))

    def y(self, panel: int | None = None, **axis: Any) -> None:
        """Sets the vertical axis of a panel, or of all, the title then beside the first of each
        row."""
        self._set("yaxis", panel, axis, range(0, self._count, self._columns))

    def _set(
        self, name: str, panel: int | None, axis: dict[str, Any], titled: Sequence[int]
    ) -> None:
        title = {"title": {"text": axis.pop("title")}} if "title" in axis else {}
        for one in range(self._count) if panel is None else [panel]:
            self.layout[f"{name}{_suffix(one)}"] |= axis | (
                title if panel is not None or one in titled else {}
            )

    def switchable(self) -> None:
        """Buttons for a linear or a logarithmic scale of all vertical axes."""
        axes = [name for name in self.layout if name.startswith("yaxis")]
        buttons = [
            {"label": kind, "method": "relayout", "args": [{f"{axis}.type": kind for axis in axes}]}
            for kind in ("linear", "log")
        ]
        place = {
            "direction": "right",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": 30},
        }
        self.layout["updatemenus"] = [
            {"type": "buttons", "buttons": buttons, "showactive": False, **place}
        ]
        self.layout["margin"]["t"] = 90

    def drawn(self) -> Figure:
        return {"data": self.data, "layout": self.layout}


def _shares(count: int, gap: float) -> list[tuple[float, float]]:
    """Begin and end of so many equal parts of [0, 1] with gaps between them."""
    size = (1 - gap * (count - 1)) / count
    return [(number * (size + gap), number * (size + gap) + size) for number in range(count)]


def _suffix(panel: int) -> str:
    """How plotly numbers the axes of a panel: the first without a number, then 2, 3, …"""
    return str(panel + 1) if panel else ""


def packed(values: Any) -> dict[str, str]:
    """Numbers, in one or two dimensions, as plotly reads them from single precision: a third of the
    characters."""
    numbers = np.asarray(values, "<f4")
    shape = {"shape": ", ".join(map(str, numbers.shape))} if numbers.ndim > 1 else {}
    return {"dtype": "f4", "bdata": base64.b64encode(numbers.tobytes()).decode(), **shape}


def line(
    x: Any, y: Any, name: str, style: Mapping[str, Any], said: Any = "", **options: Any
) -> Trace:
    """A line; `said` is the text for each point, or for all of them."""
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines" if len(x) > 1 else "lines+markers",
        "line": dict(style),
        "name": text(name),
        "hovertext": said or text(name),
        "hoverinfo": "text",
        **options,
    }


def course(
    x: Any, y: Any, name: str, style: Mapping[str, Any], percent: bool, **options: Any
) -> Trace:
    """A figure over epochs, in single precision, which halves a page of thousands of points."""
    form = ".4~%" if percent else ".4~g"
    told = f"%{{fullData.name}}<br>epoch %{{x:.4~g}}: %{{y:{form}}}<extra></extra>"
    more = {"hovertext": None, "hoverinfo": None, "hovertemplate": told, **options}
    return line(x, y, name, style) | {"x": packed(x), "y": packed(y)} | more
