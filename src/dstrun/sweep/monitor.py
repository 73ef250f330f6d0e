"""What a person sees of a sweep: a line a running job, a line for each that ends, and what became
of all of them.

All of it is read from the runs' folders, so it is the same for jobs on this machine and on others.
Knows plan, ledger, summary, status, tracking, console and errors."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from dstrun.runs.folder import RunFolder
from dstrun.runs.labels import counted, run_labels
from dstrun.runs.metrics import last_row
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, holder
from dstrun.sweep.plan import Job
from dstrun.sweep.summary import FILE, Summary
from dstrun.system.errors import InputError, RunFailedError
from dstrun.system.files import read_json
from dstrun.system.terminal import LastingConsole, duration
from dstrun.training.describe import density_words

LOOK_EVERY = 1.0  # seconds between looks at the folders
ROOM = 1 << 18  # bytes that must be free where runs are to be written
LABEL = 40  # characters of a run's label that the columns after it wait for
LINES_EVERY = 60.0  # where there is no terminal to redraw
Stamp = tuple[int, int]


@dataclass
class Entry:
    """A job as it stood when last looked at."""

    job: Job
    state: str
    row: dict[str, str]
    label: str = ""
    stamp: Stamp = (0, 0)

    @property
    def ended(self) -> bool:
        return self.state in (FINISHED, FAILED)


class Board:
    """The jobs of a sweep and how each stands; keeps the summary of their groups. InputError for a
    foreign folder.

    In a search the jobs are a batch of a larger `total`, of which so many are `done`; `on_row` gets
    an entry whenever its run has a new epoch. Runs are called by the options `keys`, or else by all
    in which they differ."""

    def __init__(
        self,
        jobs: Sequence[Job],
        done: int = 0,
        total: int = 0,
        on_row: Callable[[Entry], None] | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        self._done, self._total, self._on_row = done, total or len(jobs), on_row
        self._console = LastingConsole(highlight=False, soft_wrap=True)
        labels = run_labels([job.config for job in jobs], keys)
        self._entries = [
            Entry(job, RunFolder(job.folder, job.config).state(), {}, label)
            for job, label in zip(jobs, labels, strict=True)
        ]
        self._room = min(max(map(len, labels)), LABEL)
        groups = dict.fromkeys(job.folder.parent for job in jobs)
        self._summaries = {
            group: Summary(
                group, {job.folder: job.config for job in jobs if job.folder.parent == group}
            )
            for group in groups
        }
        self._began = time.monotonic()
        self._ended_before = sum(entry.ended for entry in self._entries)
        self._lines_at = self._began

    def left(self) -> list[Job]:
        """The jobs that are to be done: not the finished ones, nor, with retry=none, the failed
        ones."""
        return [
            entry.job
            for entry in self._entries
            if entry.job.config.overwrite
            or not (
                entry.state == FINISHED
                or (entry.state == FAILED and entry.job.config.retry == "none")
            )
        ]

    def preview(self) -> None:
        """Say what a dry run would do: every run, how it stands, and how long the rest takes by the
        finished ones."""
        for group in self._summaries:
            self.say(f"{group}:")
            for entry in self._entries:
                if entry.job.folder.parent == group:
                    self.say(f"  {self._fitting(entry, len('  interrupted') + 2)}  {entry.state}")
        left = self.left()
        words = f"{counted(len(self._entries), 'run')}, {len(left)} to do"
        if left and (seconds := self._estimate(left)) is not None:
            words += f", about {duration(seconds)} of training by the runs that are finished"
        self.say(words)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Shows and writes down what happens while the block does the jobs. InputError where
        nothing can be written."""
        try:
            self._write()
            for group in self._summaries:
                _try_to_write(group)
        except OSError as error:
            raise InputError(f"outputs: {error}") from error
        left = {job.folder for job in self.left()}
        for entry in self._entries:
            if entry.ended and entry.job.folder in left:  # to be done again
                entry.state, entry.stamp = INTERRUPTED, _stamp(entry.job.folder)
                self._ended_before -= 1
        if self._total == len(self._entries):
            self.say(
                f"{', '.join(map(str, self._summaries))}: {counted(self._total, 'run')}, {len(left)} to do"
            )
        live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=2,
            transient=True,
        )
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,), daemon=True)
        try:
            if self._console.is_terminal:
                live.start()
            watch.start()
            yield
        finally:
            done.set()
            watch.join()
            live.stop()
            self._look()

    def withdraw(self) -> None:
        """Takes back what `watching` has written, where nothing was begun."""
        for group in self._summaries:
            if not any(group.glob("*/config.yaml")):
                with suppress(OSError):  # never made, or not empty
                    (group / FILE).unlink(missing_ok=True)
                    group.rmdir()
                    group.parent.rmdir()

    def close(self) -> None:
        """Reports; RunFailedError unless every run is finished."""
        self.report()
        if left := sum(entry.state != FINISHED for entry in self._entries):
            raise RunFailedError(f"{left} of {counted(len(self._entries), 'run')} not finished")

    def report(self) -> None:
        """The end: how many runs stand how, and what failed."""
        with suppress(OSError):
            self._write()
        for group in self._summaries:
            self.say(str(group / FILE))
        counts = {
            state: sum(entry.state == state for entry in self._entries)
            for state in (FINISHED, FAILED)
        }
        open_ = [entry for entry in self._entries if not entry.ended]
        words = [f"{counts[FINISHED]} of {counted(len(self._entries), 'run')} finished"]
        words += [f"{counts[FAILED]} failed"] * bool(counts[FAILED])
        words += [f"{len(open_)} not done; run the same command to resume"] * bool(open_)
        self.say(", ".join(words))
        if counts[FINISHED]:
            self.say(
                f"  compare  dstrun report {' '.join(quote(str(group)) for group in self._summaries)}"
            )
        for entry in self._entries:
            if entry.state == FAILED:
                self.say(f"failed: {entry.label}: {self._error(entry)}")
                self.say(f"  {entry.job.folder}")

    def wait(self) -> None:
        """Until no run is under way any more."""
        while self._running():
            time.sleep(LOOK_EVERY)
            self._look()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(LOOK_EVERY):
            self._look()
            if not self._console.is_terminal and time.monotonic() - self._lines_at > LINES_EVERY:
                self._lines_at = time.monotonic()
                for entry in self._running():
                    self.say(self._line(entry))

    def _look(self) -> None:
        ended = False
        for entry in self._entries:
            if not entry.ended:
                with suppress(
                    Exception
                ):  # whatever a folder holds, a display must not end before the runs do
                    self._take_in(entry)
                ended = ended or entry.ended
        if ended:
            try:
                self._write()
            except OSError as error:
                self.say(f"{FILE}: {error}")

    def _take_in(self, entry: Entry) -> None:
        """Reads a job's folder if something is new there, and says so if it has ended."""
        folder = entry.job.folder
        stamp = _stamp(folder)
        if stamp == entry.stamp:
            return
        entry.stamp, entry.row = stamp, last_row(folder / "metrics.csv")
        entry.state = read_json(folder / "status.json").get("state") or entry.state
        if entry.ended:
            ended = self._done + sum(other.ended for other in self._entries)
            ending = self._ending(entry)
            place = f"[{ended:>{len(str(self._total))}}/{self._total}]"
            self.say(f"{place} {self._fitting(entry, len(place) + 3 + len(ending))}  {ending}")
        elif self._on_row and entry.state == RUNNING:
            self._on_row(entry)

    def _ending(self, entry: Entry) -> str:
        if entry.state == FAILED:
            return f"failed: {self._error(entry)}"
        seconds = read_json(entry.job.folder / "summary.json").get("total_seconds")
        return "  ".join([*_figures(entry.row), duration(seconds or 0)])

    def _error(self, entry: Entry) -> Any:
        return read_json(entry.job.folder / "status.json").get("error")

    def _write(self) -> None:
        for summary in self._summaries.values():
            summary.write()

    def _running(self) -> list[Entry]:
        return [
            entry for entry in self._entries if entry.state == RUNNING and holder(entry.job.folder)
        ]

    def _picture(self) -> Group:
        ended = sum(entry.ended for entry in self._entries)
        words = f"{self._done + ended} of {self._total} done"
        if (since := ended - self._ended_before) and ended < len(self._entries):
            left = (time.monotonic() - self._began) / since * (len(self._entries) - ended)
            words += f", about {duration(left)} left"
        lines = [
            Text(self._line(entry), no_wrap=True, overflow="crop") for entry in self._running()
        ]
        return Group(*lines, Text(words))

    def _estimate(self, left: Sequence[Job]) -> float | None:
        """Seconds for the jobs, by finished ones of the same model and data; None where one has no
        such."""
        seen: dict[tuple[str, str], list[float]] = {}
        for entry in self._entries:
            summary = (
                read_json(entry.job.folder / "summary.json") if entry.state == FINISHED else {}
            )
            if summary.get("total_seconds") and summary.get("epoch"):
                seen.setdefault(_pair(entry.job), []).append(
                    summary["total_seconds"] / summary["epoch"]
                )
        if not all(_pair(job) in seen for job in left):
            return None
        return sum(
            job.config.schedule.epochs * sum(seen[_pair(job)]) / len(seen[_pair(job)])
            for job in left
        )

    def label(self, job: Job) -> str:
        """Return what the run of a job is called."""
        return next(entry.label for entry in self._entries if entry.job == job)

    def _line(self, entry: Entry) -> str:
        """Return the line of a running job."""
        epochs = entry.job.config.schedule.epochs
        epoch = int(entry.row.get("epoch") or 0)
        words = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}", *_figures(entry.row)]
        if epoch:
            words.append(f"{duration((epochs - epoch) * float(entry.row['seconds'])):>6} left")
        line = "  ".join(words)
        return f"{self._fitting(entry, len(line) + 2)}  {line}"

    def _fitting(self, entry: Entry, rest: int) -> str:
        """Return a run's label, in a column of its own; on a terminal short enough for a line with
        so much more."""
        room = (
            max(self._console.width - rest, 12) if self._console.is_terminal else len(entry.label)
        )
        return _cut(entry.label, room).ljust(min(self._room, room))

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)


def _cut(label: str, width: int) -> str:
    """Return a label with its middle left out where it is longer, since runs often differ at the
    end, in the seed."""
    if len(label) <= width:
        return label
    end = (width - 1) // 2
    return f"{label[: width - 1 - end]}…{label[-end:]}"


def _try_to_write(group: Path) -> None:
    """OSError where not even a run's small files could be written."""
    trial = group / "trial.new"
    try:
        trial.write_bytes(bytes(ROOM))
    finally:
        trial.unlink(missing_ok=True)


def _pair(job: Job) -> tuple[str, str]:
    return job.config.model.name, job.config.data.name


def _stamp(folder: Path) -> Stamp:
    """Changes when a run's status or metrics do."""

    def changed(name: str) -> int:
        try:
            return (folder / name).stat().st_mtime_ns
        except OSError:
            return 0

    return changed("status.json"), changed("metrics.csv")


def _figures(row: dict[str, str]) -> list[str]:
    words = [f"accuracy {float(row['test_accuracy']):7.2%}"] if row.get("test_accuracy") else []
    if row.get("density"):
        whole = row.get("density_model")
        words.append(
            density_words(float(row["density"]), float(whole) if whole else None, style="7.2%")
        )
    return words
