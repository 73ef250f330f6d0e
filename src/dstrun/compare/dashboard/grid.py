"""The dashboard's table of runs: its columns, rows and behaviour."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dash_ag_grid
import pandas as pd

from dstrun.compare.headlines import examples_of, headlines_of
from dstrun.compare.labels import distinguishing_options, is_partly_masked, varying_options
from dstrun.runs.labels import column_label, heading

NAMES = ("group", "model.name", "data.name", "reg.method")
PERCENT = {"function": "params.value == null ? '' : d3.format('.2%')(params.value)"}
FOUR_DIGITS = {"function": "params.value == null ? '' : d3.format('.4f')(params.value)"}
MINUTES = {"function": "params.value == null ? '' : d3.format('.1f')(params.value / 60) + ' min'"}
NUMBER = "params.value == null ? '' : dstrun.number(params.value, params.colDef.field)"
RIGHT = {"type": "rightAligned"}
LARGE_FIRST: dict[str, Any] = {
    **RIGHT,
    "valueFormatter": PERCENT,
    "minWidth": 115,
    "sortingOrder": ["desc", "asc", None],
}
SMALL_FIRST = LARGE_FIRST | {"sortingOrder": ["asc", "desc", None]}
FITTING = 12  # columns that share the width of the page
ROW, ROWS = 32, (4, 10)  # height of a row in pixels, rows at least and at most
OPTIONS = {
    "rowSelection": {
        "mode": "multiRow",
        "enableClickSelection": False,
        "selectAll": "filtered",
        "checkboxes": True,
    },
    "selectionColumnDef": {"width": 50, "pinned": "left"},
    "theme": {"function": "themeQuartz"},
    "animateRows": False,
    "rowHeight": ROW,
    "headerHeight": 36,
    "ensureDomOrder": True,
    "tabToNextCell": {"function": "false"},  # Tab leaves the table, arrows move in it
}


def make_grid(runs: pd.DataFrame, state: Mapping[str, Any]) -> dash_ag_grid.AgGrid:
    """Return the table, with the ticked runs and the order of an address's state."""
    definitions = columns(runs)
    _set_order(definitions, state["sort"])
    ticked = [name for name in state["runs"] if isinstance(name, str)]
    height = min(max(len(runs), ROWS[0]), ROWS[1]) * ROW + 54
    return dash_ag_grid.AgGrid(
        id="grid",
        rowData=rows(runs, definitions),
        columnDefs=definitions,
        getRowId="params.data.run",
        defaultColDef={"sortable": True, "resizable": True, "minWidth": 85},
        columnSize="responsiveSizeToFit" if len(definitions) <= FITTING else "autoSize",
        selectedRows={"ids": ticked} if ticked else [],
        dashGridOptions=OPTIONS,
        style={"height": f"{height}px"},
    )


def _set_order(definitions: Sequence[dict[str, Any]], sort: Mapping[str, str]) -> None:
    """Set the initial order from {column: 'asc' or 'desc'}; others are ignored."""
    by_field = {one["field"]: one for one in definitions}
    for number, (key, direction) in enumerate(sort.items()):
        if key in by_field and direction in ("asc", "desc"):
            by_field[key] |= {"initialSort": direction, "initialSortIndex": number}


def columns(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the columns: state, options that distinguish runs, figures, name, other options."""
    keys = [key for key in NAMES if runs[key].nunique() > 1]
    if runs["reg.alpha"].notna().any():
        keys.append("reg.alpha")
    keys = list(dict.fromkeys([*keys, *distinguishing_options(runs)]))
    rest = [key for key in varying_options(runs) if key not in keys]
    defined: list[dict[str, Any]] = [
        {"field": "state", "minWidth": 110},
        *(_option(key, runs) for key in keys),
        *_figures(runs),
        {"field": "run", "cellRenderer": "RunLink", "minWidth": 260},
    ]
    defined += [_option(key, runs) for key in rest]
    for one in defined:  # a dot in a field would mean an object in an object
        getter = {"function": f"params.data[{json.dumps(one['field'])}]"}
        one |= {"colId": one["field"], "valueGetter": getter}
    return defined


def _figures(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the columns of figures; two densities where some weights have no mask."""
    yield {"field": "epoch", **RIGHT}
    for figure in headlines_of(runs):
        order = SMALL_FIRST if figure.is_lower_better else LARGE_FIRST
        form = {} if figure.is_share else {"valueFormatter": FOUR_DIGITS}
        yield {"field": figure.column(), "headerName": figure.title, **order, **form}
    if is_partly_masked(runs).any():
        yield {"field": "density", "headerName": "masked layers", **SMALL_FIRST}
        yield {"field": "density_model", "headerName": "whole model", **SMALL_FIRST}
    else:
        yield {"field": "density", "headerName": "remaining", **SMALL_FIRST}
    yield {"field": "flops_fraction", "headerName": "multiply-adds", **SMALL_FIRST}
    yield {"field": "total_seconds", "headerName": "time", "valueFormatter": MINUTES, **RIGHT}


def _option(key: str, runs: pd.DataFrame) -> dict[str, Any]:
    """Return the column of an option."""
    column: dict[str, Any] = {"field": key, "headerName": heading(key, examples_of(runs))}
    if column["headerName"] != column_label(key, examples_of(runs)):
        column["minWidth"] = 125
    if pd.api.types.is_numeric_dtype(runs[key]):
        column |= {"type": "rightAligned", "valueFormatter": {"function": NUMBER}}
    return column


def fields(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields of columns, the names of the table's own."""
    return [column["field"] for column in columns]


def rows(runs: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per run with the columns' fields; None for a missing value."""
    table = runs[fields(columns)].astype(object)
    return table.where(table.notna(), None).to_dict("records")
