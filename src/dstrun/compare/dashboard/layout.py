"""The dashboard's page: its parts, what chooses a view, and the address that holds the state."""

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

import pandas as pd
from dash import dcc, html

from dstrun.compare.dashboard.grid import make_grid
from dstrun.compare.dashboard.parts import save_button

VIEWS = {
    "overview": "Overview",
    "layers": "Layers",
    "curves": "Curves",
    "run": "One run",
    "diff": "Two runs",
    "groups": "Two groups",
}
THEMES = {"auto": "as the system", "light": "light", "dark": "dark"}
PICKERS = {  # lists to choose from: the view they belong to, the label, words while none is chosen
    "run": ("run", "run", "the first ticked run, or the table's first"),
    "one": ("diff", "one", "the first ticked run"),
    "other": ("diff", "other", "the second ticked run"),
    "group": ("groups", "group", "the first method"),
    "against": ("groups", "minus", "the next method"),
}
OF_GROUPS = ("group", "against")
HINT = (
    "A click on a value shows only its runs, on a figure those as good or better; a second click "
    "undoes it. A double click opens the run. Keys in the table: F, Enter, and Space to tick."
)
STORES = (
    "version",
    "chosen",
    "drawn",
    "look",
    "drag",
    "lost",
    "unused",
)  # data that callbacks keep in the page
REFRESH_MILLISECONDS = 2000
FEW, LONG = 3, 80  # names in a message, and letters of each


def frame() -> html.Div:
    """Return the outer page, which stays when the view changes."""
    return html.Div([dcc.Location(id="address", refresh=False), html.Main(id="page")])


def read_address(search: str) -> dict[str, Any]:
    """Return the state of a page from the query of its address; what is not usable is ignored."""
    given = dict(parse_qsl(search.removeprefix("?")))
    state: dict[str, Any] = {key: given.get(key, "") for key in ("filter", *PICKERS)}
    state["view"] = given.get("view") if given.get("view") in VIEWS else "overview"
    state["theme"] = given.get("theme") if given.get("theme") in THEMES else "auto"
    runs, sort = _read_json(given.get("runs")), _read_json(given.get("sort"))
    state["runs"] = runs if isinstance(runs, list) else []
    state["sort"] = sort if isinstance(sort, dict) else {}
    return state


def _read_json(text: str | None) -> Any:
    """Return a JSON value; None for text that is none."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def page(
    runs: pd.DataFrame, state: dict[str, Any], groups: Collection[str] = (), version: int = 0
) -> list:
    """Return the page that an address's state asks for.

    `groups` are names of groups of runs, `version` is that of the runs. The clock begins once the
    table is set up: a tick of it would start that over.
    """
    lost = _lost(runs, state, groups)
    data: dict[str, Any] = {"lost": lost, "version": version}
    return [
        dcc.Interval("clock", REFRESH_MILLISECONDS, disabled=True),
        *(dcc.Store(id=name, data=data.get(name)) for name in STORES),
        _header(state["theme"]),
        _filter(state["filter"]),
        html.P(_missing(lost), id="missing", role="alert"),
        make_grid(runs, state),
        html.P([HINT, " ", save_button("csv", "Save the table as CSV")], className="hint-line"),
        dcc.RadioItems(VIEWS, state["view"], id="view", inline=True, className="views"),
        _pickers(runs, state, groups),
        html.Div([html.Div(id="first"), html.Div(id="rest")], id="content"),
    ]


def _header(theme: str) -> html.Header:
    """Return the line with counts of runs and the choice of a theme."""
    themes = dcc.RadioItems(THEMES, theme, id="theme", inline=True)
    return html.Header([html.H1("dstrun"), html.Span(id="counts"), html.Label(["theme ", themes])])


def _filter(conditions: str) -> html.Div:
    """Return the field for conditions, and the message beside it."""
    field = dcc.Input(
        id="filter",
        value=conditions,
        debounce=0.4,
        type="text",
        spellCheck=False,
        placeholder="alpha>1e-6 density<5% state=finished",
    )
    label = html.Label(["show runs with ", field])
    return html.Div([label, html.Span(id="message", role="alert")], className="filter")


def _lost(
    runs: pd.DataFrame, state: dict[str, Any], groups: Collection[str]
) -> dict[str, list[str]]:
    """Return the names in an address that no run or group has, by where they are."""
    named = {key: [state[key]] for key in PICKERS if state[key]}
    named["runs"] = [name for name in state["runs"] if isinstance(name, str)]
    found = {}
    for key, names in named.items():
        known = groups if key in OF_GROUPS else runs.index
        if unknown := [name for name in names if name not in known]:
            found[key] = unknown
    return found


def _missing(lost: dict[str, list[str]]) -> str:
    """Return a line about names in the address that are not there; '' if all are."""
    names = list(dict.fromkeys(name for some in lost.values() for name in some))
    if not names:
        return ""
    words = ", ".join(name if len(name) <= LONG else f"{name[:LONG]}…" for name in names[:FEW])
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"The address of this page names what is not here: {words}{more}."


def _pickers(runs: pd.DataFrame, state: dict[str, Any], groups: Collection[str]) -> html.Div:
    """Return the lists from which the views of one run, two runs and two groups choose.

    Each has what is chosen of it alone: 1,000 options take a second, and come with its view.
    """
    pickers = []
    for key, (view, label, placeholder) in PICKERS.items():
        known = groups if key in OF_GROUPS else runs.index
        name = state[key] if state[key] in known else None
        chosen = runs.loc[[name]] if name in runs.index else runs.head(0)
        listed = [name] if name and key in OF_GROUPS else options(chosen)
        dropdown = dcc.Dropdown(listed, name, id=key, placeholder=placeholder)
        pickers.append(html.Div(html.Label([f"{label} ", dropdown]), className=f"for-{view}"))
    return html.Div(pickers, id="pickers")


def options(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Return the runs to choose from, as a dropdown takes them."""
    names = zip(runs.index, runs["label"], strict=True)
    return [{"label": f"{label} · {name}", "value": name} for name, label in names]
