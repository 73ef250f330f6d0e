"""summary.csv: a row for every run of a group, rewritten as runs end.

    run, state, what differs between the runs, the figures of the last epoch, error

Knows config, identity, ledger, status and tracking; no torch, and no pandas, which take a second to load.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dstrun.config import OPTIONS, Config, value_of
from dstrun.identity import applies, settings
from dstrun.ledger import config_there
from dstrun.status import RUNNING, holder
from dstrun.tracking import read_json, write_whole

FILE = "summary.csv"
ALWAYS = ("model.name", "data.name", "reg.method", "reg.alpha", "seed")
FIGURES = (
    "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss",
    "test_accuracy", "density", "flops_fraction", "kept", "total", "parameters", "parameters_kept", "thresholds",
    "penalty", "total_seconds",
)  # fmt: skip


class Summary:
    """The rows of one group's folder. `configs` are those that are known already, by folder."""

    def __init__(self, group: Path, configs: Mapping[Path, Config]) -> None:
        self._group, self._configs = group, dict(configs)
        self._rows: dict[Path, dict[str, Any]] = {}
        there = sorted(file.parent for file in group.glob("*/config.yaml"))
        for folder in dict.fromkeys([*configs, *there]):
            self.read(folder)

    def read(self, folder: Path) -> dict[str, Any]:
        """Takes in a run's folder as it stands now, and gives its row; {} for a folder without a run."""
        config = self._configs.get(folder) or config_there(folder)
        if config is None or not (folder / "config.yaml").is_file():
            return {}
        self._configs[folder] = config
        status = read_json(folder / "status.json")
        state = status.get("state")
        if state == RUNNING and not holder(folder):
            state = "interrupted"
        figures = read_json(folder / "summary.json") if state == "finished" else {}
        self._rows[folder] = {"run": folder.name, "state": state, **figures, "error": status.get("error")}
        return self._rows[folder]

    def write(self) -> None:
        """Puts the file in place, unless it says the same already. OSError where it cannot be written."""
        options = self._options()
        columns = ["run", "state", *options, *FIGURES, "error"]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for folder, row in self._rows.items():
            values = row | {key: _shown(self._configs[folder], key) for key in options}
            writer.writerow(["" if (value := values.get(column)) is None else value for column in columns])
        file = self._group / FILE
        if not file.is_file() or file.read_text() != text.getvalue():
            self._group.mkdir(parents=True, exist_ok=True)
            write_whole(file, text.getvalue())

    def _options(self) -> list[str]:
        """The options to show: some always, and those in which runs differ."""
        every = [settings(self._configs[folder]) for folder in self._rows]
        first = every[0] if every else {}
        differing = {key for one in every for key in {**first, **one} if first.get(key) != one.get(key)}
        named = {"model.builder", "model.args", "data.builder", "data.args"}  # the names stand for them
        return [key for key in OPTIONS if key in ALWAYS or key in differing - named]


def _shown(config: Config, key: str) -> Any:
    value = value_of(config, key) if applies(config, key) else None
    return json.dumps(value) if isinstance(value, list | dict) else value
