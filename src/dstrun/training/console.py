"""Console of a run: facts at the start, a bar on a terminal or lines elsewhere, a table at the end.

Fractions are shown as percentages. Lines and table go to train.log as well. Colours come with a
terminal alone, and not where NO_COLOR is set. Knows rich and describe."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from dstrun.system.terminal import LastingConsole, duration, print_whole
from dstrun.training.describe import density_words

LOG_WIDTH = 120
NARROWEST_COURSE = 4  # columns; a narrower one tells nothing
TERMINAL_EVERY, LINE_EVERY = 1.0, 30.0  # seconds between two looks at how training goes


class RunConsole:
    """The console of one run. `log` receives every line too, without colours."""

    def __init__(self, log: logging.Logger, console: Console | None = None) -> None:
        self._log = log
        self._console = console or LastingConsole(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._clock: Clock | None = None

    def say(self, line: str, style: str = "") -> None:
        self._log.info(line)
        self._console.print(Text(line, style=style))

    def facts(self, facts: Mapping[str, str]) -> None:
        """Show a line for each fact that is not empty, its name in front."""
        width = max(map(len, facts))
        for name, words in facts.items():
            if words:
                self._log.info(f"  {name:<{width}}  {words}")
                self._console.print(Text.assemble((f"  {name:<{width}}  ", "dim"), words))

    def start(self, steps: int, step: int, batch_size: int, epochs: int) -> None:
        """Begin to count steps of `batch_size` images, from `step` on to `steps`; show a bar on a
        terminal."""
        self._clock = Clock(
            steps, step, batch_size, TERMINAL_EVERY if self._console.is_terminal else LINE_EVERY
        )
        self._epochs = epochs
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:.0f}%"),
            TextColumn("{task.fields[words]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(
            "train", total=steps, completed=step, epoch=f"1/{epochs}", words=""
        )
        self._bar.start()

    def step(self, step: int, figures: Callable[[], Mapping[str, float]]) -> None:
        """Show how training goes, once a second on a terminal, else every 30 s.

        `figures` returns epoch, loss, accuracy and density so far. It waits for the device, so it
        is called only then, and at most every 50 times as long as that took, or every 30 s."""
        if self._clock is None or not self._clock.is_due():
            return
        began = time.monotonic()
        now = figures()
        words = [f"loss {now['loss']:.4f}", f"accuracy {now['accuracy']:.2%}"]
        words.append(density_words(now["density"], now.get("density_model")))
        words += self._clock.pace(step)
        epoch = f"{now['epoch']}/{self._epochs}"
        if self._bar:
            self._bar.update(self._task, completed=step, epoch=epoch, words="  ".join(words))
        else:
            self.say("  ".join([f"epoch {epoch}", f"step {step} of {self._clock.steps}", *words]))
        self._clock.rest(min(50 * (time.monotonic() - began), LINE_EVERY))

    def epoch(self, epoch: int, epochs: int, figures: dict[str, Any]) -> None:
        """Show a line of what an epoch came to."""
        words = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}"]
        if (loss := figures.get("train_loss")) is not None:
            words.append(f"loss {loss:.4f}")
        for split in ("validation", "test"):
            if (accuracy := figures.get(f"{split}_accuracy")) is not None:
                words.append(f"{split} {accuracy:7.2%}")
        words.append(density_words(figures["density"], figures.get("density_model"), style="7.2%"))
        if speed := figures.get("images_per_second"):
            words.append(f"{speed:,.0f} images/s")
        words.append(f"{figures['seconds']:.1f} s")
        self.say("  ".join(words))
        if self._bar:
            self._bar.update(
                self._task, completed=figures["step"], epoch=f"{min(epoch + 1, epochs)}/{epochs}"
            )
        if self._clock:
            self._clock.rest()

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def layers(
        self,
        rows: Sequence[Mapping[str, Any]],
        courses: Mapping[str, Sequence[float]],
        left_dense: int = 0,
    ) -> None:
        """Show the closing table: what each layer kept, all masked ones together, the rest, and how
        they came to it.

        `courses` are densities in [0, 1] over the run, by the names of the rows and "model";
        `left_dense` is the number of weights that have no mask."""
        print_whole(self._console, _table(rows, courses, self._console.width, left_dense))
        log = Console(width=LOG_WIDTH, file=_LogLines(self._log))  # type: ignore[arg-type]
        print_whole(log, _table(rows, courses, LOG_WIDTH, left_dense))


class Clock:
    """When to show progress next, and how fast steps go."""

    def __init__(self, steps: int, step: int, batch_size: int, every: float) -> None:
        self.steps, self._batch_size, self._every = steps, batch_size, every
        self._first, self._began = step, time.monotonic()
        self._due = self._began + every

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def rest(self, seconds: float = 0.0) -> None:
        """Put the next time off by the usual interval, or by `seconds` where that is longer."""
        self._due = time.monotonic() + max(self._every, seconds)

    def pace(self, step: int) -> list[str]:
        """Return images a second since the start, evaluation included, and the time that is
        left."""
        seconds = (time.monotonic() - self._began) / max(step - self._first, 1)
        return [
            f"{self._batch_size / seconds:,.0f} images/s",
            f"{duration((self.steps - step) * seconds)} left",
        ]


def _table(
    rows: Sequence[Mapping[str, Any]],
    courses: Mapping[str, Sequence[float]],
    width: int,
    left_dense: int,
) -> Table:
    """Build the closing table: names and numbers whole, the courses in what is left of the
    width."""
    kept, total, dead = (sum(row[key] for row in rows) for key in ("kept", "total", "dead_rows"))
    masked = {
        "layer": "masked layers" if left_dense else "model",
        "kept": kept,
        "total": total,
        "dead_rows": dead,
    }
    sums = [masked]
    if left_dense:
        sums.append(
            {"layer": "left dense", "kept": left_dense, "total": left_dense, "dead_rows": 0}
        )
        sums.append(
            {
                "layer": "model",
                "kept": kept + left_dense,
                "total": total + left_dense,
                "dead_rows": dead,
            }
        )
    longest, number = (
        max(len(row["layer"]) for row in [*rows, *sums]),
        max(len(f"{total + left_dense:,}"), 5),
    )
    left = width - longest - 2 * number - len("100.00%") - len("dead rows") - 19
    table = Table(title="density by layer", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for column in ("kept", "total", "density", "dead rows"):
        table.add_column(column, justify="right", no_wrap=True)
    if left >= NARROWEST_COURSE:
        table.add_column("over the run"[:left], no_wrap=True)
    for row in [*rows, *sums]:
        if row is masked:
            table.add_section()
        course = (
            courses["model" if row is masked else row["layer"]] if row in [*rows, masked] else []
        )
        drawn = [spark(course, min(left, 32)) if course else ""] if left >= NARROWEST_COURSE else []
        dead_rows = Text(str(row["dead_rows"]), style="red" if row["dead_rows"] else "")
        density = f"{row['kept'] / row['total']:.2%}"
        table.add_row(
            Text(row["layer"]), f"{row['kept']:,}", f"{row['total']:,}", density, dead_rows, *drawn
        )
    return table


def spark(fractions: Sequence[float], width: int = 32) -> str:
    """A course of fractions in [0, 1] as blocks of eight heights, at most `width` of them, first
    and last included."""
    steps = max(len(fractions) - 1, 1)
    shown = min(len(fractions), width)
    chosen = [fractions[round(i * steps / max(shown - 1, 1))] for i in range(shown)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * fraction))] for fraction in chosen)


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
