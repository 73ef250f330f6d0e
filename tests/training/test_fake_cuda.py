"""Training on fake CUDA tensors: devices, waits, launches and memory, without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dstrun.methods import METHODS
from tests.helpers.fake_cuda import libraries
from tests.helpers.fake_cuda.watch import kernels_of_foreach

ROOT = Path(__file__).parents[2]
CASE = "bf16, target, freeze, clip"
QUICK = ("dense", CASE, "rigl")
# Kernels that a step launches at most, dense and with the paper's method: docs/performance.md
LAUNCHES = {
    "lenet_300_100": (26, 98),
    "lenet5": (33, 126),
    "lstm_a": (1588, 1665),
    "vgg16": (125, 449),
    "wrn_16_8": (126, 492),
    "resnet50": (414, 1557),
}
Rows = dict[tuple[str, str], dict[str, Any]]  # by network and case

pytestmark = pytest.mark.skipif(
    bool(libraries.missing()), reason=f"fake CUDA cannot be built without {libraries.missing()}"
)


def found(*words: str) -> Rows:
    """Return what `python -m tests.helpers.fake_cuda WORDS` finds."""
    command = [sys.executable, "-m", "tests.helpers.fake_cuda", "--json", *words]
    environment = os.environ | libraries.environment()
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return {(row["network"], row["case"]): row for row in rows}


@pytest.fixture(scope="module")
def quick() -> Rows:
    """Return the trials of the fast suite, made in one process."""
    return found("--networks", "lenet_300_100", "--cases", *QUICK, "--faults")


@pytest.mark.slow
def test_training_neither_mixes_devices_nor_waits_in_a_step(quick: Rows) -> None:
    for case in QUICK:
        row = quick["lenet_300_100", case]
        assert row["faults"] == []
        assert len(row["launches"]) == 6


@pytest.mark.slow
def test_a_step_launches_no_more_kernels_than_it_did(quick: Rows) -> None:
    assert quick["lenet_300_100", "dense"]["launches"][1] <= LAUNCHES["lenet_300_100"][0]
    assert quick["lenet_300_100", CASE]["launches"][1] <= 157
    # masks rest in the second step: a product for each of three gradients, whose shapes differ
    assert quick["lenet_300_100", "rigl"]["launches"][1] <= LAUNCHES["lenet_300_100"][0] + 3


def test_a_foreach_operation_counts_as_one_kernel_where_shapes_are_equal() -> None:
    rows, columns = [torch.zeros(3, 2), torch.zeros(5, 2)], [torch.zeros(3, 1), torch.zeros(5, 1)]
    assert kernels_of_foreach((rows, rows)) == 1
    assert kernels_of_foreach((rows, columns)) == 2
    assert kernels_of_foreach((rows, torch.zeros(()))) == 1


@pytest.mark.slow
def test_the_bytes_at_the_peak_of_a_step_are_those_of_its_tensors(quick: Rows) -> None:
    """Weights, gradients and momentum of LeNet-300-100, and two and a half batches of images."""
    parameters, images = 4 * 266_610, 4 * 160 * 28 * 28
    peak = quick["lenet_300_100", "dense"]["peaks"]["step"]
    assert 3 * parameters + images < peak < 4 * parameters + images


@pytest.mark.slow
def test_mistakes_put_in_on_purpose_are_found(quick: Rows) -> None:
    row = quick["lenet_300_100", "faults"]
    waits = "\n".join(row["waits_in_steps"])
    assert "item in training.loop.train (step)" in waits
    assert "a copy from the device in training.loop.train (step)" in waits
    assert "an index of booleans in training.step.Update.__call__ (step)" in waits
    assert "item in training.loop._measure (between steps)" in "\n".join(row["unexpected_waits"])
    mixed = "\n".join(row["mixed"])
    assert "aten.index.Tensor in training.step.Update.__call__ (step)" in mixed
    assert "aten.stack.default in training.divergence.not_finite" in mixed


@pytest.fixture(scope="module")
def matrix() -> Rows:
    """Return the trials of every network with every option."""
    return found()


@pytest.mark.slow
def test_no_network_or_option_mixes_devices_or_waits_in_a_step(matrix: Rows) -> None:
    assert {key: row["faults"] for key, row in matrix.items() if row["faults"]} == {}
    assert len(matrix) == 5 * 32 + 2 * 2 + 1 + len(set(METHODS) - {"dense", "synflow"})


@pytest.mark.slow
@pytest.mark.parametrize("network", LAUNCHES)
def test_no_network_launches_more_kernels_a_step_than_it_did(matrix: Rows, network: str) -> None:
    launches = [matrix[network, case]["launches"][1] for case in ("dense", "neuron")]
    assert all(now <= before for now, before in zip(launches, LAUNCHES[network], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in LAUNCHES if name != "resnet50"])
def test_an_evaluation_takes_no_more_memory_than_a_step(matrix: Rows, network: str) -> None:
    peaks = matrix[network, "neuron"]["peaks"]
    assert peaks["evaluation"] <= max(peaks["step"], 2**27), "or little at all"
