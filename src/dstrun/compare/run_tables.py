"""Reads what runs have left into tidy pandas tables, whatever state the folders are in.

    runs    a row a run: its settings, how it stands, the figures of its last epoch
    epochs  a row per run and epoch: metrics.csv
    layers  a row per run, moment and layer: layers.csv

A run is called by its path below the folder that was asked for. Files are read once, and again when
they have changed; nothing outside the folders is read, and no folder makes reading stop: what
cannot be used is in `notes`. Knows config and identity (which options apply to a run), status
(whether its process lives), files, frames, tracking and errors."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dstrun.compare.csv_reader import Frame, Kind, read, stacked
from dstrun.config.check import check
from dstrun.config.options import OPTIONS, flat, value_of
from dstrun.runs.identity import SETTINGS, applies, settings
from dstrun.runs.metrics import ADDED, LAYERS, METRICS, STEERED, VALIDATION
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, changed_files, holder
from dstrun.system.errors import InputError, error_line, printable
from dstrun.system.files import is_file, read_json

HOW_TO_GET_SOME = "`dstrun sweep=quick` makes some in outputs/quick"
FILES = ("config.yaml", "status.json", "metrics.csv", "summary.json")
ABOUT = ("run", "group", "folder", "setting", "state", "error", "device_name", "created", "ended")
TOTALS = ("kept", "total", "parameters", "parameters_kept", "total_seconds")
FIGURES = tuple(column for column in (*METRICS, *VALIDATION, *TOTALS) if column != "seconds")
SHOWN = (*SETTINGS, "name", "device", "threads")  # the options that a table of runs has
NUMBERS = (*FIGURES, *(key for key in SHOWN if OPTIONS[key].type in (int, float)))
METRICS_CSV = Kind((*METRICS, *VALIDATION, *STEERED), optional=VALIDATION + STEERED + ADDED)
LAYERS_CSV = Kind(LAYERS, text="layer")
Stamp = tuple[tuple[int, int, int], ...]


class Run:
    """One run's folder as it was when last read. `row` is empty for a folder that is none of
    dstrun's."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.row: dict[str, Any] = {}
        self.notes: list[str] = []
        self.epochs = self.layers = pd.DataFrame()
        self._stamps: dict[str, Stamp] = {}

    def changed(self, purpose: str, files: Sequence[str]) -> bool:
        """Whether one of the files is another than when this was last asked for that purpose."""
        stamp = _stamp(self.folder, files)
        before, self._stamps[purpose] = self._stamps.get(purpose), stamp
        return stamp != before

    def take(self, epochs: Frame) -> None:
        """Reads the folder, whose metrics.csv has been read."""
        self.notes, self.epochs = list(epochs.notes), epochs.rows
        try:
            self.row = self._read()
        except Exception as error:  # whatever a folder holds, it costs itself only
            self.notes, self.row = [f"cannot be read: {error_line(error)}"], {}

    def look(self) -> bool:
        """Whether the process of a run that says running has died without a word since last time,
        or is back."""
        if self.row.get("said") != RUNNING:
            return False
        state = (
            RUNNING if is_file(self.folder / "train.log") and holder(self.folder) else INTERRUPTED
        )
        before, self.row["state"] = self.row["state"], state
        return state != before

    def status(self) -> dict[str, Any]:
        """What status.json says; nothing where it is missing or damaged."""
        return self._json("status.json")

    def text(self, name: str, tail: int = 1 << 16) -> str:
        """The end of one of the run's files, so many bytes of it; '' for one that is not there."""
        try:
            if not is_file(self.folder / name):
                return ""
            with (self.folder / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - tail))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _read(self) -> dict[str, Any]:
        status, summary = self.status(), self._json("summary.json")
        self.notes += changed_files(
            self.folder, status, ("config.yaml", "metrics.csv", "summary.json")
        )
        config, said = self._config(), status.get("state") or (FINISHED if summary else INTERRUPTED)
        if "reg" not in config and status.get("state") not in (
            RUNNING,
            FINISHED,
            FAILED,
            INTERRUPTED,
        ):
            self.notes = ["config.yaml: expected a config of dstrun's"]
            return {}
        told = {key: status.get(key) for key in ("error", "device_name", "created", "ended")}
        about = {key: None if value is None else printable(value) for key, value in told.items()}
        about |= {
            "run": self.name,
            "group": self._group(),
            "folder": str(self.folder),
            "state": printable(said),
        }
        last = self.epochs.iloc[-1].to_dict() if len(self.epochs) else {}
        seconds = self.epochs.seconds.sum() if len(self.epochs) else None
        return (
            about
            | self._options(config)
            | last
            | {**{key: summary.get(key) for key in TOTALS}, "total_seconds": seconds, "said": said}
        )

    def _group(self) -> str:
        """The folders above the run's, below what was asked for; the last of them where that is
        none."""
        above = str(Path(self.name).parent)
        return printable(self.folder.parent.name if above == "." else above)

    def _config(self) -> dict[str, Any]:
        try:
            config = yaml.load((self.folder / "config.yaml").read_bytes(), yaml.CSafeLoader)
            return config if isinstance(config, dict) else {}
        except Exception as error:  # whatever YAML makes of a damaged file
            self.notes.append(f"config.yaml: {error_line(error)}")
            return {}

    def _options(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The options that apply to the run, and in `setting` all that make its figures but the
        seed."""
        given = flat(config)
        known = {key: value for key, value in given.items() if key in OPTIONS}
        self.notes += [
            f"config.yaml: {key} is no option of this version" for key in given if key not in known
        ]
        try:
            checked = check(known)
        except InputError as error:
            self.notes.append(f"config.yaml: {error}")
            setting = {key: value for key, value in given.items() if key != "seed"}
        else:
            known = {key: value_of(checked, key) for key in OPTIONS if applies(checked, key)}
            setting = {key: value for key, value in settings(checked).items() if key != "seed"}
            setting |= {key: given[key] for key in given if key not in OPTIONS}
            if checked.reg.is_steered:
                del known["reg.alpha"]  # where it started; its course is in metrics.csv
        return {key: _shown(value) for key, value in known.items() if key in SHOWN} | {
            "setting": json.dumps(
                {str(key): value for key, value in sorted(setting.items())}, default=str
            )
        }

    def _json(self, name: str) -> dict[str, Any]:
        return read_json(self.folder / name) if is_file(self.folder / name) else {}


class Store:
    """The runs below some folders. InputError for a folder that is not there."""

    def __init__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if not path.is_dir():
                there = "a file" if path.exists() else "nothing there"
                raise InputError(
                    f"{path}: got {there}, expected a folder of runs; {HOW_TO_GET_SOME}"
                )
        self._roots = [path.resolve() for path in paths]
        self._base = Path(
            os.path.commonpath([root.parent if _is_run(root) else root for root in self._roots])
        )
        self._runs: dict[str, Run] = {}
        self.runs = _tabulated([])
        self.refresh()

    def refresh(self) -> set[str]:
        """Takes in what is new, changed or gone; the names of those runs."""
        there = {
            str(folder.relative_to(self._base)): folder
            for root in self._roots
            for folder in _folders(root)
        }
        touched = self._runs.keys() - there.keys()
        for name in touched:
            del self._runs[name]
        runs = [self._runs.setdefault(name, Run(name, folder)) for name, folder in there.items()]
        changed = [run for run in runs if run.changed("row", FILES)]
        for run, epochs in zip(
            changed, read([run.folder / "metrics.csv" for run in changed], METRICS_CSV), strict=True
        ):
            run.take(epochs)
        touched |= {run.name for run in changed} | {run.name for run in runs if run.look()}
        touched |= {run.name for run in runs if run.changed("touched", ["layers.csv"])}
        if touched:
            self.runs = _tabulated([run.row for run in self._runs.values() if run.row])
        return touched

    @property
    def notes(self) -> dict[str, list[str]]:
        """By run, what could not be read of it."""
        return {name: run.notes for name, run in self._runs.items() if run.notes}

    def run(self, name: str) -> Run | None:
        """The run of that name, if there is one."""
        return self._runs.get(name)

    def status(self, name: str) -> dict[str, Any]:
        """What status.json of a run says; nothing of a run that is not there."""
        return self._runs[name].status() if name in self._runs else {}

    def epochs(self, names: Iterable[str] | None = None) -> pd.DataFrame:
        """metrics.csv of the named runs, or of all, with the column `run`."""
        return stacked({run.name: run.epochs for run in self._chosen(names)}, METRICS_CSV)

    def layers(self, names: Iterable[str] | None = None) -> pd.DataFrame:
        """layers.csv of the named runs, or of all, with the columns `run` and `at`, the epochs
        done."""
        runs = list(self._chosen(names))
        changed = [run for run in runs if run.changed("layers", ["layers.csv"])]
        for run, rows in zip(
            changed, read([run.folder / "layers.csv" for run in changed], LAYERS_CSV), strict=True
        ):
            run.layers = rows.rows
            notes = [*rows.notes, *changed_files(run.folder, run.status(), ["layers.csv"])]
            run.notes += [note for note in notes if note not in run.notes]
        table = stacked({run.name: run.layers for run in runs}, LAYERS_CSV)
        ends = {run.name: run.epochs.iloc[-1] for run in runs if len(run.epochs)}
        steps = {name: last["step"] / last["epoch"] for name, last in ends.items() if last["epoch"]}
        at = table["step"] / table["run"].map(steps).astype(float)
        begun = (
            table["epoch"] - 1 + table["step"] / (table["step"].max() + 1)
        )  # where no epoch is done yet
        return table.assign(at=at.fillna(begun))

    def _chosen(self, names: Iterable[str] | None) -> Iterator[Run]:
        for name in self.runs.index if names is None else names:
            if name in self._runs:
                yield self._runs[name]


def _tabulated(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a run, indexed by its name, in the order in which they were begun."""
    columns = [*ABOUT, *SHOWN, *FIGURES]
    ordered = sorted(rows, key=lambda row: (row["created"] or "~", row["run"]))
    table = pd.DataFrame(
        [[row.get(column) for column in columns] for row in ordered], columns=columns, dtype=object
    )
    table = table.assign(**{column: table[column].map(_number).astype(float) for column in NUMBERS})
    return table.set_index("run", drop=False).rename_axis(None)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of runs below one, itself included; links are not followed, and a run holds no
    runs."""
    for place, below, files in os.walk(root):
        if _has_run(files):
            yield Path(place)
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]


def _has_run(files: Sequence[str]) -> bool:
    return "config.yaml" in files and not {"status.json", "metrics.csv"}.isdisjoint(files)


def _is_run(folder: Path) -> bool:
    return _has_run([file.name for file in folder.iterdir()])


def _stamp(folder: Path, names: Sequence[str]) -> Stamp:
    """Changes when one of the files does."""

    def of(name: str) -> tuple[int, int, int]:
        try:
            there = (folder / name).lstat()
        except OSError:
            return 0, 0, 0
        return there.st_mtime_ns, there.st_size, there.st_ino

    return tuple(of(name) for name in names)


def _number(value: Any) -> float:
    """A cell as a number; NaN for what is none, or none that a computer counts with."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shown(value: Any) -> Any:
    """An option's value as a cell: a number, a bool, None or printable text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return printable(json.dumps(value, default=str) if isinstance(value, list | dict) else value)
