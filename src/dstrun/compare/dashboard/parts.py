"""Parts of the dashboard's views: figures with title and downloads, tables, hints."""

from collections.abc import Collection, Sequence
from typing import Any

from dash import dcc, html

from dstrun.compare.dashboard.narrow import in_one_column
from dstrun.compare.figures.style import template
from dstrun.compare.figures.view import View

GAP = 2  # pixels between names in a legend, each a group of its own
LINE, AROUND = 21, 90  # pixels of height of a name in a legend, and above and below all
FORMATS = ("png", "svg")
CONFIG: dcc.Graph.Config = {
    "displaylogo": False,
    "showSendToCloud": False,
}  # nothing leaves the machine
Place = tuple[int, int]  # of a cell: line and column


def section(view: View, dark: bool, narrow: bool, drag: str) -> html.Section:
    """Return a figure with its title, caption and buttons to save it.

    `narrow`: in one column. `drag`: what dragging does, as plotly calls it.
    """
    figure = in_one_column(view.figure) if narrow else view.figure
    layout = figure["layout"] | {"template": template(dark), "uirevision": view.title}
    layout["dragmode"] = drag
    if not narrow:
        named = sum(trace.get("showlegend", True) for trace in figure["data"])
        layout["height"] = max(layout["height"], AROUND + LINE * named)
    layout["legend"] = {"tracegroupgap": GAP} | layout.get("legend", {})
    graph = dcc.Graph(
        id={"figure": view.title},
        figure=figure | {"layout": layout},
        config=CONFIG,
        responsive=True,
        style={"height": f"{layout['height']}px"},
    )
    buttons = [save_button(form, f"Save {view.title} as {form.upper()}") for form in FORMATS]
    title = html.Div([html.H2(view.title), html.Span(buttons)], className="title")
    return html.Section([title, html.P(view.caption), graph], key=view.title)


def save_button(form: str, meaning: str) -> html.Button:
    """Return a button that saves the figure of its section, or the table of runs, in a format."""
    marks: dict[str, Any] = {"data-save": form, "aria-label": meaning}
    return html.Button(form.upper(), title=meaning, **marks)


def table_section(
    title: str,
    caption: str,
    lines: Sequence[Sequence[str]],
    bold: Collection[Place] = (),
    has_words: bool = False,
) -> html.Section:
    """Return a table with its title and caption; the first line is the header.

    It scrolls in itself where the page is narrow. `has_words`: long cells have several lines.
    """
    head, *rest = lines
    body = []
    for row, cells in enumerate(rest, start=1):
        kinds = [html.Th if (row, column) in bold else html.Td for column in range(len(cells))]
        body.append(html.Tr([kind(cell) for kind, cell in zip(kinds, cells, strict=True)]))
    shown = html.Table([html.Thead(html.Tr(list(map(html.Th, head)))), html.Tbody(body)])
    scrolled = html.Div(shown, className="wide words" if has_words else "wide", tabIndex=0)
    return html.Section([html.H2(title), html.P(caption), scrolled], key=title)


def hint(first: str, then: str) -> html.Div:
    """Return a message and what to do about it."""
    return html.Div([html.P(html.Strong(first)), html.P(then)], className="hint")
