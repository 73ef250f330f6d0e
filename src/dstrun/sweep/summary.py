"""summary.csv: one row for every run of a group, rewritten when a run ends.

    run, state, options that are always shown or differ, figures of the last epoch, error

No pandas, which takes a second to import.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.runs.folder import read_config
from dstrun.runs.identity import NAMED_BY_OTHERS, applies, settings
from dstrun.runs.metrics import AFTER, BEFORE, SPLITS
from dstrun.runs.status import FINISHED, INTERRUPTED, RUNNING, holder
from dstrun.runs.tasks import CLASSES, TASKS, task_of
from dstrun.system.files import csv_text, read_json, write_text
from dstrun.system.run_files import CONFIG_FILE, STATUS_FILE, SUMMARY_FILE

FILE = "summary.csv"
ALWAYS_SHOWN = ("model.name", "data.name", "reg.method", "reg.alpha", "seed")
TOTALS = ("kept", "total", "parameters", "parameters_kept", "thresholds")
OF_THE_COURSE = ("lr", "penalty", "seconds", "images_per_second")  # of an epoch, not of a run
PROBE_BYTES = 1 << 18  # that must be free where runs are to be written


def _figures(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns of figures: those of metrics.csv, the test's after the validation's.

    They are those of the tasks of the rows that have figures.
    """
    done = [task_of(row).name for row in rows if "epoch" in row]
    tasks = [task for task in TASKS.values() if task.name in done] or [CLASSES]
    columns = [*BEFORE]
    for split in SPLITS:
        for task in tasks:
            columns += task.columns(split)
    columns += AFTER
    of_epoch = [column for column in dict.fromkeys(columns) if column not in OF_THE_COURSE]
    return [*of_epoch, *TOTALS, "penalty", "total_seconds"]


class Summary:
    """The rows of a group's summary.csv. `configs`: those that are known already, by run folder.

    The runs of `configs` come first, in their order.
    """

    def __init__(self, group: Path, configs: Mapping[Path, Config]) -> None:
        self._group, self._configs = group, dict(configs)
        self._file = group / FILE
        self._rows: dict[Path, dict[str, Any]] = {folder: {} for folder in configs}
        self._read_at: dict[Path, int] = {}  # modification time of status.json, by run folder

    def write(self) -> None:
        """Read new results and write the file if its text changes. Raise OSError where that
        fails.
        """
        self._group.mkdir(parents=True, exist_ok=True)
        with _locked(self._group):
            self._read_runs()
            text = self._text()
            if not self._file.is_file() or self._file.read_text(encoding="utf-8") != text:
                write_text(self._file, text)

    def probe(self) -> None:
        """Raise OSError where the small files of a run could not be written to the group."""
        file = self._group / "trial.new"
        try:
            file.write_bytes(bytes(PROBE_BYTES))
        finally:
            file.unlink(missing_ok=True)

    def remove_if_unused(self) -> None:
        """Remove the file and the empty folders around it where no run has started."""
        if not any(self._group.glob(f"*/{CONFIG_FILE}")):
            with suppress(OSError):  # does not exist, or is not empty
                self._file.unlink(missing_ok=True)
                self._group.rmdir()
                self._group.parent.rmdir()

    def _read_runs(self) -> None:
        """Read the runs in the group's folder whose status has changed, of other commands too."""
        for file in sorted(self._group.glob(f"*/{STATUS_FILE}")):
            with suppress(OSError):  # a folder that was just removed, or is not readable
                changed = file.stat().st_mtime_ns
                if self._read_at.get(file.parent) != changed:
                    self._read_run(file.parent)
                    self._read_at[file.parent] = changed

    def _read_run(self, folder: Path) -> None:
        config = self._configs.get(folder) or read_config(folder)
        if config is None:
            return
        self._configs[folder] = config
        status = read_json(folder / STATUS_FILE)
        state = status.get("state")
        if state == RUNNING and not holder(folder):
            state = INTERRUPTED
        figures = read_json(folder / SUMMARY_FILE) if state == FINISHED else {}
        ends = {"run": folder.name, "state": state}
        self._rows[folder] = {**ends, **figures, "error": status.get("error")}

    def _text(self) -> str:
        options = self._shown_options()
        columns = ["run", "state", *options, *_figures(self._rows.values()), "error"]
        lines: list[list[Any]] = [[*columns]]
        for folder, row in self._rows.items():
            if row:
                config = self._configs[folder]
                cells = row | {key: _shown(config, key) for key in options}
                lines.append([cells.get(column) for column in columns])
        return csv_text(lines)

    def _shown_options(self) -> list[str]:
        """Return the options with a column: those always shown, and those in which runs differ."""
        runs = [settings(self._configs[folder]) for folder, row in self._rows.items() if row]
        differing: set[str] = set()
        for run in runs:
            for key in {**runs[0], **run}:
                if runs[0].get(key) != run.get(key):
                    differing.add(key)
        shown = differing.difference(NAMED_BY_OTHERS).union(ALWAYS_SHOWN)
        return [key for key in OPTIONS if key in shown]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, so that two copies of a sweep do not write at the same time.

    On a file system without locks, go on without.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _shown(config: Config, key: str) -> Any:
    value = value_of(config, key) if applies(config, key) else None
    return json.dumps(value) if isinstance(value, list | dict) else value
