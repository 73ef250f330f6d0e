"""The code that torch.compile generates for an H100, which is read here and run nowhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_cuda import libraries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(libraries.missing()), reason=f"needs {libraries.missing()}"),
]
STEPS = ["step", "dense, step", "step, target", "step, bf16", "step, weight", "step, deterministic"]
STEPS += ["static, step", "rigl, step", "rigl, step, bf16"]
MASKS = ["mask", "mask, bf16", "mask, layer", "mask, weight", "mask, deterministic"]
Graphs = list[dict[str, Any]]


ROOT = Path(__file__).parents[2]


def run(*words: str) -> str:
    command = [sys.executable, "-m", *words]
    environment = os.environ | libraries.environment()
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the code for LeNet-300-100 in all cases, and figures.json."""
    made = tmp_path_factory.mktemp("generated")
    words = ["lenet_300_100", "--cases", *STEPS, "step, adam", *MASKS]
    words += ["--json", str(made / "figures.json"), "--save", str(made)]
    run("tests.helpers.fake_inductor", *words)
    return made


@pytest.fixture(scope="module")
def full_step(folder: Path) -> Callable[[str], Graphs]:
    """Return the graphs that a full step calls, by the case's name."""
    figures = json.loads((folder / "figures.json").read_text())

    def called(case: str) -> Graphs:
        row = figures[f"lenet_300_100, {case}"]
        return [row["graphs"][number] for number in row["step"]]

    return called


@pytest.mark.parametrize("case", STEPS)
def test_a_step_is_one_replay_that_copies_in_its_images_and_labels(
    full_step: Callable[[str], Graphs], case: str
) -> None:
    """Weights, thresholds, momenta, rate and α stay where they are: only these two are copied."""
    (graph,) = full_step(case)
    assert graph["skipped"] == []
    assert graph["partitions"] <= 1
    (replay,) = graph["replays"]
    assert replay["mutated"] > 0
    assert replay["mutated_copied"] == 0
    assert replay["copied"] == 2
    assert graph["on_cpu"] == 0


def test_with_another_optimiser_the_passes_are_one_replay(
    full_step: Callable[[str], Graphs],
) -> None:
    passes, _ = full_step("step, adam")  # and the thresholds' reset
    assert passes["is_replayed"]
    assert passes["replays"][0]["copied"] == 2


@pytest.mark.parametrize("case", MASKS)
def test_masks_of_all_layers_are_two_calls_of_few_kernels(
    full_step: Callable[[str], Graphs], case: str
) -> None:
    graphs = full_step(case)
    assert len(graphs) == 2, "backward pass; reset and masks of the next pass"
    most = 20 if case == "mask, deterministic" else 10
    assert sum(graph["kernels"] for graph in graphs) <= most
    for graph in graphs:
        assert graph["library"] == {}
        assert graph["on_cpu"] == 0
        assert not graph["is_replayed"]


def test_a_sparse_step_has_few_kernels_more_than_a_dense_one(
    full_step: Callable[[str], Graphs],
) -> None:
    (sparse,), (dense,) = full_step("step"), full_step("dense, step")
    assert sparse["kernels"] <= dense["kernels"] + 12
    (rigl,) = full_step("rigl, step")
    assert rigl["kernels"] <= dense["kernels"], "but for the gradients' mask, which joins another"


def test_every_kernel_compiles_for_an_h100(folder: Path) -> None:
    for case in ("step", "mask"):
        files = sorted(folder.glob(f"lenet_300_100-{case}-[0-9].py"))
        expected = sum(file.read_text().count("= async_compile.triton(") for file in files)
        compiled = run("tests.helpers.fake_inductor.kernels", *map(str, files)).split()
        assert len(compiled) == expected > 0
