"""The dashboard's callbacks: what changes on the page when something else does.

the page's clock  →  the folders  →  rows of the table  →  ticked runs  →  figures
"""

import traceback
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from dstrun.compare.dashboard import grid, layout, views
from dstrun.compare.dashboard.groups import groups
from dstrun.compare.dashboard.watch import Watch
from dstrun.compare.filters import where as runs_where
from dstrun.compare.report.table import title
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError, error_line

FIRST = {
    "overview": 2,
    "layers": 2,
    "curves": 2,
    "run": 3,
    "groups": 3,
}  # parts up to a view's first figure
CLIENT_CALLBACKS = (  # functions in assets/dashboard.js
    (
        "chosen",
        Output("chosen", "data"),
        [Input("grid", "selectedRows"), Input("grid", "virtualRowData"), State("chosen", "data")],
    ),
    ("start_clock", Output("clock", "disabled"), [Input("chosen", "data")]),
    ("theme", Output("look", "data"), [Input("theme", "value")]),
    ("open_run", None, [Input("grid", "cellDoubleClicked"), Input({"figure": ALL}, "clickData")]),
    ("brush", None, [Input({"figure": ALL}, "selectedData")]),
    ("filter_by", None, [Input("grid", "cellClicked"), State("grid", "columnDefs")]),
    (
        "address",
        Output("unused", "data"),
        [
            Input("view", "value"),
            Input("filter", "value"),
            Input("grid", "selectedRows"),
            Input("grid", "columnState"),
            Input("theme", "value"),
            *(Input(key, "value") for key in layout.PICKERS),
        ],
    ),
)


def connect(app: Dash, watch: Watch, where: str) -> None:
    """Register all callbacks; `where` names the runs."""
    _connect_page(app, watch)
    _connect_table(app, watch, where)
    _connect_first_figure(app, watch)
    _connect_other_figures(app, watch)
    for function, outputs, inputs in CLIENT_CALLBACKS:
        called = ClientsideFunction("dstrun", function)
        app.clientside_callback(called, *([outputs] if outputs else []), inputs)


def _connect_page(app: Dash, watch: Watch) -> None:
    """Register the callbacks of the address and the clock."""

    @app.callback(Output("page", "children"), Input("address", "search"))
    def open_view(search: str | None) -> Any:
        with watch.lock:
            watch.refresh()
            state, names = layout.read_address(search or ""), watch.derived(groups)
            return layout.page(watch.runs, state, names, watch.version)

    @app.callback(
        Output("version", "data"), Input("clock", "n_intervals"), State("version", "data")
    )
    def update_version(_: int, version: int | None) -> Any:
        now = watch.refresh()
        return no_update if now == version else now


def _connect_table(app: Dash, watch: Watch, where: str) -> None:
    """Register the callbacks of the table and of the lists of runs to choose from."""

    @app.callback(
        Output("grid", "rowData"),
        Output("grid", "columnDefs"),
        Output("counts", "children"),
        Output("message", "children"),
        Input("version", "data"),
        Input("filter", "value"),
        State("grid", "columnDefs"),
    )
    def fill_table(_: int, conditions: str | None, columns: list | None) -> Any:
        runs = watch.runs
        some, message = _filter(runs, conditions or "")
        wanted = watch.derived(grid.columns)
        has_same_columns = grid.fields(wanted) == grid.fields(columns or [])
        definitions = no_update if has_same_columns else wanted
        is_new_page = ctx.triggered_id is None  # it was made with the rows of all runs
        rows = no_update if is_new_page and not conditions else grid.rows(some, wanted)
        return rows, definitions, title(where, runs), message

    @app.callback(
        *(Output(key, "options") for key in layout.PICKERS),
        Input("version", "data"),
        Input("drawn", "data"),  # 1,000 names take a second, which the first figure does not wait
        *(State(key, "options") for key in layout.PICKERS),
    )
    def fill_lists(_: int, drawn: dict | None, *before: list) -> Any:
        view = drawn["request"]["view"] if drawn else ""
        runs, names = watch.derived(layout.options), list(watch.derived(groups))
        found: list[Any] = []
        for (key, (of_view, *_rest)), old in zip(layout.PICKERS.items(), before, strict=True):
            wanted = names if key in layout.OF_GROUPS else runs
            found.append(wanted if of_view == view and wanted != old else no_update)
        return found


def _filter(runs: pd.DataFrame, conditions: str) -> tuple[pd.DataFrame, str]:
    """Return the runs that meet conditions, and a message if none does or the text is wrong."""
    try:
        some = runs_where(runs, conditions)
    except InputError as error:
        return runs, f"{error}; all runs are shown"
    if some.empty and len(runs):
        return some, f"none of {quantity(len(runs), 'run')} meets it"
    return some, ""


def _connect_first_figure(app: Dash, watch: Watch) -> None:
    """Register the callback that draws the first figure of a view, at once."""

    @app.callback(
        [Output("first", "children"), Output("rest", "children"), Output("drawn", "data")],
        inputs={
            "_": Input("version", "data"),
            "view": Input("view", "value"),
            "chosen": Input("chosen", "data"),
            "picked": {key: Input(key, "value") for key in layout.PICKERS},
            "look": Input("look", "data"),
        },
        state={key: State(key, "data") for key in ("drawn", "drag", "lost")},
    )
    def draw_first(
        _: int,
        view: str,
        chosen: dict | None,
        picked: dict[str, str | None],
        look: dict | None,
        drawn: dict | None,
        drag: str | None,
        lost: dict[str, list[str]],
    ) -> Any:
        if chosen is None or look is None:  # the page is still being set up
            raise PreventUpdate
        for key in ("run", "one", "other"):
            picked[key] = picked[key] or lost.get(key, [None])[0]
        with watch.lock:
            request = _request(watch.runs, view, chosen, picked, look)
            if drawn and _is_current(watch, request, drawn):
                raise PreventUpdate
            request["drag"] = drag or "zoom"
            first = list(islice(_parts(watch, request), FIRST.get(view)))
            is_same_view = drawn and drawn["request"]["view"] == view
            now = {"request": request, "version": watch.version}
            return first, no_update if is_same_view else [], now


def _connect_other_figures(app: Dash, watch: Watch) -> None:
    """Register the callback that draws the rest of a view, once its first figure is drawn."""

    @app.callback(
        Output("rest", "children", allow_duplicate=True),
        Input("drawn", "data"),
        prevent_initial_call=True,
    )
    def draw_rest(drawn: dict | None) -> Any:
        if not drawn or drawn["request"]["view"] not in FIRST:
            raise PreventUpdate
        request = drawn["request"]
        with watch.lock:
            return list(islice(_parts(watch, request), FIRST[request["view"]], None))


def _request(
    runs: pd.DataFrame,
    view: str,
    chosen: dict[str, list[str]],
    picked: dict[str, str | None],
    look: dict[str, bool],
) -> dict[str, Any]:
    """Return what is to be drawn, as JSON.

    That is the view, its runs and groups, the theme, whether the page is narrow, and the counts of
    ticked, filtered and all runs.
    """
    filtered = [name for name in chosen["shown"] if name in runs.index]
    ticked = [name for name in chosen["ticked"] if name in filtered]
    names = views.runs_in_view(view, ticked or filtered, picked)
    two = [picked[key] for key in layout.OF_GROUPS]
    counts = [len(ticked), len(filtered), len(runs)]
    return {"view": view, "names": names, "groups": two, **look, "counts": counts}


def _is_current(watch: Watch, request: dict[str, Any], drawn: dict[str, Any]) -> bool:
    """Return whether what is drawn is what is asked for, of runs that have not changed since."""
    is_same = request.items() <= drawn["request"].items()
    return is_same and not watch.has_changed_since(request["names"], drawn["version"])


def _parts(watch: Watch, request: dict[str, Any]) -> Iterator[Any]:
    """Yield the parts of a view; an error becomes a part, so that the page stays."""
    shown = views.Shown(**{key: value for key, value in request.items() if key != "counts"})
    try:
        if shown.view in ("overview", "layers", "curves", "groups"):
            yield views.subject(*request["counts"])
        yield from views.content(watch.source, shown, watch.derived(groups))
    except Exception as error:  # whatever a folder holds
        traceback.print_exc()
        yield views.failure(error_line(error))
