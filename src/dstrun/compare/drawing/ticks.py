"""Axes of a panel: scale, range, and the ticks whose labels have room beside each other."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from dstrun.compare.drawing.notation import (
    CannotDraw,
    numbers,
    power_text,
    require_known,
    tick_text,
    words,
)

DRAWN = (
    *("title", "type", "range", "rangemode", "tickvals", "ticktext", "tickformat"),
    *("exponentformat", "autorange", "overlaying", "side", "visible", "showticklabels"),
    "scaleanchor",
)
FOR_A_SCREEN = (
    *("domain", "anchor", "tickmode", "automargin", "showgrid", "zeroline", "tickangle"),
    "constrain",
)
ROOM = 0.04  # of the range, around lines that have no range of their own
GAP, SMALL_GAP = 0.5, 0.15  # heights of a label between two beside and above each other


class Ticks(NamedTuple):
    """Ticks that an axis may have, with their labels; those of a low rank come first."""

    places: Sequence[float]
    labels: Sequence[str]
    ranks: Sequence[int]


def set_axis(axes: Axes, name: str, given: Mapping[str, Any], title: str, has_unit: bool) -> None:
    """Set scale, range, title and format of the axis called 'x' or 'y' from plotly's layout.

    `has_unit`: a title says that the figures are percent. Ticks are chosen later, by `fit`.
    """
    require_known(given, DRAWN, FOR_A_SCREEN, f"{name}axis")
    axis: Axis = getattr(axes, f"{name}axis")
    kind = given.get("type", "linear")
    if kind not in ("linear", "log", "category"):
        raise CannotDraw(f"{name}axis.type: no way to draw {kind}")
    if kind == "log" and np.isfinite(getattr(axes.dataLim, f"minpos{name}")):
        getattr(axes, f"set_{name}scale")("log")
    else:
        axis.set_major_formatter(ScalarFormatter(useOffset=False))
        first, last = getattr(axes.dataLim, f"interval{name}")
        least = 2 if last - first >= 2 else 1  # whole numbers, of which a short axis has one
        axis.set_major_locator(
            MaxNLocator("auto", steps=[1, 2, 5, 10], integer=name == "x", min_n_ticks=least)
        )
    _set_range(axes, name, given, kind)
    axis.set_label_text(title)
    if form := given.get("tickformat"):
        formatter = FuncFormatter(lambda value, _: tick_text(value, form, has_unit))
        axis.set_major_formatter(formatter)
    if "scaleanchor" in given:
        axes.set_aspect("equal")
    if not given.get("showticklabels", True):
        axis.set_tick_params(labelbottom=False, labelleft=False, length=0)
    axis.set_visible(given.get("visible", True))
    axes.spines["left" if name == "y" else "bottom"].set_visible(
        given.get("visible", True) and given.get("side") != "top"
    )
    if given.get("side") == "top":
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(axis="x", length=0)


def _set_range(axes: Axes, name: str, given: Mapping[str, Any], kind: str) -> None:
    """Set the range that is given, or one with some room around what is drawn."""
    set_limits: Callable[..., Any] = getattr(axes, f"set_{name}lim")
    if kind == "category":
        places = getattr(axes.dataLim, f"interval{name}")
        set_limits(min(places[0], -0.5), max(places[1], 0.5))
    else:
        getattr(axes, f"set_{name}margin")(ROOM)
        first, last = getattr(axes.dataLim, f"interval{name}")
        if name == "x" and first == last and kind == "linear":  # a single epoch
            set_limits(first - 0.5, last + 0.5)
    if "range" in given:
        low, high = given["range"]
        set_limits(*((10**low, 10**high) if kind == "log" else (low, high)))
    if given.get("rangemode") == "tozero" and kind != "log":
        set_limits(**{"left" if name == "x" else "bottom": 0})
    if given.get("autorange") == "reversed":
        getattr(axes, f"invert_{name}axis")()


def possible(
    axes: Axes, name: str, given: Mapping[str, Any], has_unit: bool, categories: Sequence[str]
) -> Ticks | None:
    """Return the ticks of an axis that has its own: given ones, categories or powers of ten.

    None for an axis that matplotlib can divide.
    """
    low, high = sorted(getattr(axes, f"get_{name}lim")())
    if categories:
        labels = [words(one) for one in categories]
        return Ticks(range(len(labels)), labels, [0] * len(labels))
    form = given.get("tickformat")
    if given.get("tickvals") is not None:
        places = [float(one) for one in numbers(given["tickvals"])]
    elif given.get("type") == "log" and low > 0:  # else nothing is drawn
        exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        places = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    else:
        return None
    if "ticktext" in given:
        labels = [words(one) for one in given["ticktext"]]
    elif form:
        labels = [tick_text(one, form, has_unit) for one in places]
    else:
        labels = [power_text(one) for one in places]
    ranks = [_rank(one) for one in places] if "ticktext" not in given else [0] * len(places)
    seen = [
        one
        for one in zip(places, labels, ranks, strict=True)
        if low * 0.999 <= one[0] <= high * 1.001
    ]
    return Ticks(*zip(*seen, strict=True)) if seen else None


def _rank(value: float) -> int:
    """Return 0 for a power of ten, 1 for five of them, 2 for others."""
    digit = f"{value:.0e}"[0]
    return {"1": 0, "5": 1}.get(digit, 2)


def fit(axis: Axis, ticks: Ticks, is_category: bool) -> None:
    """Label the ticks that have room, those of a low rank first; the others stay unlabelled.

    Labels of categories along the horizontal axis are turned where not all of them have room.
    """
    places = axis.get_transform().transform(np.asarray(ticks.places, dtype=float))
    is_across = isinstance(axis, XAxis)
    box = axis.axes.get_window_extent()
    low, high = axis.get_transform().transform(axis.get_view_interval())
    pixels = (places - low) / (high - low) * (box.width if is_across else box.height)
    widths, heights = _sizes(axis, ticks.labels)
    sizes = widths if is_across else heights
    gap = (GAP if is_across else SMALL_GAP) * max(heights)
    kept = _with_room(pixels, sizes, ticks.ranks, gap)
    if is_across and is_category and len(kept) < len(sizes):
        kept = _with_room(pixels, heights, ticks.ranks, 0)
        axis.set_tick_params(rotation=90)
    if is_across and axis.get_label_position() == "top":
        kept = list(range(len(sizes)))
        axis.set_tick_params(rotation=30)
    axis.set_major_locator(FixedLocator([ticks.places[one] for one in kept]))
    axis.set_ticks([ticks.places[one] for one in kept], [ticks.labels[one] for one in kept])
    others = [] if is_category else [one for one in range(len(ticks.places)) if one not in kept]
    axis.set_minor_locator(FixedLocator([ticks.places[one] for one in others]))
    axis.set_minor_formatter(NullFormatter())


def _sizes(axis: Axis, labels: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return widths and heights of labels in pixels."""
    figure = axis.axes.figure
    size = axis.get_ticklabels()[0].get_fontsize() if axis.get_ticklabels() else None
    boxes = []
    for label in labels:
        text = figure.text(0, 0, label, fontsize=size)
        boxes.append(text.get_window_extent())
        text.remove()
    return [box.width for box in boxes], [box.height for box in boxes]


def _with_room(
    pixels: Sequence[float], sizes: Sequence[float], ranks: Sequence[int], gap: float
) -> list[int]:
    """Return the numbers of the labels that have room, in order."""
    kept: list[int] = []
    for rank in sorted(set(ranks)):
        mine = [one for one in range(len(ranks)) if ranks[one] == rank]
        for step in range(1, len(mine) + 1):  # every second, third, … so that gaps are equal
            tried = sorted([*kept, *mine[::step]])
            if _are_apart(tried, pixels, sizes, gap):
                kept = tried
                break
    return kept


def _are_apart(
    tried: Sequence[int], pixels: Sequence[float], sizes: Sequence[float], gap: float
) -> bool:
    """Return whether no two neighbours of the labels touch."""
    for one, other in pairwise(tried):
        if abs(pixels[other] - pixels[one]) < (sizes[one] + sizes[other]) / 2 + gap:
            return False
    return True
