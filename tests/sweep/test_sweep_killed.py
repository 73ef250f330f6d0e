"""Slow tests of sweeps: failing or killed jobs and sweeps do not affect other runs."""

import csv
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.sweeps import RUNS

TIMES = {"total_seconds"}
SWEEP = [
    "sweep=quick",
    "wandb.mode=disabled",
    "n_jobs=2",
    "checkpoint.every=0",
    "group=killed",
    "schedule.epochs=40",
]
KILLS = 10  # of the parent, and as many of a job


def started(*words: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "dstrun", *SWEEP, *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def processes_in(folder: Path) -> dict[int, str]:
    """Return dstrun's processes that work in a folder, by pid: parents, forkservers, jobs."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def job_processes(folder: Path) -> list[int]:
    """Return the processes that have a run of the folder open."""
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
    """Wait until the last processes have ended by themselves."""
    while processes_in(folder):
        time.sleep(0.1)


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
        until = time.monotonic() + chance.uniform(0, 4)
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
    assert [row["state"] for row in figures(killed)] == ["finished"] * RUNS["quick"]
    for folder in killed.glob("outputs/killed/*"):
        if folder.is_dir():
            for name in ("metrics.csv", "layers.csv"):
                theirs = (alone / folder.relative_to(killed) / name).read_text()
                assert (folder / name).read_text().count("\n") == theirs.count("\n")


@pytest.mark.slow
def test_three_jobs_that_fail_in_three_ways_cost_the_other_thirteen_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for split, label, number in itertools.product(("train", "test"), ("a", "b"), range(4)):
        (tree / split / label).mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 60 * number).save(tree / split / label / f"{number}.png")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mixed.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    grids:\n"
        "      - {reg.alpha: [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2], seed: [0, 1]}\n"
        "      - {schedule.lr: 1e30}\n"
        f"      - {{data: folder, data.size: 28, data.root: {tree}}}\n"
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dstrun",
            "sweep=mixed",
            "wandb.mode=disabled",
            "threads=1",
            "n_jobs=2",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (jobs := job_processes(tmp_path)):
        time.sleep(0.02)
    shutil.rmtree(tree)
    os.kill(jobs[0], signal.SIGKILL)
    output, _ = process.communicate()
    print(output)
    assert process.returncode == 1
    assert "13 of 16 runs finished, 3 failed" in output
    with (tmp_path / "outputs" / "mixed" / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    whys = sorted(
        row["error"].split(":")[0].split(" (")[0] for row in table if row["state"] == "failed"
    )
    assert whys == ["DivergedError", "data.root", "killed by SIGKILL"]
    assert sum(row["state"] == "finished" for row in table) == 13
    for row in table:
        log = (tmp_path / "outputs" / "mixed" / row["run"] / "train.log").read_text()
        assert row["state"] == "finished" or row["error"].split(" (")[0] in log
