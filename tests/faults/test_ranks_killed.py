"""Ranks killed at random moments, from start-up to the end, and resumed: they equal an undisturbed
run on two ranks. LeNet-5 on MNIST, one epoch, from $DSTRUN_DATA.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from statistics import mean, stdev

import pytest

from dstrun.runs.status import FINISHED
from dstrun.system.files import read_json
from tests.helpers.ranks import ranks_of
from tests.helpers.runs import assert_equal, the_run

FEW, MANY = 2, 20
WORDS = [
    "model=lenet5",
    "data=mnist",
    "schedule.epochs=1",
    "checkpoint.every=1",
    "log.steps=100",
    "device=cpu",
    "threads=1",
    "wandb.mode=disabled",
]
SEEDS = (0, 1, 2)
needs_data = pytest.mark.skipif(
    "DSTRUN_DATA" not in os.environ, reason="DSTRUN_DATA has no data sets"
)


def start(*words: str) -> subprocess.Popen[str]:
    root = f"data.root={os.environ['DSTRUN_DATA']}"
    command = [sys.executable, "-m", "dstrun", *WORDS, root, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(*words: str) -> float:
    """Train to the end, and return the seconds that it took."""
    since = time.monotonic()
    process = start(*words)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return time.monotonic() - since


def kill_a_rank(process: subprocess.Popen[str], seconds: float, chance: random.Random) -> str:
    """Kill a rank so many seconds after both have started; return what it met.

    "" where the run has ended before.
    """
    while process.poll() is None and len(ranks := ranks_of(process.pid)) < 2:
        time.sleep(0.01)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if process.poll() is not None:
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return ""
    rank = chance.choice(sorted(ranks))
    status = the_status()
    os.kill(ranks[rank], signal.SIGKILL)
    since = time.monotonic()
    said, _ = process.communicate()
    assert time.monotonic() - since < 30
    if the_status().get("state") == FINISHED:  # the rank was on its way out
        return "ended"
    assert process.returncode == 1, said
    assert f"rank {rank} was killed by SIGKILL" in the_status()["error"], said
    if status.get("state") != "running":
        return "starting"
    return "writing" if list(Path("outputs").glob("broken/*/*.new")) else "training"


def the_status() -> dict:
    for file in Path("outputs").glob("broken/*/status.json"):
        return read_json(file)
    return {}


def survive(kills: int, seed: int) -> Counter[str]:
    """Kill ranks so often, each time of a run that goes on or a new one; return the moments."""
    chance, met = random.Random(seed), Counter[str]()
    longest = finished("devices=2", "group=whole")
    while met.total() < kills:
        while met.total() < kills:
            moment = kill_a_rank(
                start("devices=2", "group=broken"), chance.uniform(0, longest / 2), chance
            )
            if not moment:
                break
            met[moment] += 1
            print(moment, flush=True)
        if the_status().get("state") != FINISHED:
            finished("devices=2", "group=broken")
        assert_equal(the_run("broken"), the_run("whole"))
        rmtree("outputs/broken")
    return met


@pytest.mark.slow
@needs_data
def test_a_few_killed_ranks() -> None:
    assert survive(FEW, seed=0).total() == FEW


@pytest.mark.faults
@needs_data
def test_killed_ranks() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    met = survive(MANY, seed)
    print(f"{met.total()} of {MANY}: {dict(met)}")
    assert met["training"]
    assert met["starting"]


@pytest.mark.faults
@needs_data
def test_two_ranks_are_within_the_spread_of_seeds() -> None:
    finished("devices=2", "group=two")
    two = read_json(the_run("two") / "summary.json")
    for seed in SEEDS:
        finished(f"seed={seed}", f"group=one{seed}")
    for name in ("test_accuracy", "density"):
        alone = [read_json(the_run(f"one{seed}") / "summary.json")[name] for seed in SEEDS]
        print(f"{name}: two ranks {two[name]:.4f}, one rank {[f'{one:.4f}' for one in alone]}")
        assert abs(two[name] - mean(alone)) <= 2 * stdev(alone)
