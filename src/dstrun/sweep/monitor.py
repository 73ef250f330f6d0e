"""Live progress and final report of a sweep.

A line per running job, a line for each job that ends, and the totals. All of it is read from the
run folders, so it is the same for jobs on this machine and on others.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from rich.console import Group
from rich.live import Live
from rich.text import Text

from dstrun.runs.labels import quantity
from dstrun.runs.status import FAILED, FINISHED, RUNNING
from dstrun.sweep.job_states import (
    Entry,
    estimate_seconds,
    progress_text,
    read_entries,
    result_text,
    shortened,
)
from dstrun.sweep.plan import Job
from dstrun.sweep.summary import FILE, Summary
from dstrun.system.errors import InputError, RunFailedError
from dstrun.system.terminal import LastingConsole, duration

REFRESH_SECONDS = 1.0  # between two looks at the run folders
MAX_LABEL_WIDTH = 40  # characters of a label up to which the columns are aligned
SECONDS_BETWEEN_LINES = 60.0  # of a running job, where the output is not a terminal


class Monitor:
    """Display of a sweep's jobs, which also keeps the summary.csv of their groups.

    In a search the jobs are a batch of a larger `total`, of which `done` have ended already.
    `on_row` is called with an entry whenever its run has finished an epoch. Runs are labelled by
    the options `keys`, or by all options that differ. Raise InputError for a folder that holds
    another run.
    """

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
        self._entries = read_entries(jobs, keys)
        self._label_width = min(max(len(entry.label) for entry in self._entries), MAX_LABEL_WIDTH)
        configs: dict[Path, dict] = {}
        for job in jobs:
            configs.setdefault(job.folder.parent, {})[job.folder] = job.config
        self._summaries = {group: Summary(group, known) for group, known in configs.items()}
        self._started_at = self._lines_at = time.monotonic()
        self._ended_before = self._count_ended()

    def jobs_to_do(self) -> list[Job]:
        """Return the jobs that the sweep has to run."""
        return [entry.job for entry in self._entries if entry.is_to_do]

    def label(self, job: Job) -> str:
        """Return the label of a job's run."""
        return next(entry.label for entry in self._entries if entry.job == job)

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False)

    def preview(self) -> None:
        """Print every run with its state, and an estimate of the time that the rest will take."""
        for group in self._summaries:
            self.say(f"{group}:")
            for entry in self._entries:
                if entry.job.folder.parent == group:
                    label = self._padded_label(entry, len("  interrupted") + 2)
                    self.say(f"  {label}  {entry.state}")
        jobs = self.jobs_to_do()
        words = f"{quantity(len(self._entries), 'run')}, {len(jobs)} to do"
        if jobs and (seconds := estimate_seconds(self._entries, jobs)) is not None:
            words += f", about {duration(seconds)} of training, judged by the finished runs"
        self.say(words)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show progress and keep summary.csv up to date while the block runs the jobs.

        Raise InputError where nothing can be written.
        """
        self._require_writable()
        self._reopen_jobs()
        live = Live(
            get_renderable=self._progress,
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
            self._refresh()

    def remove_empty_groups(self) -> None:
        """Remove what `watching` has written for groups in which no run has started."""
        for summary in self._summaries.values():
            summary.remove_if_unused()

    def wait(self) -> None:
        """Wait until no run is under way."""
        while any(entry.is_running for entry in self._entries):
            time.sleep(REFRESH_SECONDS)
            self._refresh()

    def close(self) -> None:
        """Print the report; raise RunFailedError unless every run is finished."""
        self.report()
        if left := sum(entry.state != FINISHED for entry in self._entries):
            raise RunFailedError(f"{left} of {quantity(len(self._entries), 'run')} not finished")

    def report(self) -> None:
        """Print how many runs are in which state, and the errors of the failed ones."""
        with suppress(OSError):
            self._write_summaries()
        for group in self._summaries:
            self.say(str(group / FILE))
        counts = Counter(entry.state for entry in self._entries)
        words = f"{counts[FINISHED]} of {quantity(len(self._entries), 'run')} finished"
        if counts[FAILED]:
            words += f", {counts[FAILED]} failed"
        if left := len(self._entries) - counts[FINISHED] - counts[FAILED]:
            words += f", {left} not done; run the same command to resume"
        self.say(words)
        if counts[FINISHED]:
            groups = " ".join(quote(str(group)) for group in self._summaries)
            self.say(f"  compare  dstrun report {groups}")
        for entry in self._entries:
            if entry.state == FAILED:
                self.say(f"failed: {entry.label}: {entry.error}")
                self.say(f"  {entry.job.folder}")

    def _require_writable(self) -> None:
        try:
            self._write_summaries()
            for summary in self._summaries.values():
                summary.probe()
        except OSError as error:
            raise InputError(f"outputs: {error}") from error

    def _reopen_jobs(self) -> None:
        """Mark the ended jobs that will be run again, and print how many jobs there are to do."""
        to_do = [entry for entry in self._entries if entry.is_to_do]
        for entry in to_do:
            if entry.has_ended:
                entry.reopen()
                self._ended_before -= 1
        if self._total == len(self._entries):
            groups = ", ".join(map(str, self._summaries))
            self.say(f"{groups}: {quantity(self._total, 'run')}, {len(to_do)} to do")

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(REFRESH_SECONDS):
            self._refresh()
            since = time.monotonic() - self._lines_at
            if not self._console.is_terminal and since > SECONDS_BETWEEN_LINES:
                self._lines_at = time.monotonic()
                for entry in self._running():
                    self.say(self._running_line(entry))

    def _refresh(self) -> None:
        has_news = False
        for entry in self._entries:
            if not entry.has_ended:
                # Whatever a folder contains, the display must not end before the runs do.
                with suppress(Exception):
                    self._refresh_entry(entry)
                has_news = has_news or entry.has_ended
        if has_news:
            try:
                self._write_summaries()
            except OSError as error:
                self.say(f"{FILE}: {error}")

    def _refresh_entry(self, entry: Entry) -> None:
        """Read a job's run folder; print a line if the job has ended."""
        if not entry.refresh():
            return
        if entry.has_ended:
            ended = self._done + self._count_ended()
            number = f"[{ended:>{len(str(self._total))}}/{self._total}]"
            result = result_text(entry)
            label = self._padded_label(entry, len(number) + 3 + len(result))
            self.say(f"{number} {label}  {result}")
        elif self._on_row and entry.state == RUNNING:
            self._on_row(entry)

    def _count_ended(self) -> int:
        return sum(entry.has_ended for entry in self._entries)

    def _running(self) -> list[Entry]:
        return [entry for entry in self._entries if entry.is_running]

    def _write_summaries(self) -> None:
        for summary in self._summaries.values():
            summary.write()

    def _progress(self) -> Group:
        """Return the running jobs' lines and the totals, as shown on a terminal."""
        ended = self._count_ended()
        words = f"{self._done + ended} of {self._total} done"
        if (since := ended - self._ended_before) and ended < len(self._entries):
            elapsed = time.monotonic() - self._started_at
            words += f", about {duration(elapsed / since * (len(self._entries) - ended))} left"
        lines = []
        for entry in self._running():
            lines.append(Text(self._running_line(entry), no_wrap=True, overflow="crop"))
        return Group(*lines, Text(words))

    def _running_line(self, entry: Entry) -> str:
        text = progress_text(entry)
        return f"{self._padded_label(entry, len(text) + 2)}  {text}"

    def _padded_label(self, entry: Entry, rest: int) -> str:
        """Return a label in a column of its own, shortened on a terminal whose line must also hold
        `rest` characters.
        """
        width = len(entry.label)
        if self._console.is_terminal:
            width = max(self._console.width - rest, 12)
        return shortened(entry.label, width).ljust(min(self._label_width, width))
