"""The wish of a person, or of a cluster, that we stop. Knows nothing."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# the last two are what a scheduler sends ahead of a time limit or pre-emption, where it is told to
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopRequest:
    """Whether a signal to stop has come; a second SIGINT stops at once, as without us."""

    signal: int | None = None

    def note(self, number: int, _: FrameType | None) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Collects the signals of a block instead of dying of them. In a thread other than the main:
    never any.

    A handler of SIGUSR1 or SIGUSR2 that was there before gets its signal once the block has ended:
    submitit's puts the job into the queue again, and must not do so before the checkpoint is
    written. A handler of SIGTERM stays: submitit's makes nothing of it, since SLURM sends it ahead
    of the signal that counts. So does one of SIGHUP, which comes when a terminal goes: nohup's
    makes nothing of it either."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    stay = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_DFL
    ]
    ours = [number for number in STOPPING if number not in stay]
    before: dict[int, Any] = {number: signal.signal(number, request.note) for number in ours}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if request.signal in (signal.SIGUSR1, signal.SIGUSR2) and callable(before[request.signal]):
            signal.raise_signal(request.signal)


@contextmanager
def exits_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the process as an error does, so that what a block has half made is taken
    away."""
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
