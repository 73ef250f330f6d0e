"""The dashboard's table of runs: its columns, rows and behaviour."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dash_ag_grid
import pandas as pd

from dstrun.compare.figures.style import look
from dstrun.compare.filters import SHORT_NAMES, column
from dstrun.compare.headlines import examples_of, headlines_of
from dstrun.compare.labels import (
    DENSITIES,
    distinguishing_options,
    is_partly_masked,
    varying_options,
)
from dstrun.runs.labels import heading
from dstrun.system.errors import InputError

NAMES = ("group", "model.name", "data.name", "reg.method")
PERCENT = {"function": "params.value == null ? '' : d3.format('.2%')(params.value)"}
FOUR_DIGITS = {"function": "params.value == null ? '' : d3.format('.4f')(params.value)"}
TIME = {"function": "params.value == null ? '' : dstrun.time(params.value)"}
NUMBER = "params.value == null ? '' : dstrun.number(params.value, params.colDef.field)"
RIGHT: dict[str, Any] = {"type": "rightAligned"}
LARGE_FIRST: dict[str, Any] = {
    **RIGHT,
    "valueFormatter": PERCENT,
    "sortingOrder": ["desc", "asc", None],
    "context": {"comparison": ">=", "is_share": True},
}
SMALL_FIRST = LARGE_FIRST | {
    "sortingOrder": ["asc", "desc", None],
    "context": {"comparison": "<=", "is_share": True},
}
SIGNS = {  # of plotly's symbols
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "cross": "✚",
    "star": "★",
    "diamond": "◆",
    "x": "✖",
    "triangle-down": "▼",
    "pentagon": "⬟",
    "hexagon": "⬢",
    "triangle-left": "◀",
    "triangle-right": "▶",
}
MARK = "mark"  # field of a row: the colour and the sign of its run in the figures
DEFAULT_COLUMN = {
    "sortable": True,
    "resizable": True,
    "minWidth": 60,
    "useValueFormatterForExport": False,  # CSV has fractions and seconds
    "suppressKeyboardEvent": {"function": "dstrun.key(params)"},
}
LETTER = 7  # pixels of width of a letter, in the mean
ROW, ROWS = 32, (4, 10)  # height of a row in pixels, rows at least and at most
OPTIONS = {
    "rowSelection": {
        "mode": "multiRow",
        "enableClickSelection": False,
        "selectAll": "filtered",
        "checkboxes": True,
    },
    "selectionColumnDef": {"width": 50, "pinned": "left"},
    "theme": {"function": "themeQuartz.withParams({cellHorizontalPadding: 11})"},
    "animateRows": False,
    "rowHeight": ROW,
    "headerHeight": 36,
    "ensureDomOrder": True,
    "suppressColumnVirtualisation": True,  # columns out of sight have a width, too
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
        defaultColDef=DEFAULT_COLUMN,
        columnSize="autoSize",
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
        {"field": "state", "headerName": "state"},
        *(_option(key, runs) for key in keys),
        *_figures(runs),
        {"field": "run", "headerName": "run", "cellRenderer": "RunLink", **_width(runs)},
    ]
    defined += [_option(key, runs) for key in rest]
    marked = next((key for key in keys if key not in NAMES[:3]), "state")
    next(one for one in defined if one["field"] == marked)["cellRenderer"] = "Marked"
    for one in defined:  # a dot in a field would mean an object in an object
        getter = {"function": f"params.data[{json.dumps(one['field'])}]"}
        one |= {"colId": one["field"], "valueGetter": getter}
        one["context"] = one.get("context", {}) | {"word": _word(one["field"], runs)}
    return defined


def _width(runs: pd.DataFrame) -> dict[str, float]:
    """Return the least width of the names of runs, in pixels."""
    return {"minWidth": 40 + LETTER * max(map(len, runs.index), default=20)}


def _word(key: str, runs: pd.DataFrame) -> str:
    """Return the shortest word for a column in conditions, as people type it."""
    short = [word for word, to in SHORT_NAMES.items() if to == key and word.isascii()]
    for word in (*short, key.rpartition(".")[2]):
        try:
            if column(word, runs) == key:
                return word
        except InputError:  # two options end alike
            continue
    return key


def _figures(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the columns of figures; two densities where some weights have no mask."""
    yield {"field": "epoch", "headerName": "epoch", **RIGHT}
    for figure in headlines_of(runs):
        order = SMALL_FIRST if figure.is_lower_better else LARGE_FIRST
        defined = {"field": figure.column(), "headerName": figure.title, **order}
        if not figure.is_share:
            context = order["context"] | {"is_share": False}
            defined |= {"valueFormatter": FOUR_DIGITS, "context": context}
        yield defined
    if is_partly_masked(runs).any():
        yield {"field": "density", "headerName": "masked layers", **SMALL_FIRST}
        yield {"field": "density_model", "headerName": "whole model", **SMALL_FIRST}
    else:
        yield {"field": "density", "headerName": "remaining", **SMALL_FIRST}
    yield {"field": "flops_fraction", "headerName": "multiply-adds", **SMALL_FIRST}
    time = {"field": "total_seconds", "headerName": "time", "valueFormatter": TIME, **RIGHT}
    time["minWidth"] = 11 * LETTER + 30  # '59 min 59 s', be it out of sight at first
    yield time | {"context": {"comparison": "<="}}


def _option(key: str, runs: pd.DataFrame) -> dict[str, Any]:
    """Return the column of an option."""
    defined: dict[str, Any] = {"field": key, "headerName": heading(key, examples_of(runs))}
    if key in DENSITIES:
        defined |= RIGHT | {"valueFormatter": {"function": "dstrun.percent(params.value)"}}
    elif pd.api.types.is_numeric_dtype(runs[key]):
        defined |= {"type": "rightAligned", "valueFormatter": {"function": NUMBER}}
    return defined


def fields(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields of columns, the names of the table's own."""
    return [column["field"] for column in columns]


def rows(runs: pd.DataFrame, columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per run with the columns' fields and its mark; None for a missing value."""
    table = runs[fields(columns)].astype(object)
    found = table.where(table.notna(), None).to_dict("records")
    for row, hue, kind in zip(found, runs["hue"], runs["kind"], strict=True):
        chosen = look(hue, kind)
        row[MARK] = {"color": chosen["color"], "sign": SIGNS[chosen["symbol"]]}
    return found
