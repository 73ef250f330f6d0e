"""A run on two ranks from the command line: stopped, killed, resumed, and refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.runs import LONG, assert_broken_equals_whole, only_run, rows

pytestmark = pytest.mark.slow  # every run imports torch three times
ON_TWO = [*LONG, "devices=2", "device=cpu", "threads=1"]


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dstrun", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*words: str) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of `dstrun WORDS`."""
    process = start(*words)
    out, err = process.communicate()
    return process.returncode, out, err


def rank_of(launcher: int, rank: int) -> int:
    """Return the process of a rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"there is no rank {rank} among {children}")


def wait_for_epoch(epoch: int, process: subprocess.Popen[str]) -> None:
    """Wait until layers.csv of the broken run has rows in the middle of an epoch."""
    while process.poll() is None:
        for file in Path("outputs/broken").glob("*/layers.csv"):
            if file.read_text().count(f"\n{epoch},") >= 4:
                return
        time.sleep(0.005)
    raise AssertionError(process.communicate())


def test_stopped_killed_and_resumed_it_is_the_undisturbed_run() -> None:
    assert run(*ON_TWO, "group=whole")[0] == 0
    whole = json.loads((only_run("outputs/whole") / "status.json").read_text())
    assert (whole["state"], whole["ranks"]) == ("finished", 2)

    stopped = start(*ON_TWO, "group=broken")
    wait_for_epoch(1, stopped)
    stopped.send_signal(signal.SIGTERM)
    out, err = stopped.communicate(timeout=60)
    assert (stopped.returncode, err) == (128 + signal.SIGTERM, "")
    assert out.count("run the same command to resume") == 1

    for epoch, rank in ((2, 1), (3, 0)):
        killed = start(*ON_TWO, "group=broken")
        wait_for_epoch(epoch, killed)
        os.kill(rank_of(killed.pid, rank), signal.SIGKILL)
        since = time.monotonic()
        killed.communicate(timeout=60)
        assert killed.returncode == 1
        assert time.monotonic() - since < 30
        status = json.loads((only_run("outputs/broken") / "status.json").read_text())
        if rank:
            assert (status["state"], status["error"]) == ("failed", "another rank has ended")

    assert run(*ON_TWO, "group=broken")[0] == 0
    assert_broken_equals_whole()


def test_it_goes_on_with_another_number_of_ranks() -> None:
    """As the run on two ranks from there on, but for the order of sums."""
    assert run(*ON_TWO, "group=whole")[0] == 0
    stopped = start(*ON_TWO, "group=broken")
    wait_for_epoch(2, stopped)
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=60)
    assert run(*ON_TWO, "devices=1", "group=broken")[0] == 0
    whole, broken = (only_run(f"outputs/{group}") for group in ("whole", "broken"))
    for ours, theirs in zip(rows(broken / "metrics.csv"), rows(whole / "metrics.csv"), strict=True):
        for name in ("train_loss", "test_loss", "density"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1e-3)


def test_what_is_wrong_is_one_line_of_the_first_rank() -> None:
    code, _, err = run("devices=2", "device=cpu", "schedule.epochs=x")
    assert (code, err.count("\n")) == (2, 1), err
    code, out, err = run("devices=2", "device=cpu", "dry_run=true")
    assert (code, err, out.count("\n")) == (0, "", 1)
    code, _, err = run("devices=2", "device=cpu", "data=mnist", "data.root=nowhere")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("dstrun: data")
    code, _, err = run("devices=2", "device=cuda")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(
        "dstrun: devices: got 2, expected at most the number of GPUs that torch can"
    )


def test_a_run_that_diverges_on_two_ranks_says_where_and_ends() -> None:
    code, _, err = run(*ON_TWO, "group=whole", "schedule.lr=1e30")
    assert (code, err.count("\n")) == (1, 0), err
    status = json.loads((only_run("outputs/whole") / "status.json").read_text())
    assert status["state"] == "failed"
    assert re.match(r"DivergedError: NaN or infinite from step \d+, in epoch 1: ", status["error"])
