"""Figures of several panels, and the traces in them, in plotly's own terms.

A figure is a mapping with `data` and `layout`. plotly's Python objects, which check every value,
take a millisecond a line; only tests make them.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dstrun.compare.figures.style import text

Trace = dict[str, Any]
Figure = dict[str, Any]
DECADES = [float(f"{mantissa}e{exponent}") for exponent in range(-5, 1) for mantissa in (1, 2, 5)]
ROW = 330  # pixels of height of a row of panels


class Panels:
    """A figure of a panel per title, numbered from 0, in rows of `columns` panels.

    `below` is the height in pixels below each panel for vertical words.
    """

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
            row, column = divmod(panel, self._columns)
            self._place(panel, title, across[column], down[row])

    def _place(
        self, panel: int, title: str, across: tuple[float, float], down: tuple[float, float]
    ) -> None:
        """Put the axes of a panel, and its title, into parts of the width and the height."""
        suffix = _suffix(panel)
        self.layout[f"xaxis{suffix}"] = {"domain": list(across), "anchor": f"y{suffix}"}
        self.layout[f"yaxis{suffix}"] = {"domain": list(down), "anchor": f"x{suffix}"}
        if title:
            annotation = {
                "x": sum(across) / 2,
                "y": down[1],
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "text": text(title),
                "showarrow": False,
                "font": {"size": 15},
            }
            self.layout["annotations"].append(annotation)

    def add(self, panel: int, trace: Trace) -> None:
        """Add a trace to a panel; the legend shows each name once."""
        name, suffix = trace["name"], _suffix(panel)
        place = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legendgroup": name}
        is_in_legend = any(name == other["name"] and other["showlegend"] for other in self.data)
        shown = trace.get("showlegend", True) and not is_in_legend
        self.data.append(place | trace | {"showlegend": shown})

    def x(self, panel: int | None = None, **axis: Any) -> None:
        """Set the horizontal axis of a panel, or of all.

        The title of all is below the lowest panel of each column.
        """
        self._set("xaxis", panel, axis, range(max(0, self._count - self._columns), self._count))

    def y(self, panel: int | None = None, **axis: Any) -> None:
        """Set the vertical axis of a panel, or of all.

        The title of all is beside the first panel of each row.
        """
        self._set("yaxis", panel, axis, range(0, self._count, self._columns))

    def _set(
        self, name: str, panel: int | None, axis: dict[str, Any], titled: Sequence[int]
    ) -> None:
        """Set an axis of a panel, or of all with a title for those in `titled`."""
        title = {"title": {"text": axis.pop("title")}} if "title" in axis else {}
        for one in range(self._count) if panel is None else [panel]:
            self.layout[f"{name}{_suffix(one)}"] |= axis
            if panel is not None or one in titled:
                self.layout[f"{name}{_suffix(one)}"] |= title

    def add_scale_buttons(self) -> None:
        """Add buttons for a linear or a logarithmic scale of all vertical axes."""
        axes = [name for name in self.layout if name.startswith("yaxis")]
        buttons = []
        for kind in ("linear", "log"):
            scales = {f"{axis}.type": kind for axis in axes}
            buttons.append({"label": kind, "method": "relayout", "args": [scales]})
        menu = {
            "type": "buttons",
            "buttons": buttons,
            "showactive": False,
            "direction": "right",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": 30},
        }
        self.layout["updatemenus"] = [menu]
        self.layout["margin"]["t"] = 90

    def figure(self) -> Figure:
        """Return the figure; its legend has names close together, and room for long dashes."""
        close = {"tracegroupgap": 0, "itemwidth": 45}
        self.layout["legend"] = close | self.layout.get("legend", {})
        return {"data": self.data, "layout": self.layout}


def _shares(count: int, gap: float) -> list[tuple[float, float]]:
    """Return begin and end of so many equal parts of [0, 1] with gaps between them."""
    size = (1 - gap * (count - 1)) / count
    return [(number * (size + gap), number * (size + gap) + size) for number in range(count)]


def _suffix(panel: int) -> str:
    """Return plotly's number for the axes of a panel: '', then 2, then 3."""
    return str(panel + 1) if panel else ""


def pack(values: Any) -> dict[str, str]:
    """Return numbers, in one or two dimensions, in plotly's binary form of single precision.

    It takes a third of the characters.
    """
    numbers = np.asarray(values, "<f4")
    packed = {"dtype": "f4", "bdata": base64.b64encode(numbers.tobytes()).decode()}
    if numbers.ndim > 1:
        packed["shape"] = ", ".join(map(str, numbers.shape))
    return packed


def line(
    x: Any, y: Any, name: str, style: Mapping[str, Any], hover_text: Any = "", **options: Any
) -> Trace:
    """Return a line; `hover_text` is the text of each point, or of all (default: the name)."""
    trace = {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines" if len(x) > 1 else "lines+markers",
        "line": dict(style),
        "name": text(name),
        "hovertext": hover_text or text(name),
        "hoverinfo": "text",
    }
    return trace | options


def curve(
    x: Any, y: Any, name: str, style: Mapping[str, Any], percent: bool, **options: Any
) -> Trace:
    """Return a line over epochs in single precision.

    This halves a page of thousands of points.
    """
    form = ".4~%" if percent else ".4~g"
    shown = f"%{{fullData.name}}<br>epoch %{{x:.4~g}}: %{{y:{form}}}<extra></extra>"
    trace = line(x, y, name, style)
    trace |= {"x": pack(x), "y": pack(y)}
    trace |= {"hovertext": None, "hoverinfo": None, "hovertemplate": shown}
    return trace | options
