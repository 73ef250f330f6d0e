"""The long proof of sweeps: killed again and again, they end with the figures of one that was left alone."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TIMES = {"total_seconds"}
SWEEP = ["sweep=quick", "wandb.mode=disabled", "n_jobs=2", "checkpoint.every=0", "group=killed", "schedule.epochs=50"]
KILLS = 10  # of the parent, and as many of a job


def started(*words: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "dstrun", *SWEEP, *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes_in(folder: Path) -> dict[int, str]:
    """Processes of ours, by pid, that work in a folder: parents, forkservers, jobs."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def job_processes(folder: Path) -> list[int]:
    """Those that have a run of the folder open."""
    found = []
    for pid in processes_in(folder):
        try:
            files = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        if any(file.name == "train.log" for file in files):
            found.append(pid)
    return found


def figures(folder: Path) -> list[dict[str, str]]:
    with (folder / "outputs" / "killed" / "summary.csv").open(newline="") as file:
        return sorted(
            ({k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)),
            key=lambda row: row["run"],
        )


def assert_nothing_is_left(folder: Path) -> None:
    until = time.monotonic() + 20
    while (left := processes_in(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for folder in (alone, killed):
        folder.mkdir()
    begun = time.monotonic()
    process = started(folder=alone)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    print(f"\nundisturbed: {time.monotonic() - begun:.0f} s")

    chance = random.Random(0)
    finished_at: dict[Path, int] = {}
    kills = {"parent": 0, "job": 0}
    while min(kills.values()) < KILLS:
        whose = "parent" if kills["parent"] <= kills["job"] else "job"
        process = started(folder=killed)
        until = time.monotonic() + chance.uniform(0, 5)
        while not (jobs := job_processes(killed)) or time.monotonic() < until:
            time.sleep(0.02)
            assert process.poll() is None, f"ended after {kills}"
        os.kill(process.pid if whose == "parent" else chance.choice(jobs), signal.SIGKILL)
        kills[whose] += 1
        if whose == "job":
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
        if whose == "parent":
            continue  # the next one begins while the jobs of this one are still ending
        assert process.returncode == 128 + signal.SIGTERM, output
        assert_nothing_is_left(killed)
        for summary in killed.glob("outputs/killed/*/summary.json"):
            changed = finished_at.setdefault(summary, summary.stat().st_mtime_ns)
            assert summary.stat().st_mtime_ns == changed, "a finished run was done again"
    print(f"killed: {kills}; {len(finished_at)} runs had finished by then")
    process = started(folder=killed)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert_nothing_is_left(killed)
    assert not list(killed.rglob("*.new"))
    assert figures(killed) == figures(alone)
    assert [row["state"] for row in figures(killed)] == ["finished"] * 16
    for folder in killed.glob("outputs/killed/*"):
        if folder.is_dir():
            for name in ("metrics.csv", "layers.csv"):
                theirs = (alone / folder.relative_to(killed) / name).read_text()
                assert (folder / name).read_text().count("\n") == theirs.count("\n")
