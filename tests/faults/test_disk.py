"""Disks that fill up during a run, at any write, and disks that are read-only."""

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dstrun.compare.run_tables import Store
from tests.helpers.commands import Command
from tests.helpers.runs import assert_equal, the_run

FEW, MANY = 4, 60
SIZE = (
    12 * 2**20
)  # of the disk; a run of these needs 6.3 MiB at once: two checkpoints, and the one being written
RUN = [
    "schedule.epochs=4",
    "data.train_limit=300",
    "data.test_limit=50",
    "checkpoint.every=0",
    "log.steps=2",
    "threads=1",
]


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """Return a small disk of its own; skip the test if none can be mounted."""
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def leave(place: Path, room: int) -> None:
    """Fill the disk until only `room` bytes are free."""
    free = os.statvfs(place)
    with (place / "filler").open("wb") as filler:
        filler.write(b"x" * max(0, free.f_bavail * free.f_frsize - room))


def fill_up(command: Command, place: Path, rooms: list[int]) -> Counter:
    """Train once with each amount of free space, and return how many runs ended in which state.

    Each is then finished by the same command, and equals an undisturbed run.
    """
    states: Counter = Counter()
    assert command(*RUN, "group=whole").code == 0
    whole = the_run("whole")
    for room in rooms:
        leave(place, room)
        outcome = command(*RUN, f"outputs={place}", "group=broken")
        assert "Traceback" not in outcome.out + outcome.err
        assert outcome.code in (0, 1, 2), outcome
        (place / "filler").unlink()
        store = Store([place])
        assert set(store.runs["state"]) <= (
            {"finished"} if outcome.code == 0 else {"failed", "interrupted"}
        )
        assert outcome.code != 1 or "No space left on device" in outcome.out
        if len(store.runs):
            assert store.layers()["density"].between(0, 1).all()
        states.update(store.runs["state"] if len(store.runs) else ["not begun"])
        assert command(*RUN, f"outputs={place}", "group=broken").code == 0
        (broken,) = (folder for folder in place.glob("broken/*") if folder.is_dir())
        assert_equal(broken, whole)
        subprocess.run(["rm", "-r", broken.parent], check=True)
    return states


@pytest.fixture
def a_disk() -> Iterator[Callable[[str], Path]]:
    with disk(Path("disk").absolute(), f"size={SIZE}") as place:
        yield place


@pytest.mark.slow
def test_a_disk_that_fills_up(command: Command, a_disk: Path) -> None:
    """Leave too little space for the first file, first rows, first and second checkpoint."""
    states = fill_up(command, a_disk, [0, 16_384, 600_000, 3_000_000])
    assert sum(states.values()) == FEW
    assert states["failed"] >= 2


@pytest.mark.faults
def test_a_disk_that_fills_up_at_many_writes(command: Command, a_disk: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    states = fill_up(command, a_disk, [chance.randrange(8 * 2**20) for _ in range(MANY)])
    print(f"seed {seed}: {dict(states)}")


def test_a_disk_that_cannot_be_written(command: Command) -> None:
    with disk(Path("disk").absolute(), "ro,size=1m") as place:
        outcome = command(*RUN, f"outputs={place}")
    assert outcome.code == 2
    assert outcome.err.startswith("dstrun: outputs: [Errno 30] Read-only file system")


def test_a_finished_run_on_a_disk_that_has_become_read_only(command: Command, a_disk: Path) -> None:
    words = [*RUN, f"outputs={a_disk}"]
    assert command(*words).code == 0
    subprocess.run(["mount", "-o", "remount,ro", a_disk], check=True)
    assert "finished already" in command(*words).out
    assert command("report", str(a_disk)).code == 0
    outcome = command(*words, "overwrite=true")
    assert outcome.code == 2
    (run,) = a_disk.glob("single/*")
    assert command("eval", str(run)).code == 0
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
