"""Tables of all runs below some folders, whatever state the folders are in.

    runs    a row per run: its options, its state, the figures of its last epoch
    epochs  a row per run and epoch: metrics.csv
    layers  a row per run, step and layer: layers.csv

The name of a run is its path below the folder that was asked for. Files are read once, and again
when they have changed. Nothing outside the folders is read. No folder stops the reading of the
others: what cannot be used is listed in `notes`.
"""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dstrun.compare.csv_reader import Kind, read_files, stack
from dstrun.compare.run_reader import ROW_FILES, SHOWN_OPTIONS, TOTALS, Run
from dstrun.config.options import OPTIONS
from dstrun.runs.metrics import ADDED, ADDED_LAYERS, LAYERS, METRICS, OF_TASKS, QUANTILES, STEERED
from dstrun.runs.status import changed_files
from dstrun.system.errors import InputError
from dstrun.system.run_files import CONFIG_FILE, LAYERS_FILE, METRICS_FILE, STATUS_FILE

HOW_TO_GET_SOME = "`dstrun sweep=quick` makes some in outputs/quick"
FACTS = ("run", "group", "folder", "setting", "state", "error", "device_name", "created", "ended")
COLUMNS = tuple(dict.fromkeys((*METRICS, *OF_TASKS)))  # of metrics.csv, whatever the task
FIGURES = tuple(column for column in (*COLUMNS, *TOTALS) if column != "seconds")
NUMBERS = (*FIGURES, *(key for key in SHOWN_OPTIONS if OPTIONS[key].type in (int, float)))
LOSSES = ("train_loss", "test_loss")  # which a file of any task has
OF_SOME_TASKS = tuple(column for column in OF_TASKS if column not in LOSSES)
METRICS_CSV = Kind((*COLUMNS, *STEERED), optional=OF_SOME_TASKS + STEERED + ADDED)
# without quantiles, which one figure shows of a few runs: of 1,000 runs they take 0.3 GB
LAYERS_CSV = Kind(LAYERS[: -len(QUANTILES)], optional=ADDED_LAYERS, text="layer")
OF_THRESHOLDS = ("threshold_mean", "threshold_min", "threshold_max", *QUANTILES)
THRESHOLDS_CSV = Kind(("epoch", "step", "layer", *OF_THRESHOLDS), optional=QUANTILES, text="layer")


class Store:
    """The runs below some folders. Raise InputError for a path that is no folder."""

    def __init__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            _require_folder(path)
        self._roots = [path.resolve() for path in paths]
        parents = [root.parent if _is_run(root) else root for root in self._roots]
        self._base = Path(os.path.commonpath(parents))
        self._runs: dict[str, Run] = {}
        self.runs = _tabulate([])
        self.refresh()

    def refresh(self) -> set[str]:
        """Read what is new or has changed.

        Return the names of those runs, and of runs that are gone.
        """
        touched = self._update_runs()
        touched |= self._read_rows()
        for run in self._runs.values():
            has_new_state = run.update_state()
            if run.has_changed("touched", [LAYERS_FILE]) or has_new_state:
                touched.add(run.name)
        if touched:
            self.runs = _tabulate([run.row for run in self._runs.values() if run.row])
        return touched

    def _update_runs(self) -> set[str]:
        """Add new folders, drop those that are gone, and return the names of the latter."""
        folders: dict[str, Path] = {}
        for root in self._roots:
            for folder in _run_folders(root):
                folders[str(folder.relative_to(self._base))] = folder
        gone = self._runs.keys() - folders.keys()
        for name in gone:
            del self._runs[name]
        for name, folder in folders.items():
            if name not in self._runs:
                self._runs[name] = Run(name, folder)
        return gone

    def _read_rows(self) -> set[str]:
        """Read the rows whose files have changed, and return the names of their runs."""
        changed = [run for run in self._runs.values() if run.has_changed("row", ROW_FILES)]
        frames = read_files([run.folder / METRICS_FILE for run in changed], METRICS_CSV)
        for run, epochs in zip(changed, frames, strict=True):
            run.read_row(epochs)
        return {run.name for run in changed}

    @property
    def notes(self) -> dict[str, list[str]]:
        """What could not be read, by the name of the run."""
        return {name: run.notes for name, run in self._runs.items() if run.notes}

    def run(self, name: str) -> Run | None:
        """Return the run of that name; None if there is none."""
        return self._runs.get(name)

    def status(self, name: str) -> dict[str, Any]:
        """Return the content of a run's status.json; {} if there is no such run or file."""
        return self._runs[name].status() if name in self._runs else {}

    def epochs(self, names: Iterable[str] | None = None) -> pd.DataFrame:
        """Return metrics.csv of the named runs, or of all, with the column `run`."""
        return stack({run.name: run.epochs for run in self._named(names)}, METRICS_CSV)

    def layers(self, names: Iterable[str] | None = None) -> pd.DataFrame:
        """Return layers.csv of the named runs, or of all.

        With the columns `run` and `at`, the epochs done as a fraction.
        """
        runs = list(self._named(names))
        changed = [run for run in runs if run.has_changed("layers", [LAYERS_FILE])]
        frames = read_files([run.folder / LAYERS_FILE for run in changed], LAYERS_CSV)
        for run, frame in zip(changed, frames, strict=True):
            run.layers = frame.rows
            notes = [*frame.notes, *changed_files(run.folder, run.status(), [LAYERS_FILE])]
            run.notes += [note for note in notes if note not in run.notes]
        table = stack({run.name: run.layers for run in runs}, LAYERS_CSV)
        return table.assign(at=_epochs_done(table, runs))

    def thresholds(self, names: Iterable[str]) -> pd.DataFrame:
        """Return the thresholds in layers.csv of the named runs, with their quantiles.

        The columns `run` and `at` are those of `layers`. The files are read at every call.
        """
        runs = list(self._named(names))
        frames = read_files([run.folder / LAYERS_FILE for run in runs], THRESHOLDS_CSV)
        read = {run.name: frame.rows for run, frame in zip(runs, frames, strict=True)}
        table = stack(read, THRESHOLDS_CSV)
        return table.assign(at=_epochs_done(table, runs))

    def _named(self, names: Iterable[str] | None) -> Iterator[Run]:
        """Yield the runs of those names, or all in the order of the table."""
        for name in self.runs.index if names is None else names:
            if name in self._runs:
                yield self._runs[name]


def _epochs_done(layers: pd.DataFrame, runs: Sequence[Run]) -> pd.Series:
    """Return for each row of layers.csv how many epochs were done, as a fraction."""
    steps_per_epoch = {}
    for run in runs:
        if len(run.epochs) and run.epochs["epoch"].iloc[-1]:
            steps_per_epoch[run.name] = run.epochs["step"].iloc[-1] / run.epochs["epoch"].iloc[-1]
    done = layers["step"] / layers["run"].map(steps_per_epoch).astype(float)
    in_first_epoch = layers["epoch"] - 1 + layers["step"] / (layers["step"].max() + 1)
    return done.fillna(in_first_epoch)


def _tabulate(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of a row per run, indexed by name, in the order in which the runs began."""
    columns = [*FACTS, *SHOWN_OPTIONS, *FIGURES]
    ordered = sorted(rows, key=lambda row: (row["created"] or "~", row["run"]))
    cells = [list(map(row.get, columns)) for row in ordered]
    table = pd.DataFrame(cells, columns=columns, dtype=object)
    numbers = {column: table[column].map(_float_or_nan).astype(float) for column in NUMBERS}
    return table.assign(**numbers).set_index("run", drop=False).rename_axis(None)


def _float_or_nan(value: Any) -> float:
    """Return a cell as a float; NaN for what is no number, or too large for one."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _require_folder(path: Path) -> None:
    """Raise InputError for a path that is no folder."""
    if not path.is_dir():
        there = "a file" if path.exists() else "nothing there"
        raise InputError(f"{path}: got {there}, expected a folder of runs; {HOW_TO_GET_SOME}")


def _run_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of runs below one, itself included.

    Links and hidden folders are not followed, and folders in a run are not searched.
    """
    for place, below, files in os.walk(root):
        if _has_run(files):
            yield Path(place)
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]


def _has_run(files: Sequence[str]) -> bool:
    """Return whether files of these names are those of a run."""
    return CONFIG_FILE in files and not {STATUS_FILE, METRICS_FILE}.isdisjoint(files)


def _is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run."""
    return _has_run([file.name for file in folder.iterdir()])
