"""Runs that read their images when they need them."""

import json
from pathlib import Path

import pytest

from tests.helpers.commands import Command
from tests.helpers.data import image_files
from tests.helpers.runs import only_run, rows

WORDS = ["model=lenet5", "data=folder", "data.size=28", "schedule.batch_size=4", "data.stream=true"]


def trees(**counts: int) -> None:
    for part, count in counts.items():
        image_files(Path("birds", part), {"a": count, "b": count}, size=(40, 30))


def losses(group: str) -> list[tuple[str, str]]:
    found = rows(only_run(f"outputs/{group}") / "metrics.csv")
    return [(row["train_loss"], row["test_loss"]) for row in found]


def test_a_run_trains_on_a_stream(command: Command) -> None:
    trees(train=5, val=2)
    words = [*WORDS, "data.root=birds", "data.workers=0", "schedule.epochs=2"]
    outcome = command(*words)
    assert (outcome.code, outcome.complaints) == (0, "")
    record = json.loads((only_run() / "status.json").read_text())["data"]
    assert (record["train"], record["test"], record["shape"]) == (10, 4, [3, 28, 28])


@pytest.mark.slow
def test_processes_read_for_a_run(command: Command) -> None:
    trees(train=5, val=2)
    words = [*WORDS, "data.root=birds", "schedule.epochs=2"]
    for workers in (0, 2):
        assert command(*words, f"data.workers={workers}", f"group=w{workers}").code == 0
    assert losses("w0") == losses("w2")
