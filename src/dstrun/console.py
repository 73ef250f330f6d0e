"""What a person sees while a run goes: a bar on a terminal, a line an epoch otherwise, a table at the end.

Fractions are shown as percentages. Lines and table go to train.log as well. Knows rich alone.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

LOG_WIDTH = 120


class LastingConsole(Console):
    """One whose run goes on when whoever read it has gone, as `head` does."""

    def on_broken_pipe(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class RunConsole:
    """The console of one run. `log` receives every line too."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._console = LastingConsole(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._looked = 0.0

    def say(self, line: str) -> None:
        self._log.info(line)
        self._console.print(line, markup=False)

    def start(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Shows the bar, where there is a terminal to show it on."""
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("updates"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._steps_per_epoch = steps_per_epoch
        self._task = self._bar.add_task("train", total=epochs * steps_per_epoch, completed=step, epoch="")
        self._bar.start()

    def step(self, step: int) -> None:
        """Moves the bar, ten times a second at most."""
        if self._bar and (at := time.monotonic()) - self._looked > 0.1:
            self._looked = at
            self._bar.update(self._task, completed=step, epoch=step // self._steps_per_epoch + 1)

    def epoch(self, epoch: int, epochs: int, figures: dict[str, Any]) -> None:
        words = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}"]
        if (loss := figures.get("train_loss")) is not None:
            words.append(f"loss {loss:.4f}")
        for split in ("validation", "test"):
            if (accuracy := figures.get(f"{split}_accuracy")) is not None:
                words.append(f"{split} {accuracy:7.2%}")
        words += [f"density {figures['density']:7.2%}", f"{figures['seconds']:.1f} s"]
        self.say("  ".join(words))

    def stop(self) -> None:
        """Takes the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def layers(self, rows: Sequence[Mapping[str, Any]], courses: Mapping[str, Sequence[float]]) -> None:
        """The closing table: what each layer kept, and all of them together ("model"), and how they came to it.

        `courses` are densities in [0, 1] over the run, by the names of the rows and "model".
        """
        self._console.print(_table(rows, courses, self._console.width))
        Console(width=LOG_WIDTH, file=_LogLines(self._log)).print(_table(rows, courses, LOG_WIDTH))  # type: ignore[arg-type]


def _table(rows: Sequence[Mapping[str, Any]], courses: Mapping[str, Sequence[float]], width: int) -> Table:
    """Names and numbers whole; the courses take what is left of the width."""
    kept, total, dead = (sum(row[key] for row in rows) for key in ("kept", "total", "dead_rows"))
    model = {"layer": "model", "kept": kept, "total": total, "dead_rows": dead}
    longest = max(len(row["layer"]) for row in rows)
    left = width - max(longest, 5) - 2 * len(f"{total:,}") - len("100.00%") - len("dead rows") - 19
    table = Table(title="density by layer", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for column in ("kept", "total", "density", "dead rows"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("over the run"[: max(left, 0)], no_wrap=True)
    for row in [*rows, model]:
        if row is model:
            table.add_section()
        density = f"{row['kept'] / row['total']:.2%}"
        course = spark(courses[row["layer"]], min(left, 32)) if left > 0 else ""
        table.add_row(row["layer"], f"{row['kept']:,}", f"{row['total']:,}", density, str(row["dead_rows"]), course)
    return table


def spark(fractions: Sequence[float], width: int = 32) -> str:
    """A course of fractions in [0, 1] as blocks of eight heights, at most `width` of them, first and last included."""
    steps = max(len(fractions) - 1, 1)
    shown = min(len(fractions), width)
    chosen = [fractions[round(i * steps / max(shown - 1, 1))] for i in range(shown)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * fraction))] for fraction in chosen)


def print_whole(console: Console, table: Table) -> None:
    """However wide it is: a terminal that is narrower breaks lines."""
    console.width = max(console.width, Console(width=10_000).measure(table).maximum)
    console.print(table)


def duration(seconds: float) -> str:
    """Seconds as people say them: 4 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < {"s": 100, "min": 6000, "h": 48 * 3600}[unit]:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"


class _LogLines:
    """A file whose lines are entries of a log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log

    def write(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self._log.info(line.rstrip())

    def flush(self) -> None:
        pass
