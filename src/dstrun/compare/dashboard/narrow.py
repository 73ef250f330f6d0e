"""Figures on a narrow page: panels below each other, the legend below all."""

from collections.abc import Mapping, Sequence
from typing import Any

from dstrun.compare.figures.panels import Figure

GAP = 120  # pixels between two panels at least: ticks, the axis' title, the panel's title
MANY, LOW = 4, 200  # panels above which they are lower, and how high they are then
LEGEND_LINE = 21  # pixels of height
SIGN, LETTER = 48, 7  # pixels of width in a legend
WIDTH = 360  # pixels that a legend has on the narrowest page
FONT, TITLE = 11, 12  # sizes of letters
LEFT, RIGHT, RIGHT_AXIS = 62, 12, 64  # pixels of margin
Domain = tuple[float, float]


def in_one_column(figure: Figure) -> Figure:
    """Return a figure with its panels below each other, and its legend below them."""
    layout = dict(figure["layout"])
    panels = [key[1:] for key in layout if key.startswith("xaxis") and "domain" in layout[key]]
    above, below = layout["margin"]["t"], layout["margin"]["b"]
    space = layout["height"] - above - below
    if _columns(layout, panels) > 1:
        old = [tuple(layout[f"y{panel}"]["domain"]) for panel in panels]
        tall, gap = space * (old[0][1] - old[0][0]), _gap(old, space, below)
        tall = min(tall, LOW) if len(panels) > MANY else tall
        space = len(panels) * tall + (len(panels) - 1) * gap
        _stack(layout, panels, tall / space, gap / space)
    layout["font"] = {"size": FONT}
    layout["annotations"] = [note | {"font": {"size": TITLE}} for note in layout["annotations"]]
    legend = _legend_height(figure["data"])
    layout["legend"] = {"orientation": "h", "x": 0, "xref": "container", "y": 0}
    layout["legend"] |= {"yref": "container", "yanchor": "bottom"}
    has_right = any(isinstance(one, dict) and one.get("side") == "right" for one in layout.values())
    sides = {"r": RIGHT_AXIS if has_right else RIGHT, "b": below + legend}
    left = layout["margin"]["l"]  # wider where an axis has names of layers
    layout["margin"] = layout["margin"] | sides | {"l": LEFT if left < 2 * LEFT else left}
    layout["height"] = round(space + above + below + legend)
    return figure | {"layout": layout}


def _columns(layout: Mapping[str, Any], panels: Sequence[str]) -> int:
    return len({tuple(layout[f"x{panel}"]["domain"]) for panel in panels})


def _gap(domains: Sequence[Domain], space: float, below: float) -> float:
    """Return the pixels between two rows of panels."""
    rows = sorted(set(domains), reverse=True)
    between = space * (rows[0][0] - rows[1][1]) if len(rows) > 1 else below + 40
    return max(GAP, between)


def _stack(layout: dict[str, Any], panels: Sequence[str], tall: float, gap: float) -> None:
    """Put the panels, and their titles, below each other; shares of the height are given."""
    places: dict[tuple[float, float], float] = {}
    for number, panel in enumerate(panels):
        x, y = layout[f"x{panel}"], layout[f"y{panel}"]
        top = max(0.0, 1 - number * (tall + gap))
        places[sum(x["domain"]) / 2, y["domain"][1]] = top
        layout[f"x{panel}"] = x | {"domain": [0, 1]}
        layout[f"y{panel}"] = y | {"domain": [max(0.0, top - tall), top]}
    notes = []
    for note in layout["annotations"]:
        place = places.get((note.get("x"), note.get("y")))
        notes.append(note if place is None else note | {"x": 0.5, "y": place})
    layout["annotations"] = notes


def _legend_height(data: Sequence[Mapping[str, Any]]) -> int:
    """Return the pixels of the legend's lines, by the lengths of its names."""
    names = [trace["name"] for trace in data if trace.get("showlegend", True)]
    if len(data) < 2 or not names:
        return 0
    lines, used = 1, 0.0
    for name in names:
        width = SIGN + LETTER * len(name)
        if used and used + width > WIDTH:
            lines, used = lines + 1, 0.0
        used += width
    return LEGEND_LINE * (1 + lines)
