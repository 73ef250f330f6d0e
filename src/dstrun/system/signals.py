"""Stop signals: Ctrl-C, SIGTERM and the warnings of a scheduler."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# schedulers can send the last two before a time limit or pre-emption
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KEPT = (signal.SIGTERM, signal.SIGHUP)  # an earlier handler of these stays
DELAYED = (signal.SIGUSR1, signal.SIGUSR2)  # an earlier handler of these is called afterwards


class StopRequest:
    """A request to stop, true once a signal has come; a second SIGINT interrupts at once."""

    signal: int | None = None

    def note(self, number: int, _: FrameType | None) -> None:
        """Record a signal; raise KeyboardInterrupt for a second SIGINT."""
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number

    def __bool__(self) -> bool:
        return self.signal is not None


def stays(number: int) -> bool:
    """Return whether a stop signal has an earlier handler that stays: see `stop_request`."""
    return number in KEPT and signal.getsignal(number) is not signal.SIG_DFL


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Yield a request that records stop signals in the block, which otherwise end the process.

    Only the main thread gets signals; in another one the request stays false. An earlier handler of
    SIGUSR1 or SIGUSR2 gets its signal after the block: submitit's requeues the job, which must wait
    for the checkpoint. An earlier handler of SIGTERM or SIGHUP stays: submitit's ignores SIGTERM,
    which SLURM sends before the signal that counts, and nohup's ignores SIGHUP, which a closed
    terminal sends.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[int, Any] = {}
    for stopping in STOPPING:
        if not stays(stopping):
            before[stopping] = signal.signal(stopping, request.note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if request.signal in DELAYED and callable(before[request.signal]):
            signal.raise_signal(request.signal)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM in the block into an exception, so that unfinished files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
