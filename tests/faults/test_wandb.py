"""W&B servers on loopback that hang, reset connections, fail or send invalid answers."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.runs import SECRET, only_run, rows

RUN = ["schedule.epochs=3", "data.train_limit=80", "data.test_limit=40", "threads=1"]
AT_THE_START, AT_THE_END = 10, 15  # seconds that a server may cost
KEY = "0123456789abcdef" * 2 + "01234567"
BUCKET = {
    "id": "1",
    "name": "r",
    "displayName": "r",
    "config": "{}",
    "historyLineCount": 0,
    "project": {"id": "2", "name": "dstrun", "entity": {"id": "3", "name": "me"}},
}
ANSWERS: dict[str, Any] = {
    "UpsertBucket": {"upsertBucket": {"bucket": BUCKET, "inserted": True}},
    "CreateRunFiles": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}},
}


class Server(BaseHTTPRequestHandler):
    """The part of W&B's server that its client needs to start a run.

    Then, or from the start, it has the fault `how`.
    """

    protocol_version = "HTTP/1.1"
    how, sound, seen = "", False, ""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = type(self)
        kind.seen += str(self.headers) + body.decode(errors="replace")
        if not kind.sound:
            return self.fail()
        name = json.loads(body).get("operationName") if self.path == "/graphql" else None
        if name == "UpsertBucket" and kind.how:
            kind.sound = False
        return self.answer(200, json.dumps({"data": ANSWERS.get(name, {})}))

    do_GET = do_PUT = do_POST  # noqa: N815

    def fail(self) -> None:
        if self.how == "hangs":
            time.sleep(60)
        elif self.how == "resets":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif self.how == "fails":
            self.answer(500, "")
        else:
            self.answer(200, '{"data": {"createRunFiles": 7')

    def answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def server(how: str, sound: bool) -> Iterator[tuple[str, type[Server]]]:
    kind = type("Kind", (Server,), {"how": how, "sound": sound})
    served = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    served.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that has gone
    served.daemon_threads, served.block_on_close = True, False
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}", kind
    finally:
        served.shutdown()
        served.server_close()


def train(group: str, host: str) -> tuple[float, str]:
    """Return how many seconds the command took, and its output."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    known = others | {"WANDB_BASE_URL": host, "WANDB_API_KEY": KEY}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "dstrun", *RUN, f"group={group}", "wandb.mode=online"],
        env=known,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return time.monotonic() - begun, done.stdout


def epochs_for_sync(folder: Path) -> list[int]:
    """Return the epochs whose figures are in W&B's own files."""
    (log,) = (file for file in folder.glob("wandb/*run-*/*.wandb") if file.stat().st_size > 2000)
    wandb = Path(sys.executable).with_name("wandb")
    answer = subprocess.run(
        [wandb, "leet", "inspect", "--json", log], capture_output=True, text=True, check=True
    )
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    return [record["history"]["item"]["epoch"] for record in records if record["type"] == "history"]


def try_one(how: str, sound: bool, limit: float) -> float:
    """Return how many seconds longer a run takes with this fault than with a working server.

    Check that the run loses nothing.
    """
    with server("", sound=True) as (host, _):
        undelayed, _ = train("without", host)
    with server(how, sound) as (host, _):
        delayed, said = train("with", host)
    assert epochs_for_sync(only_run("outputs/with")) == [1, 2, 3]
    assert len(rows(only_run("outputs/with") / "metrics.csv")) == 3
    assert ("logging offline, upload with `wandb sync`" in said) is not sound
    assert delayed - undelayed < limit
    return delayed - undelayed


@pytest.mark.faults
@pytest.mark.parametrize("sound", [False, True], ids=["from the start", "in the middle"])
@pytest.mark.parametrize("how", ["hangs", "resets", "fails", "talks nonsense"])
def test_a_server_that(how: str, sound: bool) -> None:
    print(f"{how}: {try_one(how, sound, AT_THE_END if sound else AT_THE_START):.1f} s")


@pytest.mark.slow
def test_a_key_goes_to_the_server_and_no_secret_to_any_file(tmp_path: Path) -> None:
    """Train a run that fails and leaves its traceback.

    In a process of its own, because W&B caches what it has read.
    """
    secrets = {"WANDB_API_KEY": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "HF_TOKEN": SECRET}
    with server("", sound=True) as (host, kind):
        done = subprocess.run(
            [sys.executable, "-m", "dstrun", *RUN, "schedule.lr=1e30", "wandb.mode=online"],
            env={**os.environ, **secrets, "WANDB_BASE_URL": host},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert any(file.suffix == ".wandb" for file in files)
    assert any(b"Traceback" in content for content in files.values())
    for secret in (KEY, SECRET):
        assert not [file for file, content in files.items() if secret.encode() in content]
        assert secret not in done.stdout + done.stderr
    assert kind.seen
    assert SECRET not in kind.seen
