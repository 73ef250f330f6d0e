"""Failures of the surroundings of a run: memory, data, clock, machine; and secrets."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dstrun.compare.run_tables import Store
from dstrun.runs import status
from tests.helpers.child import ended, forked
from tests.helpers.commands import Command, Trained
from tests.helpers.data import image_files
from tests.helpers.runs import LONG, QUICK, SECRET, assert_broken_equals_whole, only_run, stop_at


def with_little_memory(words: list[str], more: int) -> tuple[int, str]:
    """Return exit code and output of `dstrun WORDS` with limited memory.

    Its process may use `more` bytes more than this one.
    """

    def before() -> None:
        sys.stdout = sys.stderr = Path("said").open("w", buffering=1)  # noqa: SIM115
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)

    return ended(forked([*words, "wandb.mode=disabled"], before)), Path("said").read_text()


@pytest.mark.slow
def test_out_of_memory_names_the_batch_and_a_way_out(command: Command) -> None:
    """Use 64 channels of 28×28 floats for 1,024 images: 200 MB a layer."""
    words = [
        "model=wrn_16_8",
        "model.args.width=4",
        "schedule.epochs=1",
        "data.test_limit=20",
        "threads=1",
    ]
    command("schedule.epochs=0")  # so that everything a first run loads is loaded
    code, said = with_little_memory([*words, "schedule.batch_size=1024"], more=500 << 20)
    line = (
        "out of memory at schedule.batch_size=1024 on cpu: "
        "schedule.accumulate=2 computes the same batches in smaller pieces"
    )
    assert code == 1
    assert f"failed, {line} (traceback in train.log)" in said
    assert "Traceback" not in said
    state = json.loads(next(Path("outputs/single").glob("wrn*/status.json")).read_text())
    assert (state["state"], state["error"]) == ("failed", line)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_every_kind_of_it_is_known(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("dstrun.training.console.RunConsole.show_step", fail)
    outcome = command(*QUICK, "schedule.accumulate=4")
    assert outcome.code == 1
    assert (
        "out of memory at schedule.batch_size=64 in 4 pieces on cpu: schedule.accumulate=8 computes"
        in outcome.out
    )


@pytest.mark.parametrize(
    "words", [["name={}"], ["wandb.tags=[{}]"], ["data.root=/x/{}/y"], ["model.args.width={}"]]
)
def test_a_secret_of_the_environment_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for value in (SECRET, "${oc.env:HF_TOKEN}"):
        outcome = command(*(word.format(value) for word in words))
        assert outcome.code == 2
        assert outcome.err.endswith(
            ": got the value of $HF_TOKEN, a secret that config.yaml would show\n"
        )
        assert SECRET not in outcome.out + outcome.err
        assert not Path("outputs").exists()


@pytest.mark.slow
def test_data_that_has_gone_costs_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect one line and an unchanged run; with the data back, it resumes."""
    image_files(Path("photos"), {"a": 20, "b": 20}, size=(28, 28))
    words = [
        "model=lenet5",
        "data=folder",
        "data.root=photos",
        "data.size=28",
        "schedule.epochs=3",
        "schedule.batch_size=8",
        "checkpoint.every=0",
    ]
    command(*words, "group=whole")
    stop_at(command, monkeypatch, 5, 15, words)
    folder = only_run("outputs/broken")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.move("photos", "elsewhere")
    outcome = command(*words, "group=broken")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "dstrun: data.root: there is no folder photos\n"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    shutil.move("elsewhere", "photos")
    assert command(*words, "group=broken").code == 0
    assert_broken_equals_whole()


@pytest.mark.parametrize("years", [-1, 1])
@pytest.mark.slow
def test_a_clock_that_is_set_back_or_forth(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    trained(*LONG, "group=whole")
    stop_at(command, monkeypatch, 14, 15)
    folder = only_run("outputs/broken")
    state = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(
        json.dumps(state | {"state": "running"})
    )  # as a kill would have left it
    with monkeypatch.context() as patch:
        patch.setattr(status, "now", lambda: f"{2026 + years}-01-01T00:00:00+00:00")
        assert command(*LONG, "group=broken").code == 0
    assert_broken_equals_whole()
    assert set(Store([Path("outputs")]).runs["state"]) == {"finished"}


def test_a_run_goes_on_on_another_machine(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Copy its folder to another machine, with the lock, process and paths of the first."""
    trained(*LONG, "group=whole")
    stop_at(command, monkeypatch, 14, 15)
    state_file = only_run("outputs/broken") / "status.json"
    state = json.loads(state_file.read_text())
    owner = state["owner"] | {"host": "elsewhere", "heartbeat": "2026-01-01T00:00:00+00:00"}
    state_file.write_text(json.dumps(state | {"state": "running", "owner": owner}))
    shutil.copytree("outputs", "there/outputs")
    shutil.rmtree("outputs/broken")
    monkeypatch.chdir("there")
    outcome = command(*LONG, "group=broken")
    assert outcome.code == 0
    assert "resuming    at step 14 of" in outcome.out
    assert_broken_equals_whole()
    assert not (tmp_path / "outputs" / "broken").exists()


def test_the_wish_to_stop_has_its_exit_code(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(
        signal.SIGHUP, signal.SIG_DFL
    )  # the tests themselves may run under nohup
    try:
        codes: dict[int, Any] = {
            number: stop_at(command, monkeypatch, step, number).code
            for step, number in ((5, 2), (9, 15), (13, 10), (17, 12), (21, 1))
        }
    finally:
        signal.signal(signal.SIGHUP, before)
    assert codes == {2: 130, 15: 143, 10: 138, 12: 140, 1: 129}


def test_nohup_is_left_alone(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_at(command, monkeypatch, 5, signal.SIGHUP).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def with_no_reader(words: list[str]) -> tuple[int, str]:
    """Return exit code and stderr of `dstrun WORDS` whose output nobody reads.

    As with `dstrun … | head -0`.
    """

    def before() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115

    return ended(forked(words, before)), Path("said").read_text()


@pytest.mark.parametrize(("words", "runs"), [(QUICK, 2), (["report"], 1)])
def test_a_reader_that_has_gone_stops_no_run(trained: Trained, words: list[str], runs: int) -> None:
    trained(*QUICK, "seed=1")
    code, said = with_no_reader(words)
    expected = [0] if words is QUICK else [1, 141]  # since rich 13.8, and before it
    assert code in expected
    assert said == ""
    assert Store([Path("outputs")]).runs["state"].tolist() == ["finished"] * runs


@pytest.mark.parametrize(
    "words", [["--help"], pytest.param(["-m", *QUICK, "seed=0,2"], marks=pytest.mark.faults)]
)
def test_a_reader_that_has_gone_is_no_traceback_at_the_very_end(words: list[str]) -> None:
    """Use a process of its own, because Python flushes the output when it ends."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dstrun", *words], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    if "-m" in words:
        assert Store([Path("outputs")]).runs["state"].tolist() == ["finished"] * 2
