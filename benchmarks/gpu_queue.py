"""The parts that wait, prepare themselves, and are ready to be timed one by one; needs no torch."""

import time
from collections.abc import Callable

from gpu_collect import Process, Results
from gpu_plan import Part

MOST_HELD = 8  # of processes that compile or wait to be timed: each has a gigabyte or two of a card


class Queue:
    """Parts that wait, that prepare themselves, and that are ready to be timed."""

    def __init__(self, start: Callable[[Part], Process], waiting: list[Part], slots: int) -> None:
        self._start, self._order, self._slots = start, tuple(waiting), slots
        self._waiting = waiting
        self._busy: list[Process] = []
        self._ready: list[Process] = []

    @property
    def is_prepared(self) -> bool:
        """Whether checks have ended and timings wait for their turn."""
        return not self._busy and self._next() is None

    def move_on(self) -> None:
        """Note who has ended or is ready, and start others in their places."""
        for process in list(self._busy):
            if not process.alive:
                process.end()
                self._busy.remove(process)
            elif process.hears("ready"):
                self._ready.append(process)
                self._busy.remove(process)
        while len(self._busy) < self._slots and (part := self._next()):
            self._waiting.remove(part)
            self._busy.append(self._start(part))

    def _next(self) -> Part | None:
        """Return the next part to start: a check where enough of the others are held."""
        held = sum(one.part.kind != "checks" for one in [*self._busy, *self._ready])
        for part in self._waiting:
            if part.kind == "checks" or held < MOST_HELD:
                return part
        return None

    @property
    def compiling(self) -> int:
        """How many processes prepare themselves."""
        return len(self._busy)

    def has(self, kind: str) -> bool:
        """Whether a part of that kind is to come."""
        processes = [*self._busy, *self._ready]
        return any(one.part.kind == kind for one in processes) or any(
            part.kind == kind for part in self._waiting
        )

    def next_ready(self) -> Process | None:
        """Return the first in the plan's order that is ready to be timed, and hold it no longer.

        Those that still compile are told once that they are waited for.
        """
        ready = [process for process in self._ready if process.part.kind == "speed"]
        if not ready:
            for process in self._busy:
                if process.part.kind == "speed" and not process.is_hurried:
                    process.is_hurried = True
                    process.tell("hurry")
            return None
        first = min(ready, key=lambda process: self._order.index(process.part))
        self._ready.remove(first)
        return first

    def end(self, kind: str, results: Results) -> None:
        """End what runs of a kind; say of what waits that it was not begun."""
        for some in (self._busy, self._ready):
            for process in [one for one in some if one.part.kind == kind]:
                process.end()
                some.remove(process)
        for part in [one for one in self._waiting if one.kind == kind]:
            results.take(part.name, part.kind, {"state": "not begun: no time left"})
            self._waiting.remove(part)

    def end_checks(self, results: Results) -> None:
        """End the checks; beside timings others may still be compiled, on other cores."""
        self.move_on()
        self.end("checks", results)

    def take(self, kind: str, results: Results, until: float) -> list[Process]:
        """Return the processes of a kind that are ready by then; end the others."""
        while self.has(kind) and (self._waiting or self._busy) and time.monotonic() < until:
            self.move_on()
            time.sleep(0.05)
        found = [process for process in self._ready if process.part.kind == kind]
        self._ready = [process for process in self._ready if process not in found]
        self.end(kind, results)
        return found
