"""States of a sweep's jobs, as read from their run folders, and the text that shows them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dstrun.runs.folder import RunFolder
from dstrun.runs.labels import run_labels
from dstrun.runs.metrics import last_row
from dstrun.runs.rounds import rounds_of
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, holder
from dstrun.runs.tasks import task_of
from dstrun.sweep.plan import Job
from dstrun.system.files import read_json
from dstrun.system.run_files import METRICS_FILE, STATUS_FILE, SUMMARY_FILE
from dstrun.system.terminal import duration
from dstrun.training.describe import density_words

Stamp = tuple[int, int]


@dataclass
class Entry:
    """A job with its state and its last row of metrics.csv, as of the last refresh."""

    job: Job
    state: str
    row: dict[str, str] = field(default_factory=dict)
    label: str = ""
    stamp: Stamp = (0, 0)

    @property
    def has_ended(self) -> bool:
        """Return whether the run is finished or failed."""
        return self.state in (FINISHED, FAILED)

    @property
    def is_to_do(self) -> bool:
        """Return whether the sweep runs this job.

        It does not run finished jobs, nor failed ones with retry=none, unless overwrite is set.
        """
        config = self.job.config
        if self.state == FAILED:
            return config.overwrite or config.retry != "none"
        return config.overwrite or self.state != FINISHED

    @property
    def is_running(self) -> bool:
        """Return whether a process is running the job now."""
        return self.state == RUNNING and holder(self.job.folder) is not None

    @property
    def error(self) -> Any:
        """Return the error of a failed run, one line."""
        return read_json(self.job.folder / STATUS_FILE).get("error")

    @property
    def seconds(self) -> float:
        """Return the training time of a finished run."""
        return read_json(self.job.folder / SUMMARY_FILE).get("total_seconds") or 0

    def reopen(self) -> None:
        """Treat an ended job as interrupted until its run folder changes."""
        self.state, self.stamp = INTERRUPTED, _stamp(self.job.folder)

    def refresh(self) -> bool:
        """Read the run folder if its status or metrics have changed; return whether they have."""
        folder = self.job.folder
        stamp = _stamp(folder)
        if stamp == self.stamp:
            return False
        self.stamp, self.row = stamp, last_row(folder / METRICS_FILE)
        self.state = read_json(folder / STATUS_FILE).get("state") or self.state
        return True


def read_entries(jobs: Sequence[Job], keys: Sequence[str] = ()) -> list[Entry]:
    """Return an entry for each job, labelled by the options `keys`, or by those that differ.

    Raise InputError for a folder that holds another run.
    """
    labels = run_labels([job.config for job in jobs], keys)
    return [
        Entry(job, RunFolder(job.folder, job.config).state(), label=label)
        for job, label in zip(jobs, labels, strict=True)
    ]


def estimate_seconds(entries: Sequence[Entry], jobs: Sequence[Job]) -> float | None:
    """Return the training time of `jobs`, by the finished entries with the same model and data.

    None where a job has no such entry.
    """
    seconds: dict[tuple[str, str], list[float]] = {}  # per epoch, by model and data
    for entry in entries:
        summary = read_json(entry.job.folder / SUMMARY_FILE) if entry.state == FINISHED else {}
        if summary.get("total_seconds") and summary.get("epoch"):
            measured = seconds.setdefault(_model_and_data(entry.job), [])
            measured.append(summary["total_seconds"] / summary["epoch"])
    total = 0.0
    for job in jobs:
        if _model_and_data(job) not in seconds:
            return None
        measured = seconds[_model_and_data(job)]
        total += rounds_of(job.config).total * sum(measured) / len(measured)
    return total


def shortened(label: str, width: int) -> str:
    """Return a label of at most `width` characters, its middle replaced by "…" where it is longer.

    The end stays, since runs often differ in the seed only.
    """
    if len(label) <= width:
        return label
    end = (width - 1) // 2
    return f"{label[: width - 1 - end]}…{label[-end:]}"


def progress_text(entry: Entry) -> str:
    """Return epoch, figures and remaining time of a running job."""
    epochs = rounds_of(entry.job.config).total
    epoch = int(entry.row.get("epoch") or 0)
    words = [f"epoch {epoch:>{len(str(epochs))}}/{epochs}", *_figures(entry.row)]
    if epoch:
        words.append(f"{duration((epochs - epoch) * float(entry.row['seconds'])):>6} left")
    return "  ".join(words)


def result_text(entry: Entry) -> str:
    """Return the figures and the training time of an ended job, or its error."""
    if entry.state == FAILED:
        return f"failed: {entry.error}"
    return "  ".join([*_figures(entry.row), duration(entry.seconds)])


def _figures(row: dict[str, str]) -> list[str]:
    words = []
    headline = task_of(row).headline
    if value := row.get(headline.column()):
        words.append(f"{headline.title} {headline.shown(float(value), 7)}")
    if row.get("density"):
        model = float(row["density_model"]) if row.get("density_model") else None
        words.append(density_words(float(row["density"]), model, style="7.2%"))
    return words


def _model_and_data(job: Job) -> tuple[str, str]:
    return job.config.model.name, job.config.data.name


def _stamp(folder: Path) -> Stamp:
    """Return the modification times of a run's status and metrics, 0 for a file that is missing."""
    return _modified_at(folder / STATUS_FILE), _modified_at(folder / METRICS_FILE)


def _modified_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
