"""Trackers in processes of their own, so that none of them can stop or slow the run."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import SimpleQueue
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from threading import Thread
from typing import IO, Any, cast

from dstrun.runs.trackers.tracker import TrackedRun

COMMAND = [sys.executable, "-P", "-m", "dstrun.runs.trackers.worker"]
END_SECONDS = 10.0  # that all trackers together may take after the end of a run
START_SECONDS = 30.0  # of a short run; the first start of MLflow takes up to 15 s


class TrackerProcesses:
    """The trackers of one run, each in a process of its own; none of its methods raises.

    say: shows the user a line about figures that did not arrive.
    """

    def __init__(self, names: Sequence[str], run: TrackedRun, say: Callable[[str], None]) -> None:
        self._say, self._started = say, time.monotonic()
        self._processes: dict[str, _Process] = {}
        for name in names:
            try:
                self._processes[name] = _Process({"tracker": name, "run": asdict(run)})
            except OSError as error:
                say(f"{name} could not be started, so this run is not logged there ({error})")

    def log(self, row: Mapping[str, float]) -> None:
        """Send a row; return at once."""
        for process in self._processes.values():
            process.send(row)

    def finish(self, exit_code: int) -> None:
        """Send how the run has ended, and wait for the trackers, END_SECONDS at most.

        For a finished run at least until START_SECONDS after their start, since they may still be
        starting; another one gets what is missing when it resumes.
        """
        until = time.monotonic() + END_SECONDS
        if exit_code == 0:
            until = max(until, self._started + START_SECONDS)
        for process in self._processes.values():
            process.send({"exit_code": exit_code})
            process.send(None)
        for name, process in self._processes.items():
            code = process.end(max(until - time.monotonic(), 0.0))
            if code is None:
                self._say(f"{name} does not answer: figures are missing there")
            elif code:
                self._say(f"{name} has failed: figures are missing there; see train.log")


class _Process:
    """A tracker's process, and the thread that writes to it, which waits where the run must not."""

    def __init__(self, first: Mapping[str, Any]) -> None:
        path = os.pathsep.join(filter(None, sys.path))  # wherever dstrun was imported from
        self._process = Popen(
            COMMAND,
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the run, which then ends its trackers
        )
        self._lines: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, daemon=True)
        self._thread.start()
        self.send(first)

    def send(self, message: Mapping[str, Any] | None) -> None:
        self._lines.put(message)

    def _write(self) -> None:
        with suppress(OSError), cast(IO[bytes], self._process.stdin) as pipe:
            while (message := self._lines.get()) is not None:  # OSError: it has ended
                pipe.write(json.dumps(message, default=float).encode() + b"\n")
                pipe.flush()

    def end(self, seconds: float) -> int | None:
        """Wait for the process, then kill it; return its exit code, None if it was killed."""
        try:
            return self._process.wait(seconds)
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
