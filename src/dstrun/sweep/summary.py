"""summary.csv: a row for every run of a group, rewritten as runs end.

    run, state, what differs between the runs, the figures of the last epoch, error

Knows config, identity, ledger, status and tracking; no torch, and no pandas, which take a second to
load."""

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.runs.folder import read_config
from dstrun.runs.identity import NAMED_BY_OTHERS, applies, settings
from dstrun.runs.status import FINISHED, INTERRUPTED, RUNNING, holder
from dstrun.system.files import csv_text, read_json, write_text

FILE = "summary.csv"
ALWAYS = ("model.name", "data.name", "reg.method", "reg.alpha", "seed")
FIGURES = (
    "epoch",
    "step",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "density",
    "density_model",
    "flops_fraction",
    "kept",
    "total",
    "parameters",
    "parameters_kept",
    "thresholds",
    "penalty",
    "total_seconds",
)


class Summary:
    """The rows of one group's folder. `configs` are those that are known already, by folder."""

    def __init__(self, group: Path, configs: Mapping[Path, Config]) -> None:
        self._group, self._configs = group, dict(configs)
        self._rows: dict[Path, dict[str, Any]] = {
            folder: {} for folder in configs
        }  # in their order, before all others
        self._read_at: dict[Path, int] = {}

    def _read(self) -> None:
        """Takes in what is new in the group's folder, whoever has put it there."""
        for file in sorted(self._group.glob("*/status.json")):
            with suppress(
                OSError
            ):  # a folder that somebody has just taken away, or that is not ours to read
                changed = file.stat().st_mtime_ns
                if self._read_at.get(file.parent) != changed:
                    self._read_run(file.parent)
                    self._read_at[file.parent] = changed

    def _read_run(self, folder: Path) -> None:
        config = self._configs.get(folder) or read_config(folder)
        if config is None:
            return
        self._configs[folder] = config
        status = read_json(folder / "status.json")
        state = status.get("state")
        if state == RUNNING and not holder(folder):
            state = INTERRUPTED
        figures = read_json(folder / "summary.json") if state == FINISHED else {}
        self._rows[folder] = {
            "run": folder.name,
            "state": state,
            **figures,
            "error": status.get("error"),
        }

    def write(self) -> None:
        """Puts the file in place, unless it says the same already. OSError where it cannot be
        written."""
        self._group.mkdir(parents=True, exist_ok=True)
        directory = os.open(self._group, os.O_RDONLY)
        try:
            with suppress(
                OSError
            ):  # a disk without locks; two copies of a sweep would hardly write in one moment
                fcntl.flock(directory, fcntl.LOCK_EX)
            self._read()
            self._write()
        finally:
            os.close(directory)

    def _write(self) -> None:
        options = self._options()
        columns = ["run", "state", *options, *FIGURES, "error"]
        rows = [
            row | {key: _shown(self._configs[folder], key) for key in options}
            for folder, row in self._rows.items()
            if row
        ]
        text = csv_text([columns, *([row.get(column) for column in columns] for row in rows)])
        file = self._group / FILE
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)

    def _options(self) -> list[str]:
        """The options to show: some always, and those in which runs differ."""
        every = [settings(self._configs[folder]) for folder, row in self._rows.items() if row]
        first = every[0] if every else {}
        differing = {
            key for one in every for key in {**first, **one} if first.get(key) != one.get(key)
        }
        return [
            key for key in OPTIONS if key in ALWAYS or key in differing.difference(NAMED_BY_OTHERS)
        ]


def _shown(config: Config, key: str) -> Any:
    value = value_of(config, key) if applies(config, key) else None
    return json.dumps(value) if isinstance(value, list | dict) else value
