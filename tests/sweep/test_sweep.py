"""Sweeps by the command line: results, repetition, and the effect of a failing job."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.runs.folder import RunFolder
from dstrun.runs.status import FINISHED, Status, holder
from dstrun.sweep import forkserver, pool, start_check, summary
from dstrun.system.errors import InputError, RunFailedError
from dstrun.system.terminal import duration
from dstrun.training import session
from dstrun.training.run import run_as_job
from tests.helpers.commands import Command, Trained

SMALL = ["schedule.epochs=2", "data.train_limit=200", "data.test_limit=100", "threads=1"]
LONG = [
    "schedule.epochs=100000",
    "data.train_limit=200",
    "data.test_limit=100",
    "threads=1",
    "checkpoint.every=0",
]
DIGITS = {"name": "digits", "builder": "digits"}
TIMES = {"seconds", "images_per_second", "total_seconds"}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(text)
        ]


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def the_run(beginning: str, group: str = "outputs/grid") -> Path:
    (folder,) = Path(group).glob(f"{beginning}-*")
    return folder


def wait_for(what: Callable[[], Any]) -> Any:
    while not (found := what()):
        time.sleep(0.02)
    return found


def begun(*words: str) -> subprocess.Popen:
    """Start a command in a process of its own, in this folder."""
    command = [sys.executable, "-m", "dstrun", *words, "wandb.mode=disabled"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def running() -> list[Path]:
    """Return the running runs that have finished an epoch."""
    return [
        file.parent
        for file in Path().glob("outputs/*/*/checkpoint.pt")
        if state(file.parent)["state"] == "running"
    ]


def test_a_grid_leaves_a_run_a_combination_and_a_summary(command: Command) -> None:
    outcome = command("reg.alpha=1e-3,2e-3", "-m", "seed=0,1", "wandb.tags=[mine]", *SMALL)
    note = "wandb.tags has no effect: W&B is turned off by WANDB_MODE or WANDB_DISABLED"
    assert (outcome.code, outcome.err) == (0, f"dstrun: note: {note}\n")
    assert {path.name for path in Path().iterdir()} == {"outputs"}
    assert "4 runs, 4 to do" in outcome.out
    assert "4 of 4 runs finished" in outcome.out
    table = rows(Path("outputs/grid/summary.csv"))
    assert [(row["state"], row["reg.alpha"], row["seed"]) for row in table] == [
        ("finished", alpha, seed) for alpha in ("0.001", "0.002") for seed in "01"
    ]
    for row in table:
        of_run = json.loads(Path("outputs/grid", row["run"], "summary.json").read_text())
        assert all(
            str(of_run[key]) == row[key] for key in ("test_accuracy", "density", "kept", "epoch")
        )
    assert {path.name for path in Path("outputs/grid").iterdir()} == {
        row["run"] for row in table
    } | {"summary.csv"}

    single = command("reg.alpha=2e-3", "seed=1", *SMALL)
    assert single.code == 0
    run = the_run("lenet_300_100-digits-a2e-3-s1")
    for file in ("metrics.csv", "layers.csv"):
        assert rows(run / file) == rows(Path("outputs/single", run.name, file))
    assert "epoch 2/2" in (run / "train.log").read_text()


@pytest.mark.slow
def test_the_same_sweep_again_does_what_is_new(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("-m", "seed=0,1", *SMALL)
    before = {
        file: file.stat().st_mtime_ns for file in Path("outputs").rglob("*") if file.is_file()
    }
    outcome = command("-m", "seed=0,1", *SMALL)
    assert outcome.code == 0
    assert "2 runs, 0 to do" in outcome.out
    assert {
        file: file.stat().st_mtime_ns for file in Path("outputs").rglob("*") if file.is_file()
    } == before

    listed = command("-m", "seed=0,1,2", *SMALL, "dry_run=true")
    assert listed.out.splitlines()[:4] == [
        "outputs/grid:",
        "  seed 0  finished",
        "  seed 1  finished",
        "  seed 2  new",
    ]
    assert "3 runs, 1 to do, about " in listed.out
    assert "3 runs, 1 to do" in command("-m", "seed=0,1,2", *SMALL).out
    assert [row["seed"] for row in rows(Path("outputs/grid/summary.csv"))] == ["0", "1", "2"]
    assert "1 run, 0 to do" in command("-m", "seed=1", *SMALL).out
    assert len(rows(Path("outputs/grid/summary.csv"))) == 3, (
        "runs of earlier grids stay in the summary"
    )

    there = {file: file.stat().st_mtime_ns for file in Path("outputs/grid").glob("*/metrics.csv")}
    monkeypatch.setattr(
        pool, "now", lambda: "9999"
    )  # a run that ends in the second in which the sweep began
    assert command("-m", "seed=0,1", *SMALL, "overwrite=true").code == 0
    again = {
        file.parent.name.split("-")[-2]
        for file, time in there.items()
        if file.stat().st_mtime_ns != time
    }
    assert again == {"s0", "s1"}


def test_sockets_of_a_sweep_have_room_where_tmpdir_is_too_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    for place, used in ((Path("/var/tmp"), "/var/tmp"), (long, "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with forkserver.short_temporary_folder():
            assert tempfile.gettempdir() == used
        assert tempfile.gettempdir() == str(place)
    monkeypatch.setattr(forkserver, "SHORT_FOLDERS", ())
    with pytest.raises(
        InputError, match=r"TMPDIR: got .*, expected a folder with a name of at most 75 bytes"
    ):
        forkserver.short_temporary_folder().__enter__()


@pytest.mark.slow
def test_a_sweeps_file_is_a_grid_whose_axes_the_command_line_replaces(command: Command) -> None:
    outcome = command("sweep=quick", "reg.alpha=1e-3", "seed=3,4", *SMALL)
    assert outcome.code == 0
    assert {row["seed"] for row in rows(Path("outputs/quick/summary.csv"))} == {"3", "4"}


@pytest.mark.slow
def test_a_run_that_diverges_costs_itself_only(command: Command) -> None:
    words = ["-m", "schedule.lr=0.01,1e30", *SMALL]
    outcome = command(*words)
    assert outcome.code == 1
    assert "1 of 2 runs finished, 1 failed" in outcome.out
    assert "/2] lr 1e30  failed: DivergedError: NaN or infinite from step" in outcome.out
    assert re.search(
        r"\nfailed: lr 1e30: Div.*\n  outputs/grid/lenet_300_100-digits-a2e-3-s0-\w{8}\n",
        outcome.out,
    )
    table = rows(Path("outputs/grid/summary.csv"))
    assert [row["state"] for row in table] == ["finished", "failed"]
    assert table[1]["error"].startswith("DivergedError")
    log = Path("outputs/grid", table[1]["run"], "train.log")
    assert "Traceback" in log.read_text()

    tried = log.read_text().count("  device ")
    again = command(*words, "retry=none")
    assert (again.code, log.read_text().count("  device ")) == (1, tried)
    assert "1 of 2 runs finished, 1 failed" in again.out
    assert command(*words).code == 1
    assert log.read_text().count("  device ") == tried + 1


@pytest.mark.slow
def test_a_job_that_is_killed_has_failed_and_goes_on_with_the_next_command(
    command: Command,
) -> None:
    words = ["-m", "seed=0,1", "n_jobs=2", "threads=1", "checkpoint.every=0", "schedule.epochs=12"]

    def kill() -> None:
        victim = wait_for(lambda: [run for run in running() if "-s1-" in run.name])[0]
        os.kill(state(victim)["owner"]["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = command(*words)
    killer.join()
    assert outcome.code == 1
    killed = the_run("lenet_300_100-digits-a2e-3-s1")
    assert (state(killed)["state"], state(killed)["error"][:17]) == ("failed", "killed by SIGKILL")
    assert "killed by SIGKILL" in (killed / "train.log").read_text()
    assert "failed: killed by SIGKILL" in outcome.out
    assert state(the_run("lenet_300_100-digits-a2e-3-s0"))["state"] == "finished"

    assert command(*words).code == 0
    assert "resuming    at step" in (killed / "train.log").read_text()
    assert command("-m", "seed=1", *words[2:], "group=alone").code == 0
    assert rows(killed / "metrics.csv") == rows(Path("outputs/alone", killed.name, "metrics.csv"))


def test_a_job_whose_data_vanishes_fails_with_its_story(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skip the check before the start, as if both runs had been finished when the sweep began."""
    looks_finished = type("LooksFinished", (RunFolder,), {"state": lambda folder: FINISHED})
    monkeypatch.setattr(start_check, "RunFolder", looks_finished)
    outcome = command("-m", "data=digits,mnist", "data.root=gone", *SMALL)
    assert outcome.code == 1
    failed = the_run("lenet_300_100-mnist-a5e-4-s0")
    assert state(failed)["error"].startswith("data.root: MNIST is not there")
    assert "Traceback" in (failed / "train.log").read_text()
    assert "1 of 2 runs finished, 1 failed" in outcome.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-m", "reg.alpha=1e-3,-1"], "reg.alpha: got -1"),
        (["-m", "seed=0,x"], "seed: got 'x', expected a whole number ≥ 0"),
        (["-m", "reg.alhpa=1,2"], "reg.alhpa: there is no such option; did you mean reg.alpha?"),
        (["-m", "seed=range(0,0)"], "seed: got an empty axis, expected at least one value"),
        (["-m", "seed="], "seed: got '', expected a whole number"),
        (["sweep=quick,table1"], "sweep: got quick,table1, expected one sweep"),
        (
            ["-m", "seed=0,1", "threads=99999999999"],
            "threads: got 99999999999, expected a whole number",
        ),
        (["sweep=quikc"], "sweep: there is no 'quikc'; did you mean quick?"),
        (["-m", "model=lenet5,vgg61"], "model: there is no 'vgg61'; did you mean vgg19 or vgg16"),
        (["-m", "data=digits,mnist", "data.root=gone"], "data.root: MNIST is not there"),
        (["-m", "model=lenet5,vgg16", "model.args.depht=1"], "model.args: "),
        (["-m", "seed=0,1", "outputs=file/below"], "outputs: "),
        (["-m", "reg=dense,rigl", "reg.density=0.1,0.0001"], "reg.density: got 0.0001, which"),
        (["-m", "retry=often"], "retry: got 'often', expected one of failed, none"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_begun(
    command: Command, words: list[str], line: str
) -> None:
    Path("file").touch()
    outcome = command(*words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"dstrun: {line}")
    assert outcome.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.slow
def test_a_full_disk_is_met_before_anything_is_begun(
    command: Command, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    if there:
        command("-m", "seed=0", *SMALL)
    before = sorted(Path().rglob("*"))
    monkeypatch.setattr(summary, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = command("-m", "seed=0,1", *SMALL)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith("dstrun: outputs: [Errno 28] No space left on device")
    assert sorted(Path().rglob("*")) == before


def test_a_run_that_breaks_before_its_first_line_is_let_go_of(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(session, "facts", broken)
    config = check({"model": {"name": "lenet_300_100", "builder": "lenet_300_100"}, "data": DIGITS})
    with pytest.raises(RunFailedError, match="RuntimeError: no driver"):
        run_as_job(config, "grid")
    folder = RunFolder.of(config, "grid").path
    assert (state(folder)["state"], state(folder)["error"]) == ("failed", "RuntimeError: no driver")
    assert holder(folder) is None
    other = replace(config, seed=1)
    moved = folder.rename(RunFolder.of(other, "grid").path)
    with pytest.raises(RunFailedError, match="holds another run, which differs in seed"):
        run_as_job(other, "grid")
    assert state(moved)["error"] == "RuntimeError: no driver", (
        "the other run's folder stays as it is"
    )


def test_what_others_put_beside_a_sweep_stands_in_its_summary(
    command: Command, trained: Trained
) -> None:
    trained("-m", "seed=0", *SMALL)
    trained("seed=1", "group=grid", *SMALL)
    command("-m", "seed=0", *SMALL)
    assert [row["seed"] for row in rows(Path("outputs/grid/summary.csv"))] == ["0", "1"]


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_no_process(command: Command) -> None:
    sweep = begun("-m", "seed=0,1,2", "n_jobs=2", *LONG)
    runs = wait_for(lambda: len(found := running()) == 2 and found)
    pids = [state(run)["owner"]["pid"] for run in runs]
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate()
    assert sweep.returncode == 128 + signal.SIGINT
    assert "0 of 3 runs finished, 3 not done; run the same command to resume" in output
    assert [state(run)["state"] for run in runs] == ["interrupted"] * 2
    assert {row["state"] for row in rows(Path("outputs/grid/summary.csv"))} == {"interrupted"}
    for pid in pids:
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists())


@pytest.mark.slow
def test_two_copies_of_a_sweep_share_the_work(command: Command) -> None:
    words = ["-m", "seed=range(6)", "n_jobs=1", *SMALL]
    sweeps = [begun(*words), begun(*words)]
    outputs = [sweep.communicate()[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], outputs
    logs = [
        (folder / "train.log").read_text()
        for folder in Path("outputs/grid").iterdir()
        if folder.is_dir()
    ]
    assert [log.count("  device ") for log in logs] == [1] * 6
    assert all("6 of 6 runs finished" in output for output in outputs)


@pytest.mark.slow
def test_a_run_that_somebody_else_is_at_work_on_is_waited_for(
    command: Command, trained: Trained
) -> None:
    trained("seed=0", *SMALL, "group=grid")
    run = the_run("lenet_300_100-digits-a2e-3-s0")
    for name in ("status.json", "summary.json", "checkpoint.pt"):
        (run / name).unlink()
    somebody = Status(run)
    somebody.begin()
    release = threading.Timer(1, somebody.release)
    release.start()
    outcome = command("-m", "seed=0,1", *SMALL)
    release.join()
    assert outcome.code == 0
    assert "2 of 2 runs finished" in outcome.out


def test_what_differs_between_runs_stands_in_the_summary() -> None:
    group = Path("outputs/mine")
    for alpha, method in ((0.1, "dst"), (0.2, "dst"), (0.1, "dense")):
        settings = {
            "reg": {"alpha": alpha, "method": method},
            "schedule": {"betas": [0.5, 0.6], "lr": alpha},
        }
        config = check({"model": {"name": "m"}, "data": {"name": "d"}, **settings})
        folder = group / f"{method}{alpha}"
        RunFolder(folder, config).record_failure("why", "because")
    (group / "foreign").mkdir()
    (group / "damaged").mkdir()
    (group / "damaged" / "config.yaml").write_text("{")
    summary.Summary(group, {}).write()
    table = rows(group / "summary.csv")
    assert [row["run"] for row in table] == ["dense0.1", "dst0.1", "dst0.2"]
    assert [(row["reg.method"], row["reg.alpha"], row["schedule.lr"]) for row in table] == [
        ("dense", "", "0.1"),
        ("dst", "0.1", "0.1"),
        ("dst", "0.2", "0.2"),
    ]
    assert {(row["state"], row["error"], row["density"]) for row in table} == {
        ("failed", "why", "")
    }
    assert "schedule.betas" not in table[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h"), (864000, "10.0 days")],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.slow
def test_submitit_runs_a_sweep(command: Command) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    outcome = begun(
        "-m", "seed=0,1", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", *SMALL
    )
    output, _ = outcome.communicate()
    assert outcome.returncode == 0, output
    assert "2 of 2 runs finished" in output
    assert [row["state"] for row in rows(Path("outputs/grid/summary.csv"))] == ["finished"] * 2


def test_combinations_that_are_the_same_run_are_told(command: Command) -> None:
    words = ("-m", "reg=str,set", "reg.density=0.2,0.1,0.05", "threads=1,2", "dry_run=true")
    outcome = command(*words)
    assert "4 runs, 4 to do" in outcome.out, "one of str"
    assert outcome.err == (
        "dstrun: note: 12 combinations are 4 different runs, since some differ only in "
        "threads (it tells no runs apart) and reg.density (str has no density to ask for)\n"
    )
