"""Whose a run is, and how it stands: status.json, its heartbeat, and the lock that keeps others
away.

The lock is the kernel's, on train.log: it goes when its owner dies, however that happens. Where it
does not reach, on another host or on a file system without locks, an owner counts as alive while
its heartbeat is younger than two minutes. Knows tracking, files and errors."""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dstrun.runs.metrics import read_json, write_json
from dstrun.system.errors import BusyError
from dstrun.system.files import sha256

HEARTBEAT_SECONDS = 30
ALIVE_SECONDS = 120
RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def holder(folder: Path) -> str | None:
    """Who is at work on the run of a folder, as 'process 12 on host'; None where nobody is."""
    try:
        file = os.open(folder / "train.log", os.O_RDONLY)
    except OSError:
        return None
    try:
        return _holder(folder, file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _holder(folder: Path, file: int, kind: int) -> str | None:
    """Tries to lock the open train.log of a folder; who keeps it from us, or None."""
    locks = True
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(read_json(folder / "status.json").get("owner"))
    except OSError:  # a file system without locks
        locks = False
    content = read_json(folder / "status.json")
    owner = content.get("owner")
    if content.get("state") != RUNNING or not isinstance(owner, dict):
        return None
    here = owner.get("host") == socket.gethostname()
    if here and (locks or owner.get("pid") == os.getpid() or not _process_exists(owner.get("pid"))):
        return None
    return _name(owner) if _seconds_since(owner.get("heartbeat")) < ALIVE_SECONDS else None


def _name(owner: Any) -> str:
    owner = owner if isinstance(owner, dict) else {}
    return f"process {owner.get('pid')} on {owner.get('host')}"


def _process_exists(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, TypeError):
        return False
    return True


def _seconds_since(moment: Any) -> float:
    """Age of a time that `now` has given; endless for what is none."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return float("inf")


def altered(folder: Path, status: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Of a finished run, whose status.json says `status`: which of the named files are no longer as
    it left them."""
    digests = status.get("files")
    if status.get("state") != FINISHED or not isinstance(digests, dict):
        return []
    changed = [name for name in names if name in digests and digests[name] != sha256(folder / name)]
    return [f"{name} is not as the run left it" for name in changed]


class Status:
    """status.json of a run this process owns. BusyError where another process is at work on it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "status.json"
        self._ended = threading.Event()
        self._lock: int | None = os.open(folder / "train.log", os.O_RDWR | os.O_CREAT, 0o644)
        for _ in range(5):  # another may hold it for a moment, to see whether anybody does
            busy = _holder(folder, self._lock, fcntl.LOCK_EX)
            if not busy:
                break
            time.sleep(0.02)
        else:
            self.release()
            raise BusyError(f"{folder} is being written by {busy}")
        self._content = read_json(self._path)
        self._writing = threading.Lock()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self.lost = False

    @property
    def content(self) -> Mapping[str, Any]:
        return self._content

    def begin(self, **facts: Any) -> None:
        """State running, owned by this process; keeps what earlier sessions of the run have
        written."""
        started = now()
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "start": started,
            "heartbeat": started,
        }
        self._content.setdefault("created", started)
        self._content.pop("files", None)
        self.write(state=RUNNING, owner=owner, started=started, ended=None, error=None, **facts)
        self._beats.start()

    def confirm(self) -> None:
        """BusyError if another has taken the run since `begin`, which only the file can tell where
        locks do not reach.

        Two that begin in one moment on two hosts both write; the later writer stays. A process that
        slept over its own heartbeat finds another's name."""
        owner = read_json(self._path).get("owner")
        if isinstance(owner, dict) and any(
            owner.get(key) != self._content["owner"][key] for key in ("host", "pid")
        ):
            self.lost = True
            raise BusyError(f"{self._folder} has been taken over by {_name(owner)}")

    def write(self, **changes: Any) -> None:
        with self._writing:
            self._content.update(changes)
            write_json(self._path, self._content)

    def end(self, state: str, error: str | None = None, **facts: Any) -> None:
        """Write the last state: finished, failed or interrupted. The lock is kept until
        `release`."""
        self._ended.set()
        self.write(state=state, error=error, ended=now(), **facts)

    def release(self) -> None:
        """Gives the lock back, once, and writes nothing more."""
        self._ended.set()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self.confirm()
                self.write(owner={**self._content["owner"], "heartbeat": now()})
            except BusyError:
                return
            except OSError:  # a full disk: perhaps not for long
                continue
