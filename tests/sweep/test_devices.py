"""GPUs of a sweep's jobs, emulated; what a job gets of the machine; notes on devices."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dstrun.runs.status import FINISHED
from dstrun.sweep import pool, worker
from dstrun.sweep.devices import gpus_for, notes_on_devices
from dstrun.sweep.forkserver import PRELOADED
from dstrun.sweep.plan import Job
from dstrun.sweep.start_check import StartCheck
from dstrun.sweep.worker import WorkerSettings
from dstrun.system.gpu import visible_gpus
from dstrun.system.run_files import STATUS_FILE
from tests.helpers.gpus import TOO_OLD, emulate_gpus, emulate_unusable_gpu
from tests.helpers.tiny import config

COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
LISTED = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0f2c)
  MIG 3g.40gb     Device  0: (UUID: MIG-1a-b)
  MIG 3g.40gb     Device  1: (UUID: MIG-2c-d)
"""


@pytest.fixture(autouse=True)
def no_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find no nvidia-smi."""
    monkeypatch.setenv("PATH", str(tmp_path))


def install_smi(folder: Path, answer: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(
        f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{answer}END\n"
    )
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("variable", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("", 1, ["0"]),
        ("3,5", 2, ["3", "5"]),
        ("3,9", 1, ["3"]),  # CUDA leaves out what follows one that is not there
        ("GPU-0f2c", 1, ["GPU-0f2c"]),
        ("MIG-1a-b,MIG-2c-d", 1, ["MIG-1a-b", "MIG-2c-d"]),
        ("MIG-1a-b, MIG-2c-d,", 1, ["MIG-1a-b", "MIG-2c-d"]),
        ("MIG-1a-b", 0, []),
    ],
)
def test_gpus_are_those_of_the_variable_and_each_mig_instance_is_one(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, count: int, names: list[str]
) -> None:
    emulate_gpus(monkeypatch, count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("count", "answer", "names"),
    [
        (1, LISTED, ["MIG-1a-b", "MIG-2c-d"]),
        (1, LISTED.splitlines(keepends=True)[0], ["0"]),
        (1, "", ["0"]),
        (2, LISTED, ["0", "1"]),
        (0, LISTED, []),
    ],
)
def test_mig_instances_that_the_variable_does_not_name_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, answer: str, names: list[str]
) -> None:
    emulate_gpus(monkeypatch, count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    install_smi(tmp_path, answer)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("devices", "gpus", "at_a_time"),
    [
        ("auto", ["0", "1"], 2),
        ("cuda", ["0", "1"], 2),
        ("auto cpu", ["0", "1"], 2),  # and not one a core
        ("cpu", [], 8),
        ("cuda:1", None, 1),
        ("cuda:1 cpu", None, 1),
    ],
)
def test_jobs_at_a_time_follow_the_gpus(
    monkeypatch: pytest.MonkeyPatch, devices: str, gpus: list[str] | None, at_a_time: int
) -> None:
    emulate_gpus(monkeypatch, count=2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(worker, "usable_cores", lambda: 8)
    assert gpus_for(set(devices.split())) == gpus
    jobs = [Job((), config(device=device), Path()) for device in 8 * devices.split()]
    assert pool.jobs_at_a_time(jobs, gpus) == at_a_time


@pytest.mark.parametrize(
    ("device", "ranks", "slots", "at_a_time"),
    [
        ("auto", 2, ["0,1", "2,3", "4,5", "6,7"], 4),
        ("cuda", 8, ["0,1,2,3,4,5,6,7"], 1),
        ("auto", 3, ["0,1,2", "3,4,5"], 2),  # and two GPUs are left over
        ("cpu", 2, [], 5),
        ("cpu", 16, [], 1),
    ],
)
def test_a_slot_has_a_gpu_or_a_core_for_each_rank(
    monkeypatch: pytest.MonkeyPatch, device: str, ranks: int, slots: list[str], at_a_time: int
) -> None:
    emulate_gpus(monkeypatch, count=8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(worker, "usable_cores", lambda: 10)
    assert gpus_for({device}, ranks) == slots
    jobs = 9 * [Job((), config(device=device, devices=ranks), Path())]
    assert pool.jobs_at_a_time(jobs, slots) == at_a_time


def test_a_gpu_whose_driver_is_too_old_is_no_place_for_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its driver counts it all the same."""
    emulate_unusable_gpu(monkeypatch, TOO_OLD)
    assert gpus_for({"auto"}) == []
    (note,) = notes_on_devices([config(device="auto", seed=seed) for seed in (0, 1)])
    assert note.startswith("device: the CPU is used, since the NVIDIA driver is too old")
    assert notes_on_devices([config(device="cpu")]) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([{}, {"seed": 1}], "schedule.compile=step (or mask) is faster: a step of dst launches up"),
        ([{"schedule__compile": "mask"}, {}], "schedule.compile=step (or mask) is faster: a "),
        ([{"reg__method": "dense"}, {"schedule__compile": "step"}], ""),
        ([{"reg__method": "dense", "schedule__precision": "bf16"}], "schedule.channels_last=true "),
        (
            [{"schedule__precision": "bf16"}],
            "schedule.compile=step (or mask) and schedule.channels_last=true are faster: a step",
        ),
        (
            [
                {
                    "reg__method": "dense",
                    "schedule__precision": "bf16",
                    "schedule__channels_last": True,
                }
            ],
            "",
        ),
        (
            [
                {
                    "reg__method": "dense",
                    "schedule__precision": "bf16",
                    "model__builder": "lenet_300_100",
                }
            ],
            "",
        ),
    ],
)
def test_a_sweep_on_a_gpu_has_one_note_on_what_is_faster(
    monkeypatch: pytest.MonkeyPatch, options: list[dict[str, Any]], words: str
) -> None:
    configs = [config(device="auto", **one) for one in options]
    assert notes_on_devices(configs) == []
    emulate_gpus(monkeypatch)
    assert notes_on_devices([config(device="cpu", **one) for one in options]) == []
    notes = notes_on_devices(configs)
    assert len(notes) == bool(words)
    assert all(note.startswith(f"on a GPU {words}") for note in notes)


def test_notes_on_devices_follow_the_others_of_a_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Run a sweep whose only job is finished."""
    monkeypatch.setattr(pool, "start_forkserver", lambda threads, modules: None)
    checked = StartCheck([], ["from the check"])
    monkeypatch.setattr(pool, "check_start", lambda jobs, stop: checked)
    (tmp_path / STATUS_FILE).write_text(json.dumps({"state": FINISHED}))
    pool.run_jobs([Job((), config(), tmp_path)], "grid", ["from the command"])
    notes = "dstrun: note: from the command\ndstrun: note: from the check\n"
    assert capsys.readouterr().err == notes


def test_a_job_has_its_share_of_cores_for_the_compiler_and_its_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for of_the_user, expected in (({}, "3"), ({COMPILE_THREADS: "7"}, "7")):
        job: dict[str, str] = {}
        monkeypatch.setattr("os.environ", job)
        WorkerSettings("MIG-1a-b", 3, environment=of_the_user).set_environment()
        assert job == {
            COMPILE_THREADS: expected,
            "OMP_NUM_THREADS": "3",
            "DSTRUN_SHARED_BY": "1",
            "CUDA_VISIBLE_DEVICES": "MIG-1a-b",
        }


@pytest.mark.parametrize(("compile", "shares"), [("off", True), ("mask", False), ("step", False)])
def test_jobs_that_compile_load_the_compiler_themselves(
    monkeypatch: pytest.MonkeyPatch, compile: str, shares: bool
) -> None:
    given: list[list[str]] = []

    def start(threads: int, modules: list[str]) -> None:
        given.append(modules)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "start_forkserver", start)
    jobs = [Job((), config(schedule__compile=one), Path()) for one in ("off", compile)]
    with pytest.raises(KeyboardInterrupt):
        pool.run_jobs(jobs, "grid")
    assert given == [["torch._dynamo"] if shares else []]


LOADED = """
import os, sys
for name in {names}:
    __import__(name)
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "3"
import torch._dynamo
print(sys.modules["torch._inductor.config"].compile_threads)
"""


@pytest.mark.slow
def test_the_compiler_reads_the_share_after_what_jobs_share_is_loaded() -> None:
    script = LOADED.format(names=PRELOADED)
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "3\n", found.stderr
