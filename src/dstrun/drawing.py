"""What all figures share: the theme, the look of a run, panels, lines, marks, and text that is not read as tags.

Knows plotly and nothing of ours.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, told apart by all
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "triangle-up", "cross", "star")
GREY = "#888888"
PERCENT = ".3~%"
DECADES = [float(f"{mantissa}e{exponent}") for exponent in range(-5, 1) for mantissa in (1, 2, 5)]
ROW = 330  # pixels of height of a row of panels


def template(dark: bool) -> go.layout.Template:
    """Colours of everything but the data, for a light or a dark page."""
    ink, line, ground = ("#d8d8dc", "#3a3a42", "#24242a") if dark else ("#26262b", "#dcdce2", "#ffffff")
    axis = {"gridcolor": line, "zerolinecolor": line, "linecolor": line, "automargin": True}
    layout = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": ink}, "xaxis": axis, "yaxis": axis,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": ground, "font": {"color": ink}, "align": "left", "namelength": -1},
        "updatemenudefaults": {"bgcolor": ground, "bordercolor": line, "font": {"color": ink}},
    }  # fmt: skip
    return go.layout.Template(layout=layout)


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
    """Colour, dash and symbol of a run: a colour a setting, as far as they reach, a dash and a symbol a seed."""
    turn, colour = divmod(int(series), len(COLOURS))
    kind = (int(repeat) + 3 * turn) % len(DASHES)
    return {"color": COLOURS[colour], "dash": DASHES[kind], "symbol": SYMBOLS[kind]}


def stroke(series: int, repeat: int, **changes: Any) -> dict[str, Any]:
    """How a run's line is drawn."""
    chosen = look(series, repeat)
    return {"color": chosen["color"], "dash": chosen["dash"], "width": 2} | changes


def by_depth(count: int) -> list[str]:
    """Colours from the first layer to the last; the scale's ends, too faint on one of the themes, are left out."""
    return sample_colorscale("Viridis", np.linspace(0.25, 0.9, count)) if count else []


class Panels:
    """A figure of so many panels in rows, that are counted from 0."""

    def __init__(self, titles: Sequence[str], columns: int = 1, height: int | None = None, **options: Any) -> None:
        self._count, self._columns = len(titles), max(1, min(columns, len(titles)))
        rows = max(1, -(-len(titles) // self._columns))
        height = height or rows * ROW + 90
        self.figure = make_subplots(
            rows=rows, cols=self._columns, subplot_titles=[text(title) for title in titles] if any(titles) else None,
            vertical_spacing=min(100 / height, 1 / rows), horizontal_spacing=0.14 / self._columns, **options,
        )  # fmt: skip
        self.figure.update_layout(height=height, margin={"t": 40, "r": 20, "l": 70, "b": 50})

    def add(self, panel: int, trace: Any) -> None:
        self.figure.add_trace(trace, panel // self._columns + 1, panel % self._columns + 1)

    def x(self, panel: int | None = None, **axis: Any) -> None:
        """Sets the horizontal axis of a panel, or of all, the title then under the lowest of each column."""
        self._set(self.figure.update_xaxes, panel, axis, range(max(0, self._count - self._columns), self._count))

    def y(self, panel: int | None = None, **axis: Any) -> None:
        """Sets the vertical axis of a panel, or of all, the title then beside the first of each row."""
        self._set(self.figure.update_yaxes, panel, axis, range(0, self._count, self._columns))

    def _set(self, update: Callable, panel: int | None, axis: dict[str, Any], titled: Sequence[int]) -> None:
        if panel is not None:
            update(**axis, row=panel // self._columns + 1, col=panel % self._columns + 1)
            return
        title = axis.pop("title", None)
        update(**axis)
        for one in titled if title else ():
            self._set(update, one, {"title": title}, ())

    def switchable(self) -> None:
        """Buttons for a linear or a logarithmic scale of all vertical axes."""
        axes = [name for name in self.figure.layout.to_plotly_json() if name.startswith("yaxis")]
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
            "showactive": False,
        }
        self.figure.update_layout(updatemenus=[{"type": "buttons", "buttons": buttons, **place}], margin={"t": 90})


def line(
    x: Any, y: Any, name: str, style: Mapping[str, Any], *, said: str | Sequence[str] = "", **options: Any
) -> go.Scatter:
    """A line; `said` is the text for each point, or for all of them. Lines of one name share an entry of the legend."""
    return go.Scatter(
        x=x, y=y, mode="lines" if len(x) > 1 else "lines+markers", line=dict(style), name=text(name),
        legendgroup=text(name), hovertext=said or text(name), hoverinfo="text", **options,
    )  # fmt: skip


def course(x: Any, y: Any, name: str, style: Mapping[str, Any], percent: bool, **options: Any) -> go.Scatter:
    """A figure over epochs, in single precision, which halves a page of thousands of points."""
    form = ".4~%" if percent else ".4~g"
    trace = line(np.asarray(x, np.float32), np.asarray(y, np.float32), name, style, **options)
    return trace.update(
        hovertext=None,
        hoverinfo=None,
        hovertemplate=f"%{{fullData.name}}<br>epoch %{{x:.4~g}}: %{{y:{form}}}<extra></extra>",
    )
