"""Console of a run: facts at the start, progress bar or lines, and a table of layers at the end.

The bar is for terminals; elsewhere there is a line every 30 s. Fractions are percentages. All lines
and the table go to train.log as well. There are no colours without a terminal or with NO_COLOR set.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from dstrun.runs.tasks import CLASSES, Task
from dstrun.system.terminal import LastingConsole, duration, print_whole
from dstrun.training.describe import density_words
from dstrun.training.layer_table import layer_table

LOG_WIDTH = 120
TERMINAL_EVERY, LINE_EVERY = 1.0, 30.0  # seconds between two updates of the progress


class RunConsole:
    """Console of one run. `log` gets every line as well, without colours."""

    def __init__(
        self, log: logging.Logger, console: Console | None = None, task: Task = CLASSES
    ) -> None:
        self._log, self._task = log, task
        self._console = console or LastingConsole(highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._clock: Clock | None = None
        self._epochs = 0

    def say(self, line: str, style: str = "") -> None:
        """Print a line, on a terminal in rich's `style`."""
        self._log.info(line)
        self._console.print(Text(line, style=style))

    def show_facts(self, facts: Mapping[str, str]) -> None:
        """Print a line for each fact that is not empty, after its name."""
        width = max(map(len, facts))
        for name, words in facts.items():
            if words:
                self._log.info(f"  {name:<{width}}  {words}")
                self._console.print(Text.assemble((f"  {name:<{width}}  ", "dim"), words))

    def start(self, steps: int, step: int, batch_size: int, epochs: int) -> None:
        """Start to show progress, from `step` of `steps` on; each has `batch_size` images."""
        is_terminal = self._console.is_terminal
        self._epochs = epochs
        every = TERMINAL_EVERY if is_terminal else LINE_EVERY
        self._clock = Clock(steps, step, batch_size, every, self._task.examples)
        if is_terminal:
            self._bar = Bar(self._console, steps, step, epochs)

    def show_step(self, step: int, figures: Callable[[], Mapping[str, float]]) -> None:
        """Show progress once a second on a terminal, else every 30 s.

        `figures` returns epoch, loss, headline and density so far. Since it waits for the device,
        it is called only when progress is due, and the next time is put off by 50 times as long as
        it took, at most by 30 s.
        """
        if self._clock is None or not self._clock.is_due():
            return
        began = time.monotonic()
        now = figures()
        headline = self._task.headline
        words = [
            f"loss {now['loss']:.4f}",
            f"{headline.title} {headline.shown(now[headline.name])}",
        ]
        words.append(density_words(now["density"], now.get("density_model")))
        words += self._clock.pace(step)
        epoch = int(now["epoch"])
        if self._bar:
            self._bar.update(step, epoch, "  ".join(words))
        else:
            place = [f"epoch {epoch}/{self._epochs}", f"step {step} of {self._clock.steps}"]
            self.say("  ".join([*place, *words]))
        self._clock.rest(min(50 * (time.monotonic() - began), LINE_EVERY))

    def show_epoch(self, epoch: int, epochs: int, figures: dict[str, Any], note: str = "") -> None:
        """Print a line of the figures at the end of an epoch, and what else is to be said of it."""
        headline, words = self._task.headline, [f"epoch {epoch:>{len(str(epochs))}}/{epochs}"]
        if (loss := figures.get("train_loss")) is not None:
            words.append(f"loss {loss:.4f}")
        for split in ("validation", "test"):
            if (value := figures.get(headline.column(split))) is not None:
                unit = "" if headline.is_share else f" {headline.title}"
                words.append(f"{split} {headline.shown(value, 7)}{unit}")
        words.append(density_words(figures["density"], figures.get("density_model"), style="7.2%"))
        if speed := figures.get("images_per_second"):
            words.append(f"{speed:,.0f} {self._task.examples}/s")
        words.append(f"{figures['seconds']:.1f} s")
        self.say("  ".join([*words, note]).rstrip())
        if self._bar:
            self._bar.update(figures["step"], min(epoch + 1, epochs))
        if self._clock:
            self._clock.rest()

    def stop(self) -> None:
        """Remove the progress bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def show_layers(
        self,
        rows: Sequence[Mapping[str, Any]],
        curves: Mapping[str, Sequence[float]],
        left_dense: int = 0,
    ) -> None:
        """Print the closing table, whose arguments are those of `layer_table`."""
        print_whole(self._console, layer_table(rows, curves, self._console.width, left_dense))
        log = Console(width=LOG_WIDTH, file=_LogLines(self._log))  # type: ignore[arg-type]
        print_whole(log, layer_table(rows, curves, LOG_WIDTH, left_dense))


class Bar:
    """Progress bar on a terminal: epoch, share of the steps, and words."""

    def __init__(self, console: Console, steps: int, step: int, epochs: int) -> None:
        self._epochs = epochs
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:.0f}%"),
            TextColumn("{task.fields[words]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(
            "train", total=steps, completed=step, epoch=f"1/{epochs}", words=""
        )
        self._progress.start()

    def update(self, step: int, epoch: int, words: str | None = None) -> None:
        """Show a step and its epoch; the words stay as they are if none are given."""
        fields = {"epoch": f"{epoch}/{self._epochs}"}
        if words is not None:
            fields["words"] = words
        self._progress.update(self._task, completed=step, **fields)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Remove the bar from the screen."""
        self._progress.stop()


class Clock:
    """Time of the next progress, and speed of training since the start, in `examples` a second."""

    def __init__(
        self, steps: int, step: int, batch_size: int, every: float, examples: str = "images"
    ) -> None:
        self.steps, self._batch_size, self._every = steps, batch_size, every
        self._examples = examples
        self._first, self._began = step, time.monotonic()
        self._due = self._began + every

    def is_due(self) -> bool:
        """Return whether it is time to show progress."""
        return time.monotonic() >= self._due

    def rest(self, seconds: float = 0.0) -> None:
        """Put off the next time by the usual interval, or by `seconds` if that is longer."""
        self._due = time.monotonic() + max(self._every, seconds)

    def pace(self, step: int) -> list[str]:
        """Return examples per second since the start, evaluation included, and the time left."""
        seconds = (time.monotonic() - self._began) / max(step - self._first, 1)
        return [
            f"{self._batch_size / seconds:,.0f} {self._examples}/s",
            f"{duration((self.steps - step) * seconds)} left",
        ]


class _LogLines:
    """File object whose lines become entries of a log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log

    def write(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self._log.info(line.rstrip())

    def flush(self) -> None:
        pass
