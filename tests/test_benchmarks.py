"""The benchmarks run and write their figures; how fast anything is, is not tested."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.data import needs_mnist

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COMPILED = ["DST, compile=mask", "dense, compile=step", "DST, compile=step"]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def call(script: str, *words: str) -> dict[str, Any]:
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        monkeypatch.setattr("sys.argv", [script, *words, "--json", "figures.json"])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return json.loads(Path("figures.json").read_text())

    return call


def test_step_compares_updates(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["model=lenet5", "data=mnist", "schedule.batch_size=4", "threads=1"]
    without = [*COMPILED, "rigl, compile=step"]
    words += ["--rounds", "2", "--seconds", "0.01", "--methods", "rigl", "--without", *without]
    found = benchmark("step.py", *words)
    variants = [row["variant"] for row in found["rows"]]
    assert variants == ["dense", "DST, eager", "rigl", "rigl, update"]
    assert found["rows"][0]["ratio"] == 1
    assert found["weights"] == 430500
    assert found["machine"]["versions"]["torch"]


@pytest.mark.slow
def test_memory_compares_processes(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["model=lenet_300_100", "data=mnist", "schedule.batch_size=4", "threads=1"]
    found = benchmark("memory.py", *words, "--updates", "1", "--without", *COMPILED)
    assert [row["variant"] for row in found["rows"]] == ["dense", "DST, eager"]


@pytest.mark.slow
def test_startup_times_commands(benchmark: Callable[..., dict[str, Any]]) -> None:
    assert len(benchmark("startup.py", "--rounds", "1")["rows"]) == 7


@pytest.mark.slow
@needs_mnist
def test_epoch_times_both_sides_by_their_output(benchmark: Callable[..., dict[str, Any]]) -> None:
    script = Path("authors", "mnist", "train.py")
    script.parent.mkdir(parents=True)
    script.write_text("import time\nprint('Epoch start')\ntime.sleep(1.5)\nprint('Epoch start')\n")
    words = [
        "--authors",
        "authors",
        "--rounds",
        "1",
        "--without",
        "dstrun, compile=mask",
        "dstrun, compile=step",
    ]
    theirs, ours = benchmark("epoch.py", *words)["rows"]
    assert theirs["seconds"] == pytest.approx(1.5, abs=0.2)
    assert ours["epoch of"] == "dstrun"
    assert ours["times faster"] == pytest.approx(theirs["seconds"] / ours["seconds"])


@pytest.mark.slow
def test_sweep_compares_whole_sweeps(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["reg.alpha=1e-3", "schedule.epochs=1", "data.train_limit=64", "data.test_limit=20"]
    found = benchmark("sweep.py", "--finished", "3", "--words", *words)
    assert [row["what"] for row in found["rows"]] == [
        "one run at a time, one thread",
        "2 at a time",
        "training in it, one at a time",
        "between two runs",
        "3 finished runs recognised",
    ]


@pytest.mark.slow
def test_loader_compares_two_readers(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["--workers", "0", "--rounds", "1", "--batches", "1", "--images", "160"]
    theirs, ours = benchmark("loader.py", *words)["rows"]
    assert (theirs["loader"], ours["loader"]) == ("ImageFolder", "stream")
    assert ours["ratio"] == pytest.approx(ours["images/s"] / theirs["images/s"])


def test_scaling_is_the_arithmetic_of_its_docstring(
    benchmark: Callable[..., dict[str, Any]],
) -> None:
    """266,200 weights, 410 biases and 410 thresholds in fp32; 100 images in two steps of 64."""
    words = ["model=lenet_300_100", "data=mnist", "schedule.epochs=9", "schedule.batch_size=64"]
    given = ["--images-a-second", "640", "--link", "0.001", "--decoded", "100", "--images", "100"]
    alone, two = benchmark("scaling.py", *words, *given, "--ranks", "1", "2")["rows"]
    moved = 4 * (266_200 + 410 + 410)
    assert (alone["computing, ms"], alone["all-reduce, ms"]) == (100, 0)
    assert two["computing, ms"] == 50
    assert two["all-reduce, ms"] == pytest.approx(1e3 * moved / 1e6)
    assert alone["hours"] == pytest.approx(18 * 0.1 / 3600)
    assert (alone["images/s"], alone["cores that decode"]) == (640, 7)


@pytest.mark.slow  # imports torch twice
def test_ranks_compares_steps(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["model=lenet_300_100", "data=mnist", "schedule.batch_size=4", "--rounds", "2"]
    (row,) = benchmark("ranks.py", *words)["rows"]
    assert row["gradients, MiB"] == pytest.approx(4 * (266_200 + 410 + 410) / 2**20)
    assert row["ratio"] > 0
    assert row["all-reduce, ms"] > 0


@pytest.mark.slow
def test_trackers_compares_runs(benchmark: Callable[..., dict[str, Any]]) -> None:
    words = ["schedule.epochs=1", "data.train_limit=64", "data.test_limit=20"]
    rows = benchmark("trackers.py", "--rounds", "1", "--words", *words)["rows"]
    assert (rows[0]["tracker"], rows[0]["ratio"]) == ("none", 1)
    assert {"wandb"} < {row["tracker"] for row in rows}
