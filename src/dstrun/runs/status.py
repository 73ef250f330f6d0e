"""Ownership and state of a run: status.json, its heartbeat and a file lock.

The lock is the kernel's, on train.log, and ends with its process. Where it has no effect, on
another host or on a file system without locks, an owner counts as alive while its heartbeat is
younger than two minutes.
"""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dstrun.system.errors import BusyError
from dstrun.system.files import read_json, sha256, write_json
from dstrun.system.run_files import LOG_FILE, STATUS_FILE

HEARTBEAT_SECONDS = 30
ALIVE_SECONDS = 120
RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def holder(folder: Path) -> str | None:
    """Return the process that trains the run in a folder, as 'process 12 on host', or None."""
    try:
        file = os.open(folder / LOG_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _lock_or_name_holder(folder, file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _lock_or_name_holder(folder: Path, file: int, kind: int) -> str | None:
    """Lock the open train.log of a folder and return None, or return the name of its owner."""
    has_locks = True
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner_name(read_json(folder / STATUS_FILE).get("owner"))
    except OSError:  # a file system without locks
        has_locks = False
    content = read_json(folder / STATUS_FILE)
    owner = content.get("owner")
    if content.get("state") != RUNNING or not isinstance(owner, dict):
        return None
    if owner.get("host") == socket.gethostname():
        pid = owner.get("pid")
        if has_locks or pid == os.getpid() or not _process_exists(pid):
            return None
    is_alive = _seconds_since(owner.get("heartbeat")) < ALIVE_SECONDS
    return _owner_name(owner) if is_alive else None


def _owner_name(owner: Any) -> str:
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
    """Return the age of a time written by `now`; infinity for anything else."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return float("inf")


def changed_files(folder: Path, status: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return a line for each named file that is not as the finished run of `status` left it."""
    digests = status.get("files")
    if status.get("state") != FINISHED or not isinstance(digests, dict):
        return []
    changed = [name for name in names if name in digests and digests[name] != sha256(folder / name)]
    return [f"{name} is not as the run left it" for name in changed]


class Status:
    """status.json of a run that this process owns. Raises BusyError where another one owns it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / STATUS_FILE
        self._ended = threading.Event()
        self._lock: int | None = os.open(folder / LOG_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        for _ in range(5):  # `holder` in another process locks it for a moment
            busy = _lock_or_name_holder(folder, self._lock, fcntl.LOCK_EX)
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
        """The object in status.json."""
        return self._content

    def begin(self, **facts: Any) -> None:
        """Write the state running and this process as owner; facts of earlier starts stay."""
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
        """Raise BusyError if another process has taken the run since `begin`.

        Where locks have no effect, only the file can tell: of two that begin in one moment on two
        hosts the later writer owns the run, and a process that slept over its own heartbeat finds
        another's name.
        """
        owner = read_json(self._path).get("owner")
        if not isinstance(owner, dict):
            return
        ours = self._content["owner"]
        if any(owner.get(key) != ours[key] for key in ("host", "pid")):
            self.lost = True
            raise BusyError(f"{self._folder} has been taken over by {_owner_name(owner)}")

    def write(self, **changes: Any) -> None:
        """Change entries of status.json and write it."""
        with self._writing:
            self._content.update(changes)
            write_json(self._path, self._content)

    def end(self, state: str, error: str | None = None, **facts: Any) -> None:
        """Write the last state: finished, failed or interrupted. `release` gives the lock back."""
        self._ended.set()
        self.write(state=state, error=error, ended=now(), **facts)

    def release(self) -> None:
        """Give the lock back, once, and write nothing more."""
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
