"""Whose a run is: by the kernel's lock here, by the heartbeat where that does not reach."""

import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dstrun.runs import status
from dstrun.runs.status import Status, holder
from dstrun.system.errors import BusyError
from dstrun.training.run import run
from tests.helpers.tiny import config, tiny  # noqa: F401


def left_by(
    folder: Path, host: str, seconds_ago: float, state: str = "running", pid: int = 7
) -> None:
    beat = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="seconds")
    owner = {"host": host, "pid": pid, "start": beat, "heartbeat": beat}
    (folder / "status.json").write_text(json.dumps({"state": state, "owner": owner}))
    (folder / "train.log").touch()


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path) is None


@pytest.mark.parametrize(
    ("seconds_ago", "state", "who"),
    [
        (100, "running", "process 7 on far"),
        (140, "running", None),
        (0, "finished", None),
        (-50, "running", "process 7 on far"),
    ],
)
def test_an_owner_elsewhere_lives_as_long_as_its_heart_beats(
    tmp_path: Path, seconds_ago: float, state: str, who: str | None
) -> None:
    left_by(tmp_path, "far", seconds_ago, state)
    assert holder(tmp_path) == who
    if who:
        with pytest.raises(BusyError, match="is being written by process 7 on far"):
            Status(tmp_path)
    else:
        Status(tmp_path).release()


def test_an_owner_here_is_dead_without_its_lock_however_fresh_its_heartbeat(tmp_path: Path) -> None:
    left_by(tmp_path, socket.gethostname(), 0, pid=os.getppid())
    assert holder(tmp_path) is None


def test_where_there_are_no_locks_an_owner_here_needs_a_process_and_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    left_by(tmp_path, socket.gethostname(), 0, pid=os.getppid())
    assert holder(tmp_path) == f"process {os.getppid()} on {socket.gethostname()}"
    left_by(tmp_path, socket.gethostname(), 140, pid=os.getppid())
    assert holder(tmp_path) is None
    left_by(tmp_path, socket.gethostname(), 0, pid=2**22 + 1)
    assert holder(tmp_path) is None


def test_an_owner_holds_its_run_until_it_releases_it(tmp_path: Path) -> None:
    ours = Status(tmp_path)
    ours.begin()
    name = f"process {os.getpid()} on {socket.gethostname()}"
    assert holder(tmp_path) == name
    with pytest.raises(BusyError, match=name):
        Status(tmp_path)
    ours.end("finished")
    assert holder(tmp_path) == name, "its last checkpoint is still to be written"
    ours.release()
    assert holder(tmp_path) is None


def test_who_has_lost_a_run_to_another_host_notices_and_writes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.01)
    ours = Status(tmp_path)
    ours.begin()
    ours.confirm()
    left_by(tmp_path, "far", 0)
    theirs = (tmp_path / "status.json").read_text()
    with pytest.raises(BusyError, match="has been taken over by process 7 on far"):
        ours.confirm()
    while not ours.lost:
        time.sleep(0.002)
    assert (tmp_path / "status.json").read_text() == theirs
    ours.release()


@pytest.mark.usefixtures("tiny")
def test_a_run_that_another_has_taken_as_it_began_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = Status.begin

    def taken(self: Status, **facts: Any) -> None:
        begin(self, **facts)
        (file,) = Path("outputs/single").glob("*/status.json")
        file.write_text(
            json.dumps(json.loads(file.read_text()) | {"owner": {"host": "elsewhere", "pid": 1}})
        )

    monkeypatch.setattr(Status, "begin", taken)
    with pytest.raises(BusyError, match="has been taken over by process 1 on elsewhere"):
        run(config(), default_group="single")
    assert not list(Path("outputs/single").glob("*/*.csv"))
