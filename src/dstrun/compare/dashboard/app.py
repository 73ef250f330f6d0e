"""The dashboard's application: a Dash app over the runs of some folders.

The address of the page holds everything that it shows, so that a view can be shared or come back
to. Names in an address are looked up among the runs and never used as paths.
"""

import logging
from pathlib import Path

from dash import Dash
from flask import Flask, Response, abort, request

from dstrun.compare.dashboard import layout
from dstrun.compare.dashboard.callbacks import connect
from dstrun.compare.dashboard.watch import Watch

LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(watch: Watch, where: str, host: str = "127.0.0.1") -> Dash:
    """Return the application over runs; `where` names them.

    On a loopback address it answers only requests for this machine's own names, so that no page
    from elsewhere can reach it under a name that leads here.
    """
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
    _secure(app.server, host)
    connect(app, watch, where)
    return app


def _secure(server: Flask, host: str) -> None:
    """Refuse requests under foreign names, and add the headers to every response."""

    @server.before_request
    def refuse_foreign_names() -> None:
        port = request.host.rpartition(":")[2]
        name = request.host.removesuffix(f":{port}").strip("[]") or request.host
        if host in LOOPBACK and not {name, request.host.strip("[]")} & set(LOOPBACK):
            abort(403)

    @server.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response
