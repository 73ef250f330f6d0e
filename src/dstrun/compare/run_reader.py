"""The folder of one run, read into a row of options and figures, whatever state it is in."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dstrun.compare.csv_reader import Frame
from dstrun.compare.labels import EPOCHS
from dstrun.config.check import check
from dstrun.config.options import DSTRUN, OPTIONS, Config, flat, value_of
from dstrun.config.sparsity import asked_density
from dstrun.runs.identity import SETTINGS, applies, settings
from dstrun.runs.rounds import rounds_of
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, changed_files, holder
from dstrun.runs.target_density import as_asked
from dstrun.system.errors import InputError, error_line, printable
from dstrun.system.files import is_file, read_json
from dstrun.system.run_files import (
    CONFIG_FILE,
    LOG_FILE,
    METRICS_FILE,
    STATUS_FILE,
    SUMMARY_FILE,
)

ROW_FILES = (CONFIG_FILE, STATUS_FILE, METRICS_FILE, SUMMARY_FILE)  # those that make a row
FILES_WITH_DIGEST = (CONFIG_FILE, METRICS_FILE, SUMMARY_FILE)
STATES = (RUNNING, FINISHED, FAILED, INTERRUPTED)
TOTALS = ("kept", "total", "parameters", "parameters_kept", "total_seconds")
SHOWN_OPTIONS = (*SETTINGS, "name", "device", "threads")  # the options in a table of runs
TAIL = 1 << 16  # bytes of a text file that are shown

Stamp = tuple[tuple[int, int, int], ...]


class Run:
    """The folder of a run, as it was when it was last read.

    `row` has an option or figure by the name of its column; it is empty for a folder that is no
    run of dstrun's. `notes` says what could not be read.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.row: dict[str, Any] = {}
        self.notes: list[str] = []
        self.epochs = self.layers = pd.DataFrame()
        self._stamps: dict[str, Stamp] = {}

    def has_changed(self, purpose: str, files: Sequence[str]) -> bool:
        """Return whether one of the files has changed since the last call with this purpose."""
        stamp = _stamp(self.folder, files)
        before, self._stamps[purpose] = self._stamps.get(purpose), stamp
        return stamp != before

    def read_row(self, epochs: Frame) -> None:
        """Read the folder into `row`; `epochs` is its metrics.csv."""
        self.notes, self.epochs = list(epochs.notes), epochs.rows
        try:
            self.row = self._read()
        except Exception as error:  # no folder may stop the reading of the others
            self.notes, self.row = [f"cannot be read: {error_line(error)}"], {}

    def update_state(self) -> bool:
        """Return whether the state of a run that is recorded as running has changed.

        It is interrupted while the process of the run has gone.
        """
        if self.row.get("recorded_state") != RUNNING:
            return False
        is_alive = is_file(self.folder / LOG_FILE) and holder(self.folder)
        before, self.row["state"] = self.row["state"], RUNNING if is_alive else INTERRUPTED
        return self.row["state"] != before

    def status(self) -> dict[str, Any]:
        """Return the content of status.json; {} if it is missing or damaged."""
        return self._read_json(STATUS_FILE)

    def text(self, name: str, tail: int = TAIL) -> str:
        """Return the last `tail` bytes of a file of the run as text; '' if there is no such file.

        A link is no file of the run.
        """
        try:
            if not is_file(self.folder / name):
                return ""
            with (self.folder / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - tail))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _read(self) -> dict[str, Any]:
        """Return the row; {} for a folder that is no run of dstrun's."""
        status, summary = self.status(), self._read_json(SUMMARY_FILE)
        self.notes += changed_files(self.folder, status, FILES_WITH_DIGEST)
        config = self._read_config()
        if "reg" not in config and status.get("state") not in STATES:
            self.notes = [f"{CONFIG_FILE}: expected a config of dstrun's"]
            return {}
        state = status.get("state") or (FINISHED if summary else INTERRUPTED)
        row = self._facts(status) | {"state": printable(state), "recorded_state": state}
        return row | self._options(config, status) | self._figures(summary)

    def _facts(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return the name and place of the run, and the facts in status.json as printable text."""
        facts: dict[str, Any] = {"run": self.name, "folder": str(self.folder)}
        facts["group"] = self._group()
        for key in ("error", "device_name", "created", "ended"):
            value = status.get(key)
            facts[key] = None if value is None else printable(value)
        return facts

    def _group(self) -> str:
        """Return the folders between the one asked for and the run's.

        If there are none: the one above the run's.
        """
        above = str(Path(self.name).parent)
        return printable(self.folder.parent.name if above == "." else above)

    def _figures(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Return the figures of the last epoch, the totals, and the seconds of all epochs."""
        has_epochs = len(self.epochs) > 0
        figures = self.epochs.iloc[-1].to_dict() if has_epochs else {}
        for key in TOTALS:
            figures[key] = summary.get(key)
        figures["total_seconds"] = self.epochs["seconds"].sum() if has_epochs else None
        return figures

    def _options(self, config: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that apply to the run, and `setting`.

        The latter is every option that can change its figures, except the seed, as text.
        `schedule.epochs` is that of all rounds, which for an installed package's method only
        status.json has.
        """
        given = flat(config)
        known = {key: value for key, value in given.items() if key in OPTIONS}
        unknown = {key: value for key, value in given.items() if key not in OPTIONS}
        self.notes += [f"{CONFIG_FILE}: {key} is no option of this version" for key in unknown]
        try:
            checked = as_asked(check(known))
        except InputError as error:
            self.notes.append(f"{CONFIG_FILE}: {error}")
            setting = dict(given)
        else:
            options, setting = _applicable_options(checked), settings(checked) | unknown
            options[EPOCHS] = status.get("epochs", rounds_of(checked).total)
            known = options if checked.loop == DSTRUN else _given_options(options, known)
        setting.pop("seed", None)
        options = {key: _cell(value) for key, value in known.items() if key in SHOWN_OPTIONS}
        return options | {"setting": _as_json(setting)}

    def _read_config(self) -> dict[str, Any]:
        """Return the content of config.yaml; {} and a note if it cannot be read."""
        try:
            config = yaml.load((self.folder / CONFIG_FILE).read_bytes(), yaml.CSafeLoader)
            return config if isinstance(config, dict) else {}
        except Exception as error:  # a damaged file can raise anything
            self.notes.append(f"{CONFIG_FILE}: {error_line(error)}")
            return {}

    def _read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file; {} if it is missing, damaged or a link."""
        return read_json(self.folder / name) if is_file(self.folder / name) else {}


def _applicable_options(config: Config) -> dict[str, Any]:
    """Return the options that apply to a run, without an α that is adjusted while it trains.

    `reg.density` is the density asked for, of every method.
    """
    options = {key: value_of(config, key) for key in OPTIONS if applies(config, key)}
    options["reg.density"] = asked_density(config.reg) or None
    if config.reg.is_steered:
        del options["reg.alpha"]  # where it started; its course is in metrics.csv
    return options


def _given_options(options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the options that the config of another training loop has: the rest is not known."""
    return {key: value for key, value in options.items() if key in given}


def _as_json(setting: Mapping[str, Any]) -> str:
    """Return a setting as text that is equal for equal settings."""
    return json.dumps({str(key): value for key, value in sorted(setting.items())}, default=str)


def _cell(value: Any) -> Any:
    """Return the value of an option as a cell: a number, a bool, None or printable text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return printable(json.dumps(value, default=str) if isinstance(value, list | dict) else value)


def _stamp(folder: Path, names: Sequence[str]) -> Stamp:
    """Return time, size and inode of each file, zeros for one that is missing."""
    stamps = []
    for name in names:
        try:
            stat = (folder / name).lstat()
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(stamps)
