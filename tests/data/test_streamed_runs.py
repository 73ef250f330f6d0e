"""Runs that read their images when they need them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.commands import Command
from tests.helpers.data import image_files
from tests.helpers.runs import only_run, rows, stop_at

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


def test_a_run_that_goes_on_with_another_decoder_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees(train=5, val=2)
    words = [*WORDS, "data.root=birds", "data.workers=0", "schedule.epochs=2"]
    assert stop_at(command, monkeypatch, 2, signal.SIGTERM, words).code == 143
    file = only_run("outputs/broken") / "status.json"
    status = json.loads(file.read_text())
    file.write_text(json.dumps(status | {"decoder": "pillow 1.0"}))
    outcome = command(*words, "group=broken")
    assert outcome.code == 0
    line = f"begun with pillow 1.0: pixels of {status['decoder']} may differ in their last bits"
    assert line in outcome.out
    assert json.loads(file.read_text())["decoder"] == status["decoder"]


def marked(mark: str) -> list[int]:
    """Return the processes with this word in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return bool(condition())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_is_the_trainers_to_answer_and_leaves_no_process(
    command: Command, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Send it to the whole group, as a terminal or a scheduler does; the run goes on exactly."""
    trees(train=16, val=4)
    words = [
        *WORDS,
        "data.root=birds",
        "data.workers=2",
        "schedule.epochs=15",
        "checkpoint.every=0",
    ]
    started = [sys.executable, "-m", "dstrun", *words, "device=cpu", "wandb.mode=disabled"]
    mark = f"STREAM_{number}_{os.getpid()}"
    run = subprocess.Popen(
        [*started, "group=broken"],
        env={**os.environ, mark: "1", "OMP_NUM_THREADS": "1"},  # as many threads as in this process
        start_new_session=True,
    )
    assert wait_for(lambda: list(Path("outputs").rglob("checkpoint.pt")), 90)
    os.killpg(run.pid, number)
    code = run.wait(timeout=60)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    assert wait_for(lambda: not marked(mark), 15)
    for group in ("broken", "whole"):
        assert command(*words, f"group={group}").code == 0
    assert losses("broken") == losses("whole")
    assert len(losses("whole")) == 15
