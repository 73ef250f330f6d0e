"""A figure of the catalogue drawn by matplotlib in the width of a column, to be written to a file.

Panels are put into as many columns as have room, words into as many lines as they need, and the
legend below into as many columns as fit, so that nothing is cut off or covers data.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dstrun.compare.drawing import ticks
from dstrun.compare.drawing.fitting import Divided, Fitting
from dstrun.compare.drawing.looks import looks
from dstrun.compare.drawing.notation import colour, require_known
from dstrun.compare.drawing.panels import (
    Panel,
    arranged,
    axis_title,
    read_panels,
    shared_title,
)
from dstrun.compare.drawing.traces import Pen, draw

ON_A_SCREEN = ("height", "margin", "updatemenus", "legend")
PANEL, BARE_PANEL = 19, 12  # letters that a panel is wide at least, with labels of ticks or without
LETTER = 0.55  # width of a letter, of the size of the text
DPI = 300
STYLE: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType, embedded
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dstrun",  # the same bytes for the same figure
    "mathtext.default": "regular",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelpad": 2.5,
    "grid.color": "#e4e4e8",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.labelspacing": 0.3,
    "legend.borderpad": 0.1,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}
TICKS = {
    "major.width": 0.6,
    "minor.width": 0.4,
    "major.size": 2.5,
    "minor.size": 1.5,
    "major.pad": 2,
}
SMALLER = 0.9  # text of ticks and legend, of the size of the other text


@dataclass(frozen=True)
class Paper:
    """Width and height in inches (None: by the content), size of the text in points, its font."""

    width: float = 3.3
    height: float | None = None
    font_size: float = 8
    font: str = "DejaVu Sans"


@contextmanager
def on_paper(paper: Paper) -> Iterator[None]:
    """Let matplotlib draw and write in the style of a paper."""
    size = paper.font_size
    family = dict.fromkeys([paper.font, "DejaVu Sans"])  # which has letters that others lack
    sizes: dict[Any, Any] = {
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "xtick.labelsize": size * SMALLER,
        "ytick.labelsize": size * SMALLER,
        "legend.fontsize": size * SMALLER,
        "legend.title_fontsize": size * SMALLER,
    }
    for name, value in TICKS.items():
        sizes |= {f"xtick.{name}": value, f"ytick.{name}": value}
    with rc_context({**STYLE, **sizes, "font.family": list(family)}):
        yield


def drawn(given: Mapping[str, Any], paper: Paper) -> Figure:
    """Return a figure of the catalogue, drawn by matplotlib; call it in `on_paper`.

    Raise CannotDraw for anything in it that is not known here, NoRoom where something is cut off.
    """
    fitting = sketched(given, paper)
    fitting.settle(paper.height is None)
    return fitting.figure


def sketched(given: Mapping[str, Any], paper: Paper) -> Fitting:
    """Return a figure of which all is drawn, but nothing has its place yet."""
    require_known(given, ("data", "layout"), (), "figure")
    layout, data = given["layout"], given["data"]
    _require_known_layout(layout)
    letters = paper.width / (LETTER * paper.font_size / 72) - _longest_name(data)
    panel = PANEL if _has_labels(layout) else BARE_PANEL
    most = max(1, int(letters / panel))
    panels = arranged(read_panels(layout), most)
    engine = ConstrainedLayoutEngine()
    figure = Figure((paper.width, paper.height or paper.width), DPI, layout=engine)
    FigureCanvasAgg(figure)
    axes = _add_panels(figure, layout, panels)
    pen = Pen(paper.font_size, looks(data))
    for trace in data:
        draw(axes[trace["xaxis"], trace["yaxis"]], trace, pen)
    for shape in layout.get("shapes", ()):
        _draw_shape(axes["x", "y"], shape, pen)
    titles = {name: shared_title(layout, panels, name) for name in "xy"}
    first = {f"y{panel.number}" for panel in panels if panel.column == 0}
    divided = list(_set_axes(layout, data, titles, axes, first))
    fitting = Fitting(figure, engine, titles, divided)
    fitting.add_legend(data, pen)
    return fitting


def _longest_name(data: Sequence[Mapping[str, Any]]) -> int:
    """Return the letters of the longest name along a vertical axis of categories, 0 without."""
    keys = {trace["yaxis"] for trace in data}
    return max((len(name) for key in keys for name in _categories(data, key)), default=0)


def _has_labels(layout: Mapping[str, Any]) -> bool:
    """Return whether ticks of any vertical axis have labels."""
    axes = [axis for name, axis in layout.items() if name.startswith("yaxis")]
    return any(axis.get("visible", True) and axis.get("showticklabels", True) for axis in axes)


def _require_known_layout(layout: Mapping[str, Any]) -> None:
    """Raise CannotDraw for parts of a layout that are not known here."""
    axes = [name for name in layout if name.startswith(("xaxis", "yaxis"))]
    require_known(layout, ("annotations", "shapes", *axes), ON_A_SCREEN, "layout")


def _add_panels(
    figure: Figure, layout: Mapping[str, Any], panels: Sequence[Panel]
) -> dict[tuple[str, str], Axes]:
    """Return the axes of each panel, by plotly's names of both; one panel may have two on top."""
    rows = 1 + max(panel.row for panel in panels)
    columns = 1 + max(panel.column for panel in panels)
    grid = figure.add_gridspec(rows, columns)
    found = {}
    for panel in panels:
        axes = figure.add_subplot(grid[panel.row, panel.column])
        axes.set_title(panel.title)
        found[f"x{panel.number}", f"y{panel.number}"] = axes
    for name, axis in layout.items():
        if name.startswith("yaxis") and "overlaying" in axis:
            twin = found[axis["anchor"], axis["overlaying"]].twinx()
            twin.spines["right"].set_visible(True)
            twin.grid(visible=False)
            found[axis["anchor"], f"y{name.removeprefix('yaxis')}"] = twin
    return found


def _draw_shape(axes: Axes, shape: Mapping[str, Any], pen: Pen) -> None:
    """Draw a straight line that is no trace."""
    require_known(shape, ("type", "x0", "x1", "y0", "y1", "line"), (), "shape")
    line = shape["line"]
    require_known(line, ("color", "width"), (), "line")
    style = {"color": colour(line["color"]), "linewidth": line["width"] * pen.point}
    axes.plot([shape["x0"], shape["x1"]], [shape["y0"], shape["y1"]], zorder=1, **style)


def _set_axes(
    layout: Mapping[str, Any],
    data: Sequence[Mapping[str, Any]],
    shared: Mapping[str, str],
    axes: Mapping[tuple[str, str], Axes],
    first: Collection[str],
) -> Iterator[Divided]:
    """Set all axes, without a title that all of them share; yield those with own ticks.

    The vertical axes of panels `first` in their row name their categories.
    """
    for (x, y), one in axes.items():
        for key in (x, y):
            name, axis = key[0], layout[f"{key[0]}axis{key[1:]}"]
            if name == "x" and "overlaying" in layout[f"yaxis{y[1:]}"]:
                continue  # the axis of the panel below
            own = axis_title(axis)
            has_unit = "(%" in (own or shared[name])
            categories = _categories(data, key)
            if categories and key in first:
                axis = axis | {"showticklabels": True}
            ticks.set_axis(one, name, axis, "" if shared[name] else own, has_unit)
            if not axis.get("showticklabels", True):
                continue
            if found := ticks.possible(one, name, axis, has_unit, categories):
                yield Divided(getattr(one, f"{name}axis"), found, bool(categories))


def _categories(data: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return the names along an axis of categories, or nothing for one of numbers."""
    found: dict[str, None] = {}
    for trace in data:
        values = trace.get(key[0], []) if trace[f"{key[0]}axis"] == key else []
        if not isinstance(values, dict):
            found |= {one: None for one in values if isinstance(one, str)}
    return list(found)
