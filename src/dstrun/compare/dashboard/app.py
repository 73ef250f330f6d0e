"""The dashboard's application: runs as they are on the disk, and what on the page answers to what.

    the page's clock  →  a look at the folder  →  rows of the table  →  ticked runs  →  figures

What the page shows is in its address, so that a view can be shared or come back to. Names that come
in an address are looked up among the runs and never taken as paths. Knows compare, store, panes,
contents, report (for words) and errors."""

import logging
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, no_update
from dash.exceptions import PreventUpdate
from flask import Response, abort, request

from dstrun.compare import aggregate
from dstrun.compare.dashboard import layout, views
from dstrun.compare.report.report import title
from dstrun.compare.run_tables import Store
from dstrun.runs.labels import counted
from dstrun.system.errors import InputError, error_line

LOOK_EVERY = 1.0  # seconds, at the least, between looks at the folder
FIRST = {
    "overview": 2,
    "layers": 2,
    "curves": 2,
    "run": 3,
}  # parts of a view up to its first figure
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Watch:
    """The store as the page's callbacks share it: looked at afresh by whoever asks, once a second
    at most."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.store = Store(paths)
        self.lock = threading.RLock()
        self.version = self._begun = (
            time.time_ns() // 10**6
        )  # above that of an earlier server, which pages may know
        self._changed: dict[str, int] = {}
        self._looked = time.monotonic()
        self._take()

    def look(self) -> int:
        """Counts up when anything has changed on the disk."""
        with self.lock:
            if time.monotonic() - self._looked > LOOK_EVERY:
                touched = self.store.refresh()
                self._looked = time.monotonic()
                if touched:
                    self.version += 1
                    self._changed |= dict.fromkeys(touched, self.version)
                    self._take()
            return self.version

    def _take(self) -> None:
        self.runs = aggregate.labelled(self.store.runs)

    def changed_since(self, names: Sequence[str], version: int) -> bool:
        return any(self._changed.get(name, self._begun) > version for name in names)


def make_app(watch: Watch, where: str, host: str = "127.0.0.1") -> Dash:
    """The application over runs, which `where` names.

    Listening on this machine only, it answers to this machine's own names, so that no page from
    elsewhere can reach it under a name that leads here."""
    app = Dash(
        __name__,
        title=f"dstrun {where}",
        update_title="",
        serve_locally=True,
        eager_loading=True,
        suppress_callback_exceptions=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        compress=False,
    )
    app.layout = layout.frame()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    @app.server.before_request
    def only_by_its_own_name() -> None:
        name = (
            request.host.removesuffix(f":{request.host.rpartition(':')[2]}").strip("[]")
            or request.host
        )
        if host in LOOPBACK and not {name, request.host.strip("[]")} & set(LOOPBACK):
            abort(403)

    @app.server.after_request
    def with_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    _connect(app, watch, where)
    return app


def _connect(app: Dash, watch: Watch, where: str) -> None:
    """What answers to what."""

    @app.callback(Output("page", "children"), Input("address", "search"))
    def open_view(search: str | None) -> Any:
        with watch.lock:
            watch.look()
            return layout.page(watch.runs, layout.read_address(search or ""))

    @app.callback(
        Output("version", "data"), Input("clock", "n_intervals"), State("version", "data")
    )
    def tick(_: int, version: int | None) -> Any:
        now = watch.look()
        return no_update if now == version else now

    @app.callback(
        Output("grid", "rowData"),
        Output("grid", "columnDefs"),
        Output("counts", "children"),
        Output("message", "children"),
        Input("version", "data"),
        Input("filter", "value"),
        State("grid", "columnDefs"),
    )
    def fill(_: int, conditions: str | None, columns: list) -> Any:
        runs = watch.runs
        try:
            some, complaint = aggregate.where(runs, conditions or ""), ""
            if some.empty and len(runs):
                complaint = f"none of {counted(len(runs), 'run')} meets it"
        except InputError as error:
            some, complaint = runs, f"{error}; all runs are shown"
        wanted = layout.columns(runs)
        same = [one["field"] for one in wanted] == [one["field"] for one in columns or []]
        return (
            layout.rows(some, wanted),
            no_update if same else wanted,
            title(where, runs),
            complaint,
        )

    @app.callback(
        Output("run", "options"),
        Output("one", "options"),
        Output("other", "options"),
        Input("version", "data"),
        State("run", "options"),
    )
    def name(_: int, there: list) -> Any:
        options = layout.options(watch.runs)
        return (no_update,) * 3 if options == there else (options,) * 3

    def parts(what: dict) -> Iterator[Any]:
        """What a view shows, part by part; whatever a folder holds, the page stays."""
        try:
            if what["view"] in ("overview", "layers", "curves"):
                yield views.counted(*what["of"])
            yield from views.content(
                watch.store, watch.runs, what["view"], what["names"], what["dark"]
            )
        except Exception as error:
            traceback.print_exc()
            yield from views.trouble(error_line(error))

    @app.callback(
        Output("first", "children"),
        Output("rest", "children"),
        Output("drawn", "data"),
        Input("version", "data"),
        Input("view", "value"),
        Input("chosen", "data"),
        Input("run", "value"),
        Input("one", "value"),
        Input("other", "value"),
        Input("dark", "data"),
        State("drawn", "data"),
    )
    def draw(
        _: int,
        view: str,
        chosen: dict | None,
        run: str | None,
        one: str | None,
        other: str | None,
        dark: bool | None,
        drawn: dict | None,
    ) -> Any:
        """The view's first figure, which is on the screen while the rest is made."""
        if chosen is None or dark is None:  # the page is still being set up
            raise PreventUpdate
        with watch.lock:
            runs = watch.runs
            there = [name for name in chosen["shown"] if name in runs.index]
            ticked = [name for name in chosen["ticked"] if name in there]
            names = views.subjects(view, ticked or there, run, one, other)
            what = {
                "view": view,
                "names": names,
                "dark": dark,
                "of": [len(ticked), len(there), len(runs)],
            }
            if drawn and drawn["what"] == what and not watch.changed_since(names, drawn["version"]):
                raise PreventUpdate
            first = list(islice(parts(what), FIRST.get(view)))
            same_view = drawn and drawn["what"]["view"] == view
            return first, no_update if same_view else [], {"what": what, "version": watch.version}

    @app.callback(
        Output("rest", "children", allow_duplicate=True),
        Input("drawn", "data"),
        prevent_initial_call=True,
    )
    def draw_rest(drawn: dict | None) -> Any:
        if not drawn or drawn["what"]["view"] not in FIRST:
            raise PreventUpdate
        with watch.lock:
            return list(islice(parts(drawn["what"]), FIRST[drawn["what"]["view"]], None))

    for function, outputs, inputs in layout.IN_THE_BROWSER:
        app.clientside_callback(ClientsideFunction("dstrun", function), outputs, inputs)
