"""Sweeps whose runs have several ranks: on this machine, and by a SLURM that is made up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dstrun.system.files import read_json
from tests.helpers.runs import without_times

pytestmark = pytest.mark.slow  # every run imports torch four times
FAKE_SLURM = Path(__file__).parents[1] / "helpers" / "fake_slurm"
SMALL = ["device=cpu", "devices=2", "schedule.epochs=8", "data.train_limit=400", "threads=1"]


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dstrun", "-m", *SMALL, "checkpoint.every=0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ranks_here() -> dict[tuple[str, int], int]:
    """Return the ranks of the jobs that run in this folder, by launcher and rank."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or (process / "cwd").readlink() != Path.cwd():
                continue
            variables = (process / "environ").read_text().split("\0")
            parent = (process / "stat").read_text().split()[3]
        except OSError:
            continue
        for variable in variables:
            if variable.startswith("RANK="):
                found[parent, int(variable.removeprefix("RANK="))] = int(process.name)
    return found


def wait_for_checkpoints(count: int, process: subprocess.Popen[str]) -> None:
    while len(list(Path().glob("outputs/*/*/checkpoint.pt"))) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_a_killed_rank_ends_its_own_job_alone() -> None:
    sweep = start("seed=0,1", "n_jobs=2", "schedule.epochs=30")
    wait_for_checkpoints(2, sweep)
    launcher, _ = next(iter(ranks_here()))
    os.kill(ranks_here()[launcher, 1], signal.SIGKILL)
    said, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 1, said
    assert "1 of 2 runs finished, 1 failed" in said
    assert "rank 1 was killed by SIGKILL" in said
    assert "images/s" not in said  # what ranks print does not get between the lines
    states = [read_json(file) for file in Path("outputs/grid").glob("*/status.json")]
    assert sorted(state["state"] for state in states) == ["failed", "finished"]
    assert [state["ranks"] for state in states] == [2, 2]


def test_a_stopped_sweep_stops_all_ranks_with_a_checkpoint() -> None:
    sweep = start("seed=0,1", "n_jobs=2", "schedule.epochs=200")
    wait_for_checkpoints(2, sweep)
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 128 + signal.SIGINT, said
    assert not ranks_here()
    for file in Path("outputs/grid").glob("*/status.json"):
        assert read_json(file)["state"] == "interrupted"


@pytest.mark.parametrize("nodes", [1, 2])
def test_slurm_gives_each_rank_a_task(monkeypatch: pytest.MonkeyPatch, nodes: int) -> None:
    """As the same sweep on this machine."""
    pytest.importorskip("submitit")
    Path("slurm").mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(Path("slurm").absolute()))
    monkeypatch.setenv("PATH", f"{FAKE_SLURM}{os.pathsep}{os.environ['PATH']}")
    here = start("seed=0,1", "group=here")
    assert here.communicate(timeout=900)
    assert here.returncode == 0
    words = ["hydra/launcher=slurm", f"hydra.launcher.nodes={nodes}", "group=there"]
    there = start("seed=0,1", *words)
    said, _ = there.communicate(timeout=900)
    assert there.returncode == 0, said
    asked = Path("slurm/1.asked").read_text()
    for name, each in (("nodes", nodes), ("ntasks-per-node", 2 // nodes)):
        assert f"#SBATCH --{name}={each}\n" in asked
    assert f"#SBATCH --gpus-per-node={2 // nodes}\n" in asked
    assert f"#SBATCH --mem={64 // nodes}GB\n" in asked
    runs = [path.parent for path in Path("outputs/here").glob("*/summary.json")]
    assert len(runs) == 2
    for run in runs:
        other = Path("outputs/there", run.name)
        assert without_times(other / "metrics.csv") == without_times(run / "metrics.csv")
        assert read_json(other / "status.json")["ranks"] == 2
