"""What stands on the dashboard's page: the table of runs, what chooses a view, and the address that
says which.

Functions from tables to Dash components; no callback and no server. Knows compare, for the words.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import dash_ag_grid
import pandas as pd
from dash import ALL, Input, Output, State, dcc, html

from dstrun.compare import aggregate

VIEWS = {
    "overview": "Overview",
    "layers": "Layers",
    "curves": "Curves",
    "run": "One run",
    "diff": "Two runs",
}
THEMES = {"auto": "as the system", "light": "light", "dark": "dark"}
IF_NONE = {
    "run": "the first ticked run, or the table's first",
    "one": "the first ticked run",
    "other": "the second ticked run",
}
EVERY = 2000  # milliseconds between two looks
PERCENT = {"function": "params.value == null ? '' : d3.format('.2%')(params.value)"}

IN_THE_BROWSER = (  # functions in assets/dashboard.js
    (
        "chosen",
        Output("chosen", "data"),
        [Input("grid", "selectedRows"), Input("grid", "virtualRowData"), State("chosen", "data")],
    ),
    ("theme", Output("dark", "data"), [Input("theme", "value")]),
    (
        "open_run",
        [Output("view", "value"), Output("run", "value")],
        [
            Input("grid", "cellRendererData"),
            Input("grid", "cellDoubleClicked"),
            Input({"figure": ALL}, "clickData"),
        ],
    ),
    (
        "address",
        Output("said", "data"),
        [
            Input("view", "value"),
            Input("filter", "value"),
            Input("grid", "selectedRows"),
            Input("grid", "columnState"),
            Input("run", "value"),
            Input("one", "value"),
            Input("other", "value"),
            Input("theme", "value"),
        ],
    ),
)


def frame() -> html.Div:
    """What stays while views come and go."""
    return html.Div([dcc.Location(id="address", refresh=False), html.Main(id="page")])


def read_address(search: str) -> dict[str, Any]:
    """The state of a view from an address's query; what cannot be used is left out."""
    given = dict(parse_qsl(search.removeprefix("?")))
    state: dict[str, Any] = {key: given.get(key, "") for key in ("filter", "run", "one", "other")}
    state["view"] = given.get("view") if given.get("view") in VIEWS else "overview"
    state["theme"] = given.get("theme") if given.get("theme") in THEMES else "auto"
    for key, kind, none in (("runs", list, []), ("sort", dict, {})):
        try:
            value = json.loads(given.get(key, "null"))
        except (ValueError, RecursionError):
            value = None
        state[key] = value if isinstance(value, kind) else none
    return state


def page(runs: pd.DataFrame, state: dict[str, Any]) -> list:
    """The page as an address asks for it."""
    known = options(runs)
    names = list(runs.index)
    return [
        dcc.Interval("clock", EVERY),
        *(dcc.Store(id=name) for name in ("version", "chosen", "drawn", "dark", "said")),
        html.Header(
            [
                html.H1("dstrun"),
                html.Span(id="counts"),
                html.Label(
                    ["theme ", dcc.RadioItems(THEMES, state["theme"], id="theme", inline=True)]
                ),
            ]
        ),
        html.Div(
            [
                html.Label(
                    [
                        "show runs with ",
                        dcc.Input(
                            id="filter",
                            value=state["filter"],
                            debounce=0.4,
                            type="text",
                            spellCheck=False,
                            placeholder="alpha>1e-6 density<5% state=finished",
                        ),
                    ]
                ),
                html.Span(id="message", role="alert"),
            ],
            className="filter",
        ),
        _grid(runs, state),
        dcc.RadioItems(VIEWS, state["view"], id="view", inline=True, className="views"),
        html.Div(
            [
                html.Div(
                    html.Label(
                        [
                            f"{key} ",
                            dcc.Dropdown(
                                known, _known(state[key], names), id=key, placeholder=none
                            ),
                        ]
                    ),
                    className="for-run" if key == "run" else "for-diff",
                )
                for key, none in IF_NONE.items()
            ],
            id="pickers",
        ),
        html.Div([html.Div(id="first"), html.Div(id="rest")], id="content"),
    ]


def _known(name: str, names: list[str]) -> str | None:
    return name if name in names else None


def options(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Runs to choose from."""
    return [
        {"label": f"{label} · {name}", "value": name}
        for name, label in zip(runs.index, runs["label"], strict=True)
    ]


def _grid(runs: pd.DataFrame, state: dict[str, Any]) -> dash_ag_grid.AgGrid:
    definitions = columns(runs)
    for number, (key, direction) in enumerate(state["sort"].items()):
        for one in definitions:
            if one["field"] == key and direction in ("asc", "desc"):
                one |= {"initialSort": direction, "initialSortIndex": number}
    ticked = [name for name in state["runs"] if isinstance(name, str)]
    return dash_ag_grid.AgGrid(
        id="grid",
        rowData=rows(runs, definitions),
        columnDefs=definitions,
        getRowId="params.data.run",
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "minWidth": 85,
        },
        columnSize="responsiveSizeToFit" if len(definitions) <= 12 else "autoSize",
        selectedRows={"ids": ticked} if ticked else [],
        dashGridOptions={
            "rowSelection": {
                "mode": "multiRow",
                "enableClickSelection": False,
                "selectAll": "filtered",
                "checkboxes": True,
            },
            "selectionColumnDef": {"width": 50, "pinned": "left"},
            "theme": {"function": "themeQuartz"},
            "animateRows": False,
            "rowHeight": 32,
            "headerHeight": 36,
            "ensureDomOrder": True,
            "tabToNextCell": {"function": "false"},  # Tab leaves the table; arrows go about in it
        },
        style={"height": f"{min(max(len(runs), 4), 10) * 32 + 54}px"},
    )


def columns(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The table's columns: how a run stands, what tells it from others, its figures, its name, what
    else differs."""
    keys = [
        key for key in ("group", "model.name", "data.name", "reg.method") if runs[key].nunique() > 1
    ]
    keys += ["reg.alpha"] if runs["reg.alpha"].notna().any() else []
    keys = list(dict.fromkeys([*keys, *aggregate.telling(runs)]))
    rest = [key for key in aggregate.differing(runs) if key not in keys]
    right = {"type": "rightAligned"}
    percent = {
        **right,
        "valueFormatter": PERCENT,
        "minWidth": 115,
        "sortingOrder": ["desc", "asc", None],
    }
    small = {**percent, "sortingOrder": ["asc", "desc", None]}
    partly = aggregate.partly_masked(runs).any()
    densities = (
        {"density": "masked layers", "density_model": "whole model"}
        if partly
        else {"density": "remaining"}
    )
    minutes = {
        "function": "params.value == null ? '' : d3.format('.1f')(params.value / 60) + ' min'"
    }
    defined: list[dict[str, Any]] = [
        {"field": "state", "minWidth": 110},
        *(_setting(key, runs[key]) for key in keys),
        {"field": "epoch", **right},
        {"field": "test_accuracy", "headerName": "accuracy", **percent},
        *({"field": key, "headerName": word, **small} for key, word in densities.items()),
        {"field": "flops_fraction", "headerName": "multiply-adds", **small},
        {"field": "total_seconds", "headerName": "time", "valueFormatter": minutes, **right},
        {"field": "run", "cellRenderer": "RunLink", "minWidth": 260},
        *(_setting(key, runs[key]) for key in rest),
    ]
    for one in defined:  # a dot in a field would mean an object in an object
        one |= {
            "colId": one["field"],
            "valueGetter": {"function": f"params.data[{json.dumps(one['field'])}]"},
        }
    return defined


def _setting(key: str, cells: pd.Series) -> dict[str, Any]:
    shown: dict[str, Any] = {"field": key, "headerName": aggregate.shown(key)}
    if pd.api.types.is_numeric_dtype(cells):
        number = "params.value == null ? '' : dstrun.number(params.value, params.colDef.field)"
        shown |= {"type": "rightAligned", "valueFormatter": {"function": number}}
    return shown


def rows(runs: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a run, with what the columns show; null for what it does not have."""
    keys = [one["field"] for one in columns]
    table = runs[keys].astype(object)
    return table.where(table.notna(), None).to_dict("records")
