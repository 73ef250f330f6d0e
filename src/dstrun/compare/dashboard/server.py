"""`dstrun dashboard`: a server of one page on the runs of some folders, live while they train.

It listens on the first free port, and on this machine only unless told otherwise.
"""

import errno
import socket
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from dstrun.compare.dashboard.app import LOOPBACK, make_app
from dstrun.compare.dashboard.watch import Watch
from dstrun.compare.masks import ReadMasks
from dstrun.compare.report.table import title
from dstrun.system.errors import InputError
from dstrun.system.signals import stop_request

SECONDS = 0.5  # between two checks for a signal while no request comes
PORTS = 50  # ports to try, from the one asked for
ABOVE_ALL_PORTS = 65536


def dashboard(
    paths: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 8050,
    open_page: bool = False,
    read_masks: ReadMasks | None = None,
) -> None:
    """Serve the page until a signal to stop; with `open_page` open it in a browser.

    `read_masks` reads those of a run's folder, for figures of masks. Raise InputError for a path
    that is no folder, and if no port can be listened on.
    """
    watch = Watch(paths, read_masks)
    where = " ".join(map(str, paths))
    listening, port = free_port(host, port)
    app = make_app(watch, where, host)
    server = make_server(
        host, port, app.server, threaded=True, request_handler=_Quiet, fd=listening.detach()
    )
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    print(f"{address} shows {title(where, watch.runs)}; Ctrl-C ends it", flush=True)
    if host not in LOOPBACK:
        print("everyone who reaches this host can read settings, figures and logs", flush=True)
    if open_page:
        webbrowser.open(address)
    server.timeout = SECONDS
    with stop_request() as stop:  # a KeyboardInterrupt is lost where it hits a request's thread
        while not stop:
            server.handle_request()
    server.server_close()
    print()


def free_port(host: str, port: int) -> tuple[socket.socket, int]:
    """Return a socket that listens on a port or on the next free one, and its port.

    Raise InputError for a port or a host that cannot be used, and if no port is free.
    """
    if not 0 <= port < ABOVE_ALL_PORTS:
        raise InputError(f"port: got {port}, expected a number from 0 to 65535")
    for candidate in range(port, min(port + PORTS, ABOVE_ALL_PORTS)):
        listening = _listen(host, candidate)
        if listening:
            if candidate != port and port:
                print(f"port {port} is in use, {candidate} is free")
            return listening, listening.getsockname()[1]
    raise InputError(f"port: got {port}, but it and the {PORTS - 1} after it are in use")


def _listen(host: str, port: int) -> socket.socket | None:
    """Return a socket that listens on a port; None if the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as close_on_error:
        listening = close_on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(128)
        except PermissionError as error:
            raise InputError(
                f"port: got {port}, which takes more rights; expected 1024 or more"
            ) from error
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise InputError(
                    f"host: got {host}, which is no address of this machine"
                ) from error
            return None
        close_on_error.pop_all()
        return listening


class _Quiet(WSGIRequestHandler):
    """Handler that logs no requests; flask logs errors in them."""

    def log(self, *_: Any) -> None:
        pass
