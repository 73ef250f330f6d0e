"""Ranks of a run: what is refused before they start, and what their ends mean."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dstrun.cli import exit as cli_exit
from dstrun.system.errors import (
    BusyError,
    InputError,
    Interrupted,
    RunFailedError,
    StoppedByFile,
)
from dstrun.system.files import write_json
from dstrun.training.launch import (
    RankFailedError,
    as_launched,
    check_devices,
    error_of_ranks,
    refuse_other_commands,
)
from dstrun.training.launched import CALL, PROGRAM, _take_signals
from dstrun.training.ranks import FROM_LAUNCHER, Ranks, local_rank
from tests.helpers.commands import Command
from tests.helpers.gpus import emulate_gpus
from tests.helpers.tiny import config

STARTED = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "1",
}


def set_all(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    for name, value in (STARTED | changed).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("device", "devices", "refused"),
    [
        ("auto", 1, ""),
        ("cuda:1", 1, ""),
        ("auto", 2, ""),
        ("cpu", 3, ""),
        (
            "cpu",
            4,
            "devices: each of 4 ranks needs two images of a batch, expected schedule.batch_size",
        ),
        ("cuda:1", 2, "device: got cuda:1, expected one of auto, cuda, cpu with devices=2"),
        ("cuda", 3, "devices: got 3, expected at most the number of GPUs that torch can use, 2"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, devices: int, refused: str
) -> None:
    emulate_gpus(monkeypatch, count=2)
    asked = config(device=device, devices=devices)
    if not refused:
        check_devices(asked)
        return
    with pytest.raises(InputError) as error:
        check_devices(asked)
    assert str(error.value).startswith(refused)


@pytest.mark.parametrize("name", FROM_LAUNCHER)
def test_half_an_environment_of_a_launcher_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    set_all(monkeypatch)
    assert local_rank() == 0
    set_all(monkeypatch, WORLD_SIZE="1", RANK=None)
    assert local_rank() is None
    set_all(monkeypatch, **{name: None if name != "WORLD_SIZE" else "two"})
    with pytest.raises(InputError, match=f"^{name}: got '.*' in the environment, where WORLD_SIZE"):
        local_rank()


def test_devices_beside_ranks_that_are_there_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_launched(config(devices=3)).devices == 3
    set_all(monkeypatch)
    assert as_launched(config(devices=2)).devices == 2
    assert as_launched(config()).devices == 1
    with pytest.raises(InputError, match=r"^devices: got 3, but 2 ranks have been started"):
        as_launched(config(devices=3))


def test_a_rank_that_is_started_again_does_not_start_over(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert as_launched(config(overwrite=True)).overwrite
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not as_launched(config(overwrite=True)).overwrite


class Gathered(Ranks):
    """Two ranks, of which the other one has the given config."""

    def gather(self, state: Any) -> list[Any]:
        return [state, state | {"seed": 7, "device": "cuda:1"}]


def test_ranks_of_different_commands_are_refused() -> None:
    same = config(seed=7)
    refuse_other_commands(same, Gathered())
    with pytest.raises(
        InputError, match=r"^seed: got 7 on rank 1 and 0 on rank 0, expected the sa"
    ):
        refuse_other_commands(config(), Gathered())


LOST = RunFailedError("[..] Connection closed by peer [127.0.0.1]:1")
ENDED = RunFailedError("another rank has ended")


@pytest.mark.parametrize(
    ("codes", "left", "expected"),
    [
        ({0: 2, 1: 2}, {0: InputError("seed: no"), 1: InputError("x")}, InputError("seed: no")),
        ({0: 1, 1: 2}, {0: ENDED, 1: InputError("seed: no")}, InputError("seed: no")),
        ({1: 1, 0: 2}, {1: LOST, 0: BusyError("by 7")}, BusyError("by 7")),
        ({0: 1, 1: -9}, {0: ENDED}, RankFailedError("rank 1 was killed by SIGKILL (if memory")),
        ({0: -11, 1: 1}, {1: LOST}, RankFailedError("rank 0 was killed by SIGSEGV")),
        (
            {0: 1, 1: 1},
            {0: ENDED, 1: RunFailedError("out of memory")},
            RankFailedError("rank 1: out of memory"),
        ),
        (
            {0: 1, 1: 1},
            {0: RunFailedError("DivergedError"), 1: RunFailedError("NaN")},
            RunFailedError("DivergedError"),
        ),
        ({0: 143, 1: 143}, {0: StoppedByFile(15), 1: Interrupted(15)}, StoppedByFile(15)),
        ({0: 1}, {0: ENDED}, ENDED),
        ({0: -signal.SIGTERM, 1: -15}, {}, Interrupted(15)),
        ({0: -signal.SIGUSR1, 1: -15}, {}, Interrupted(signal.SIGUSR1)),
        ({1: 3, 0: -15}, {}, RankFailedError("rank 1 ended with exit code 3")),
    ],
)
def test_the_error_is_that_of_the_rank_that_failed_first(
    tmp_path: Path, codes: dict[int, int], left: dict[int, BaseException], expected: BaseException
) -> None:
    for rank, error in left.items():
        (tmp_path / str(rank)).write_bytes(pickle.dumps(error))
    found = error_of_ranks(codes, tmp_path)
    assert type(found) is type(expected)
    assert str(found).startswith(str(expected))
    assert found.exit_code == expected.exit_code  # type: ignore[attr-defined]


def test_a_rank_whose_launcher_was_killed_before_it_had_begun_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(
        "dstrun.training.launched.os.kill", lambda process, number: sent.append(number)
    )
    _take_signals(0, Path())
    assert sent == [signal.SIGTERM]


@pytest.mark.slow  # imports torch
def test_a_rank_that_is_interrupted_while_it_is_importing_says_nothing(tmp_path: Path) -> None:
    (tmp_path / CALL).write_bytes(pickle.dumps(check_devices))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(os.getpid())]
    rank = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "libtorch" not in Path(f"/proc/{rank.pid}/maps").read_text():
        time.sleep(0.005)
    rank.send_signal(signal.SIGINT)
    assert (rank.communicate(timeout=60)[1], rank.returncode) == ("", -signal.SIGINT)


def test_a_sweep_does_not_run_on_ranks(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)
    ended = command("-m", "seed=0,1")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith("dstrun: devices: 2 ranks have been started, but a sweep starts")


def test_all_runs_of_a_sweep_have_as_many_ranks(command: Command) -> None:
    ended = command("-m", "devices=1,2")
    assert (ended.code, ended.err) == (
        2,
        "dstrun: devices: got 2 for a run, but all runs of a sweep share 1; give devices=2 on the "
        "command line, or a sweep for each\n",
    )


def test_ranks_that_do_not_fill_the_nodes_are_refused(command: Command) -> None:
    pytest.importorskip("submitit")
    words = ["hydra/launcher=slurm", "hydra.launcher.nodes=2"]
    ended = command("-m", "seed=0,1", "devices=3", *words)
    assert (ended.code, ended.err) == (
        2,
        "dstrun: devices: got 3, expected a multiple of hydra.launcher.nodes=2\n",
    )


def test_a_rank_lets_the_first_one_say_what_is_wrong(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, RANK="1", LOCAL_RANK="1")
    monkeypatch.setattr(cli_exit, "SECONDS_TO_WAIT", 0.0)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ended = command("seed=x")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (ended.code, ended.err) == (2, "")


def test_a_run_that_nothing_is_left_of_starts_no_ranks(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dstrun.training.run.launch", lambda call, count: pytest.fail("started"))
    ended = command("devices=2", "device=cpu", "dry_run=true")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)


def test_a_killed_rank_is_the_reason_in_the_folder(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def fail(call: Any, count: int) -> None:
        asked.append(count)
        raise RankFailedError("rank 1 was killed by SIGKILL")

    monkeypatch.setattr("dstrun.training.run.launch", fail)
    ended = command("devices=2", "device=cpu")
    assert (ended.code, asked) == (1, [2])
    (folder,) = Path("outputs/single").iterdir()
    assert ended.err == f"{folder.relative_to(Path())}: failed, rank 1 was killed by SIGKILL\n"
    assert '"error": "rank 1 was killed by SIGKILL"' in (folder / "status.json").read_text()
    assert "rank 1 was killed by SIGKILL" in (folder / "train.log").read_text()


def test_a_rank_that_is_killed_after_the_end_changes_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(call: Any, count: int) -> None:
        write_json(folder / "status.json", {"state": "finished", "started": "later"})
        raise RankFailedError("rank 1 was killed by SIGKILL")

    assert command("schedule.epochs=0").code == 0
    (folder,) = Path("outputs/single").iterdir()
    monkeypatch.setattr("dstrun.training.run.launch", finish)
    ended = command("schedule.epochs=0", "devices=2", "device=cpu", "overwrite=true")
    assert (ended.code, ended.err) == (0, "")
    ended = command("schedule.epochs=0", "devices=2", "device=cpu", "overwrite=true")
    assert ended.code == 1  # it has not begun: this is the end of the one before
