"""Runs that read their images when they need them."""

import json
from pathlib import Path
from types import SimpleNamespace

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


def test_a_tree_without_a_part_or_with_a_class_in_one_only_is_refused(command: Command) -> None:
    words = [*WORDS, "data.workers=0"]
    told = {}
    for root, folders in {
        "untested": ("train/a", "train/b"),
        "untrained": ("val/a", "val/b"),
        "less": ("train/a", "train/b", "val/a"),
        "more": ("train/a", "val/a", "val/b"),
    }.items():
        image_files(Path(root), dict.fromkeys(folders, 2))
        outcome = command(*words, f"data.root={root}")
        assert outcome.code == 2
        assert outcome.complaints.count("\n") == 1
        told[root] = outcome.complaints
    assert "untested has train/ but no part to test on beside it" in told["untested"]
    assert "untrained has val/ but no part to train on beside it" in told["untrained"]
    assert told["less"] == "dstrun: data.root: the test part has no image of b\n"
    assert "more/val has classes that the training part has not: b" in told["more"]
    assert not Path("outputs").exists()


def test_too_little_shared_memory_stops_a_run_before_it_starts(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees(train=5, val=2)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1))
    outcome = command(*WORDS, "data.root=birds", "data.workers=2")
    assert outcome.code == 2
    assert outcome.complaints == (
        "dstrun: data.workers: 2 need 0 MiB of /dev/shm, where 0 MiB are free (docker run "
        "--shm-size=1g has more); data.workers=0 reads without\n"
    )
    assert not Path("outputs").exists()


def test_a_damaged_image_ends_a_run_in_a_line_or_is_noted_in_its_log(command: Command) -> None:
    trees(train=5, val=2)
    broken = Path("birds/train/b/1.png")
    broken.write_bytes(broken.read_bytes()[:60])
    words = [*WORDS, "data.root=birds", "data.workers=0", "schedule.epochs=1"]
    outcome = command(*words)
    assert outcome.code == 2
    assert f"data.root: cannot decode {broken}: " in outcome.out + outcome.err
    assert json.loads((only_run() / "status.json").read_text())["state"] == "failed"
    outcome = command(*words, "data.args.undecodable=0.1", "group=less")
    assert outcome.code == 0
    log = (only_run("outputs/less") / "train.log").read_text()
    assert log.count(str(broken)) == 1
    row = rows(only_run("outputs/less") / "metrics.csv")[0]
    assert 0 < float(row["data_wait"]) < 1
    assert json.loads((only_run("outputs/less") / "status.json").read_text())["decoder"]
