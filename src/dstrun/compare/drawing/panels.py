"""Panels of a figure, read from plotly's layout and put into as many columns as have room."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dstrun.compare.drawing.notation import CannotDraw, require_known, words

ANNOTATION = ("x", "y", "text", "xref", "yref")
STYLE_OF_ANNOTATION = ("xanchor", "yanchor", "showarrow", "font")


class Panel(NamedTuple):
    """A panel: the number of its axes in plotly's layout ('' for the first), title and place."""

    number: str
    title: str
    row: int
    column: int


def read_panels(layout: Mapping[str, Any]) -> list[Panel]:
    """Return the panels of a layout; raise CannotDraw for annotations other than their titles."""
    numbers = [key.removeprefix("xaxis") for key in layout if key.startswith("xaxis")]
    across, down = {}, {}
    for number in numbers:
        across[number] = layout[f"xaxis{number}"].get("domain", [0, 1])
        down[number] = layout[f"yaxis{number}"].get("domain", [0, 1])
    lefts = sorted({domain[0] for domain in across.values()})
    bottoms = sorted({domain[0] for domain in down.values()}, reverse=True)
    titles = {}
    for note in layout.get("annotations", ()):
        require_known(note, ANNOTATION, STYLE_OF_ANNOTATION, "annotation")
        found = [
            number
            for number in numbers
            if across[number][0] < note["x"] < across[number][1] and down[number][1] == note["y"]
        ]
        if len(found) != 1 or note["xref"] != "paper":
            raise CannotDraw(f"annotation: no way to draw {note['text']!r}")
        titles[found[0]] = words(note["text"])
    return [
        Panel(
            number,
            titles.get(number, ""),
            bottoms.index(down[number][0]),
            lefts.index(across[number][0]),
        )
        for number in numbers
    ]


def arranged(panels: Sequence[Panel], most: int) -> list[Panel]:
    """Return the panels in `most` columns at most.

    Where titles are above the first row alone, panels below each other stay so, and further columns
    continue below; other panels follow each other like words.
    """
    columns = 1 + max(panel.column for panel in panels)
    rows = 1 + max(panel.row for panel in panels)
    if columns <= most:
        return list(panels)
    titled = {panel.row for panel in panels if panel.title}
    if rows > 1 and titled == {0}:
        moved = []
        for panel in panels:
            block, column = divmod(panel.column, most)
            moved.append(panel._replace(row=block * rows + panel.row, column=column))
        return moved
    moved = []
    for place, panel in enumerate(panels):
        row, column = divmod(place, most)
        moved.append(panel._replace(row=row, column=column))
    return moved


def shared_title(layout: Mapping[str, Any], panels: Sequence[Panel], name: str) -> str:
    """Return the title that all titled axes called 'x' or 'y' of several panels have, else ''."""
    titles = [axis_title(layout[f"{name}axis{panel.number}"]) for panel in panels]
    given = {title for title in titles if title}
    return given.pop() if len(panels) > 1 and len(given) == 1 else ""


def axis_title(axis: Mapping[str, Any]) -> str:
    """Return the title of an axis of plotly's layout as plain text, or ''."""
    title = axis.get("title", {})
    require_known(title, ("text",), (), "title")
    return words(title.get("text") or "")
