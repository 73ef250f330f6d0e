"""Runs killed at random moments, also during writes, and resumed: they equal an undisturbed run."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from dstrun.system import files
from dstrun.system.files import read_json
from tests.helpers.child import ended, forked
from tests.helpers.runs import assert_equal, rows, the_run

FEW, MANY = 1, 100
LONGEST = 1.5  # seconds from when a process has the run until it is killed
WORDS = [
    "schedule.epochs=6",
    "data.train_limit=600",
    "data.validation=0.2",
    "log.steps=2",
    "checkpoint.every=0",
    "threads=1",
    "reg.target_density=0.1",
    "schedule.rate=onecycle",
    "wandb.mode=disabled",
]


def start(words: Sequence[str], slowly: bool) -> int:
    """Return the process of `dstrun WORDS`.

    `slowly` makes the disk slow, so that most kills hit a file that is being written.
    """

    def before() -> None:
        for stream in (1, 2):
            os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        if slowly:
            to_disk = os.fsync
            files.os.fsync = lambda file: (time.sleep(0.02), to_disk(file))[1]  # type: ignore[attr-defined]

    return forked(words, before)


def kill_at_random(process: int, folder: Path, chance: random.Random) -> int:
    """Kill a process at a random moment, and return its exit code.

    The moment is after it has taken the run, or, rarely, before.
    """
    while (
        chance.random() < 0.999
        and read_json(folder / "status.json").get("owner", {}).get("pid") != process
    ):
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.005)
    time.sleep(chance.uniform(0, LONGEST))
    os.kill(process, signal.SIGKILL)
    return ended(process)


def kill_until_finished(
    words: Sequence[str], folder: Path, chance: random.Random, kills: int
) -> Counter:
    """Kill the run again and again; return the kinds of files half written at the kills."""
    met: Counter = Counter()
    while sum(met.values()) < kills:
        process = start(words, slowly=True)
        code = kill_at_random(process, folder, chance)
        if code == 0:
            return met
        assert code == -signal.SIGKILL, Path("said").read_text()
        beside = [file.name for file in folder.glob("*.new")]
        state = (
            "writing " + ", ".join(beside)
            if beside
            else "training"
            if folder.exists()
            else "starting"
        )
        met[state] += 1
    code = ended(start(words, slowly=False))
    assert code == 0, Path("said").read_text()
    return met


def survive(kills: int, seed: int) -> Counter:
    chance = random.Random(seed)
    met: Counter = Counter()
    number = 0
    while sum(met.values()) < kills:
        words = [*WORDS, f"seed={number}"]
        assert ended(start([*words, f"group=whole{number}"], slowly=False)) == 0, Path(
            "said"
        ).read_text()
        whole = the_run(f"whole{number}")
        broken = Path("outputs", f"broken{number}", whole.name)
        met += kill_until_finished(
            [*words, f"group=broken{number}"], broken, chance, kills - sum(met.values())
        )
        assert_equal(broken, whole)
        assert len(rows(broken / "metrics.csv")) == 6
        number += 1
    return met


@pytest.mark.slow
def test_a_few_kills() -> None:
    assert sum(survive(FEW, seed=0).values()) == FEW


@pytest.mark.faults
def test_a_hundred_kills() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    met = survive(MANY, seed)
    print(dict(met))
    assert sum(met.values()) == MANY
    assert sum(count for state, count in met.items() if state.startswith("writing")) > MANY / 10
