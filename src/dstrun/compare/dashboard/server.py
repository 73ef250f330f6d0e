"""dstrun dashboard: a page on this machine over all runs of a folder, live while they train.

The server, on the first free port, for this machine only unless told otherwise. Knows live, report
(for words), signals and errors."""

import errno
import socket
import webbrowser
from argparse import Namespace
from contextlib import ExitStack
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from dstrun.compare.dashboard.app import LOOPBACK, Watch, make_app
from dstrun.compare.report.report import title
from dstrun.system.errors import InputError
from dstrun.system.signals import stop_request

SECONDS = 0.5  # within which a signal to stop is seen where no request comes
PORTS = 50  # so many are tried, from the one that was asked for


def dashboard(given: Namespace) -> None:
    """What `arguments.dashboard` asks for, until it is interrupted. InputError where there is
    nothing to listen on."""
    watch = Watch(given.paths)
    where = " ".join(map(str, given.paths))
    listening, port = free_port(given.host, given.port)
    app = make_app(watch, where, given.host)
    server = make_server(
        given.host, port, app.server, threaded=True, request_handler=_Quiet, fd=listening.detach()
    )
    address = f"http://{f'[{given.host}]' if ':' in given.host else given.host}:{port}/"
    print(f"{address} shows {title(where, watch.runs)}; Ctrl-C ends it", flush=True)
    if given.host not in LOOPBACK:
        print(
            "whoever reaches this host can read these runs' settings, figures and logs", flush=True
        )
    if given.open:
        webbrowser.open(address)
    server.timeout = SECONDS
    with (
        stop_request() as stop
    ):  # KeyboardInterrupt can be lost: raised where a request's thread starts
        while not stop:
            server.handle_request()
    server.server_close()
    print()


def free_port(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that listens on the port, or on the next one that is free. InputError where there is
    none."""
    if not 0 <= port < 65536:
        raise InputError(f"port: got {port}, expected a number from 0 to 65535")
    nowhere = f"host: got {host}, which is no address of this machine"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS, 65536)):
        with ExitStack() as unless_it_listens:
            listening = unless_it_listens.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, candidate))
                listening.listen(128)
            except PermissionError as error:
                raise InputError(
                    f"port: got {candidate}, which takes more rights; expected 1024 or more"
                ) from error
            except socket.gaierror as error:
                raise InputError(nowhere) from error
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise InputError(nowhere) from error
                continue
            unless_it_listens.pop_all()
            if candidate != port and port:
                print(f"port {port} is in use, {candidate} is free")
            return listening, listening.getsockname()[1]
    raise InputError(f"port: got {port}, but it and the {PORTS - 1} after it are in use")


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests; what goes wrong in one is logged by flask."""

    def log(self, *_: Any) -> None:
        pass
