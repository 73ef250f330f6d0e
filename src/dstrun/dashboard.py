"""dstrun dashboard: a page on this machine over all runs of a folder, live while they train.

    store, looked at again by every tick of the page's clock  →  rows of a table  →  ticked runs  →  figures

What the page shows is in its address, so that a view can be shared or come back to. Names that come in an address are
looked up among the runs and never taken as paths; text of runs reaches the page as text. Knows compare, store,
panes, contents, report (for words) and errors.
"""

import logging
import socket
import threading
import time
import webbrowser
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate
from flask import Response, abort, request
from werkzeug.serving import WSGIRequestHandler, make_server

from dstrun import compare, contents, panes
from dstrun.errors import InputError
from dstrun.report import title
from dstrun.store import Store

LOOK_EVERY = 1.0  # seconds, at the least, between looks at the folder
PORTS = 50  # so many are tried, from the one that was asked for
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def dashboard(given: Namespace) -> None:
    """What `arguments.dashboard` asks for, until it is interrupted. InputError where there is nothing to listen on."""
    watch = Watch(given.paths)
    where = " ".join(map(str, given.paths))
    server_socket, port = _free(given.host, given.port)
    app = make_app(watch, where, given.host)
    server = make_server(
        given.host, port, app.server, threaded=True, request_handler=_Quiet, fd=server_socket.detach()
    )  # fmt: skip
    address = f"http://{f'[{given.host}]' if ':' in given.host else given.host}:{port}/"
    print(f"{address} shows {title(where, watch.runs)}; Ctrl-C ends it", flush=True)
    if given.host not in LOOPBACK:
        print("whoever reaches this host can read these runs' settings, figures and logs", flush=True)
    if given.open:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


def _free(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that listens on the port, or on the next one that is free. InputError where there is none."""
    if not 0 <= port < 65536:
        raise InputError(f"port: got {port}, expected a number from 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS, 65536)):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
            listening.listen(128)
        except PermissionError as error:
            raise InputError(f"port: got {candidate}, which takes more rights; expected 1024 or more") from error
        except socket.gaierror as error:
            raise InputError(f"host: got {host}, which is no address of this machine") from error
        except OSError as error:
            listening.close()
            if error.errno == 99:  # EADDRNOTAVAIL
                raise InputError(f"host: got {host}, which is no address of this machine") from error
            continue
        if candidate != port:
            print(f"port {port} is in use, {candidate} is free")
        return listening, listening.getsockname()[1]
    raise InputError(f"port: got {port}, but it and the {PORTS - 1} after it are in use")


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests; what goes wrong in one is logged by flask."""

    def log(self, *_: Any) -> None:
        pass


class Watch:
    """The store as the page's callbacks share it: looked at afresh by whoever asks, once a second at most."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.store = Store(paths)
        self.lock = threading.RLock()
        self.version = 1
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
        self.runs = compare.labelled(self.store.runs)

    def changed_since(self, names: Sequence[str], version: int) -> bool:
        return any(self._changed.get(name, 1) > version for name in names)


def make_app(watch: Watch, where: str, host: str = "127.0.0.1") -> Dash:
    """The Dash application; it answers to the names of `host` only, so that no other site can reach it by its own."""
    app = Dash(
        __name__, title=f"dstrun {where}", update_title="", serve_locally=True, eager_loading=True,
        suppress_callback_exceptions=True, assets_folder=str(Path(__file__).parent / "assets"), compress=False,
    )  # fmt: skip
    app.layout = panes.frame()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    @app.server.before_request
    def only_by_its_own_name() -> None:
        name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        if host in LOOPBACK and (name or request.host).strip("[]") not in LOOPBACK:
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
            return panes.page(watch.runs, panes.read_address(search or ""))

    @app.callback(Output("version", "data"), Input("clock", "n_intervals"), State("version", "data"))
    def tick(_: int, version: int | None) -> Any:
        now = watch.look()
        return no_update if now == version else now

    @app.callback(
        Output("grid", "rowData"), Output("grid", "columnDefs"), Output("counts", "children"),
        Output("message", "children"), Input("version", "data"), Input("filter", "value"), State("grid", "columnDefs"),
    )  # fmt: skip
    def fill(_: int, conditions: str | None, columns: list) -> Any:
        with watch.lock:
            runs = watch.runs
            try:
                some, complaint = compare.where(runs, conditions or ""), ""
                if some.empty and len(runs):
                    complaint = f"none of {len(runs)} runs meets it"
            except InputError as error:
                some, complaint = runs, f"{error}; all runs are shown"
            wanted = panes.columns(runs)
            same = [one["field"] for one in wanted] == [one["field"] for one in columns or []]
            return panes.rows(some), no_update if same else wanted, title(where, runs), complaint

    @app.callback(
        Output("run", "options"), Output("one", "options"), Output("other", "options"), Input("version", "data"),
        State("run", "options"),
    )  # fmt: skip
    def names(_: int, there: list) -> Any:
        options = panes.options(watch.runs)
        return (no_update,) * 3 if options == there else (options,) * 3

    @app.callback(
        Output("content", "children"), Output("drawn", "data"), Input("version", "data"), Input("view", "value"),
        Input("chosen", "data"), Input("run", "value"), Input("one", "value"), Input("other", "value"),
        Input("dark", "data"), State("drawn", "data"),
    )  # fmt: skip
    def draw(
        _: int, view: str, chosen: dict | None, run: str | None, one: str | None, other: str | None, dark: bool | None,
        drawn: dict | None,
    ) -> Any:  # fmt: skip
        if chosen is None or dark is None:  # the page is still being set up
            raise PreventUpdate
        with watch.lock:
            runs, version = watch.runs, watch.version
            ticked = [name for name in chosen["ticked"] if name in runs.index]
            some = runs.loc[ticked or [name for name in chosen["shown"] if name in runs.index]]
            looking_at = {"overview": some, "layers": some, "curves": some}.get(view)
            names = list(some["run"]) if looking_at is not None else [name for name in (run, one, other) if name]
            wanted = {"view": view, "names": names, "run": run, "one": one, "other": other, "dark": dark}
            if (
                ctx.triggered_id == "version" and drawn and drawn["what"] == wanted
                and not watch.changed_since(names, drawn["version"])
            ):  # fmt: skip
                raise PreventUpdate
            drawing = contents.content(watch.store, runs, some, view, run or _first(some), one, other, dark)
            return drawing, {"what": wanted, "version": version}

    for function, outputs, inputs in panes.IN_THE_BROWSER:
        app.clientside_callback(ClientsideFunction("dstrun", function), outputs, inputs)


def _first(runs: pd.DataFrame) -> str | None:
    return str(runs["run"].iloc[0]) if len(runs) else None
