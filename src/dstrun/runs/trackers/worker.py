"""Process of one tracker, which reads a run's rows from standard input and gives them to it.

The lines are JSON: {"tracker", "run"}, then a row an epoch, then {"exit_code"}. A tracker that
hangs, fails or ends holds up this process alone. Errors are warnings in train.log, one of each
kind; the process ends with 1 if there was any. Where the input ends without an exit code, the run
was killed.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from logging import Logger
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from dstrun.config.groups import ENTRY_POINTS
from dstrun.runs.log import close_log, open_log
from dstrun.runs.metrics import tracked_rows
from dstrun.runs.trackers.tracker import TrackedRun, Tracker
from dstrun.system.entry_points import load
from dstrun.system.errors import error_line

CLASSES = {
    "tensorboard": "TensorBoardTracker",
    "mlflow": "MlflowTracker",
    "trackio": "TrackioTracker",
}
PASSWORD = re.compile(r"//[^/\s@]+@")  # in the address of a server
END_SECONDS = 60  # after the end of a run; the run itself waits for a shorter time
KILLED_SECONDS = 2  # after a run was killed: the same command may start it again


def main() -> None:
    """Serve the run that is named in the first line."""
    with suppress(OSError):
        os.nice(5)  # training goes first where they share a core
    first = json.loads(sys.stdin.readline())
    run = TrackedRun(**first["run"])
    log = open_log(Path(run.folder))
    started = Event()
    complete = serve(first["tracker"], run, _messages(started), log, started)
    close_log(log)
    sys.exit(0 if complete else 1)


def serve(
    name: str,
    run: TrackedRun,
    messages: Iterator[Mapping[str, Any]],
    log: Logger,
    started: Event | None = None,
) -> bool:
    """Give a run's rows to a tracker: those before it was started, then `messages`.

    A row whose epoch the tracker has already is left out. `started` is set once it has started.
    Return whether no call has failed.
    """
    attempt = _Attempts(name, log)
    tracker: Tracker | None = attempt(lambda: tracker_class(name)(run))
    (started or Event()).set()
    if tracker is None:
        return False
    for row in tracked_rows(Path(run.folder), run.epoch):
        if row["epoch"] > getattr(tracker, "epoch", 0):
            attempt(tracker.log, row)
    exit_code = 1
    for message in messages:
        if "exit_code" in message:
            exit_code = message["exit_code"]
        elif message["epoch"] > getattr(tracker, "epoch", 0):
            attempt(tracker.log, message)
    attempt(tracker.finish, exit_code)
    return not attempt.failed


def tracker_class(name: str) -> Callable[[TrackedRun], Tracker]:
    """Return the class of a tracker: ours, or that of an installed package's entry point."""
    if name in CLASSES:
        return getattr(import_module(f"dstrun.runs.trackers.{name}"), CLASSES[name])
    (entry,) = entry_points(group=ENTRY_POINTS["tracker"], name=name)
    return load(entry, "tracker")


class _Attempts:
    """Calls whose errors are warnings in a log, the first one of each kind."""

    def __init__(self, name: str, log: Logger) -> None:
        self._name, self._log = name, log
        self._told: set[type] = set()

    @property
    def failed(self) -> bool:
        return bool(self._told)

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:  # the run goes on without its copy
            if type(error) not in self._told:
                words = PASSWORD.sub("//", error_line(error))
                self._log.warning("%s: %s", self._name, words)
            self._told.add(type(error))
        return None


def _messages(started: Event) -> Iterator[dict[str, Any]]:
    """Return the messages of standard input, which a thread reads from now on.

    Once it has ended, so does the process, even in a call that hangs.
    """
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        line = ""
        for line in sys.stdin:
            lines.put(line)
        lines.put("")
        if "exit_code" not in line:
            started.wait(END_SECONDS)  # half of a data base's tables would prevent the next start
        signal.alarm(END_SECONDS if "exit_code" in line else KILLED_SECONDS)

    Thread(target=read, daemon=True).start()
    return map(json.loads, iter(lines.get, ""))


if __name__ == "__main__":
    main()
