"""Runs started by the command line: read, stop, kill and compare them."""

import csv
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dstrun.training.console import RunConsole
from tests.helpers.child import ended, forked
from tests.helpers.commands import Command, Outcome

QUICK = ["schedule.epochs=2", "data.train_limit=200", "data.test_limit=100"]
TIMES = {"seconds", "images_per_second", "data_wait"}
LONG = [
    "schedule.epochs=4",
    "log.steps=3",
    "checkpoint.every=0",
    "data.validation=0.2",
    "data.train_limit=800",
]

SECRET = "s3cr3t-0123456789abcdef"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def without_times(file: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows(file)]


def only_run(group: str = "outputs/single") -> Path:
    (folder,) = Path(group).iterdir()
    return folder


def only_run_named(beginning: str) -> Path:
    (folder,) = Path("outputs/single").glob(f"{beginning}-*")
    return folder


def stop_at(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    number: int,
    words: Sequence[str] = LONG,
) -> Outcome:
    """Start or resume the run, and send its process the signal after this many steps."""
    show = RunConsole.show_step

    def after_the_signal(console: RunConsole, so_many: int, figures: Any) -> None:
        if so_many == step:
            os.kill(os.getpid(), number)
        show(console, so_many, figures)

    with monkeypatch.context() as patch:
        patch.setattr(RunConsole, "show_step", after_the_signal)
        return command(*words, "group=broken")


def kill_in_epoch(epoch: int, words: Sequence[str] = LONG) -> None:
    """Resume the run in a process of its own and kill it in the middle of the epoch."""
    process = forked([*words, "group=broken", "threads=1"], before=lambda: None)
    layers = only_run("outputs/broken") / "layers.csv"
    while layers.read_text().count(f"\n{epoch},") < 4:
        assert not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT), (
            "it has ended"
        )
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL


def the_run(group: str) -> Path:
    (folder,) = (folder for folder in Path("outputs", group).iterdir() if folder.is_dir())
    return folder


def assert_equal(broken: Path, whole: Path) -> None:
    """Compare two runs: the same rows and the same weights, bit for bit.

    The first run must have all files of the second.
    """
    for name in ("metrics.csv", "layers.csv"):
        assert without_times(broken / name) == without_times(whole / name)
    states = [
        torch.load(run / "checkpoint.pt", weights_only=True)["model"] for run in (broken, whole)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    assert {file.name for file in broken.iterdir()} >= {file.name for file in whole.iterdir()}


def assert_broken_equals_whole() -> None:
    """Call `assert_equal` for the only runs of the two groups."""
    assert_equal(only_run("outputs/broken"), only_run("outputs/whole"))
