"""A run on two ranks from the command line: stopped, killed, resumed, and refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.ranks import ranks_of
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


def torchrun(
    nodes: int, node: int, *words: str, options: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start torchrun with two ranks in all, or with the part of one of two machines."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", *options]
    port = 20_000 + os.getpid() % 20_000  # other tests may run beside this one
    command += [f"--node-rank={node}", f"--nproc-per-node={2 // nodes}", f"--master-port={port}"]
    return subprocess.Popen(
        [*command, "-m", "dstrun", *LONG, "device=cpu", "threads=1", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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
        os.kill(ranks_of(killed.pid)[rank], signal.SIGKILL)
        since = time.monotonic()
        killed.communicate(timeout=60)
        assert killed.returncode == 1
        assert time.monotonic() - since < 30
        status = json.loads((only_run("outputs/broken") / "status.json").read_text())
        assert status["state"] == "failed"
        assert status["error"].startswith(f"rank {rank} was killed by SIGKILL")

    assert run(*ON_TWO, "group=broken")[0] == 0
    assert_broken_equals_whole()


@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_is_the_same_run(nodes: int) -> None:
    """Two machines are two launchers on this one."""
    assert run(*ON_TWO, "group=whole")[0] == 0
    processes = [torchrun(nodes, node, "group=broken") for node in range(nodes)]
    for process in processes:
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, said
    assert_broken_equals_whole()


THREADS = """
from pathlib import Path
from dstrun.training.ranks import joined

def threads():
    return {file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")}

with joined("cpu") as ranks:
    import torch.distributed.nn  # what torch itself does when an optimiser is made
    ranks.end_together()
    assert any("gloo" in name for name in threads())
assert not any("gloo" in name for name in threads()), threads()
"""


def test_a_rank_leaves_no_thread_of_the_group() -> None:
    """Such a thread, at the process's exit, aborted one run in some hundred."""
    Path("rank.py").write_text(THREADS)
    port = f"--master-port={20_000 + os.getpid() % 20_000}"
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", port, "rank.py"]
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_ranks_that_torchrun_starts_again_go_on_from_the_checkpoint() -> None:
    assert run(*ON_TWO, "group=whole")[0] == 0
    process = torchrun(1, 0, "group=broken", "overwrite=true", options=["--max-restarts=1"])
    wait_for_epoch(3, process)
    checkpoint = only_run("outputs/broken") / "checkpoint.pt"
    assert checkpoint.is_file()
    os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert_broken_equals_whole()
    assert "resuming" in (only_run("outputs/broken") / "train.log").read_text()


def test_machines_with_different_commands_are_refused() -> None:
    processes = [torchrun(2, node, f"seed={node}") for node in range(2)]
    for process in processes:
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 1  # torchrun's
        assert said.count("dstrun: seed: got ") == 1
        assert "exitcode  : 2" in said
    assert not Path("outputs").exists()


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


SLOW_SAVE = """
import importlib.abc, sys, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "dstrun.training.session":
            from dstrun.runs import checkpoint
            save = checkpoint.save
            checkpoint.save = lambda *arguments: (time.sleep(4), save(*arguments))

sys.meta_path.insert(0, Slow())
"""


def test_a_stopped_run_has_the_time_that_its_checkpoint_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sitecustomize.py").write_text(SLOW_SAVE)
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")
    stopped = start(*ON_TWO, "checkpoint.every=1000", "group=broken")
    wait_for_epoch(1, stopped)
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=60)
    assert stopped.returncode == 128 + signal.SIGTERM
    folder = only_run("outputs/broken")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert (folder / "checkpoint.pt").is_file()
