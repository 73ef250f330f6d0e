"""Training on fake CUDA tensors: devices, waits, launches and memory, without a GPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_cuda import libraries

ROOT = Path(__file__).parents[2]
CASE = "bf16, target, freeze, clip"
Rows = dict[tuple[str, str], dict[str, Any]]  # by network and case

pytestmark = pytest.mark.skipif(
    bool(libraries.missing()), reason=f"fake CUDA cannot be built without {libraries.missing()}"
)


def found(*words: str) -> Rows:
    """Return what `python -m tests.helpers.fake_cuda WORDS` finds."""
    command = [sys.executable, "-m", "tests.helpers.fake_cuda", "--json", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return {(row["network"], row["case"]): row for row in rows}


@pytest.fixture(scope="module")
def quick() -> Rows:
    """Return the trials of the fast suite, made in one process."""
    return found("--networks", "lenet_300_100", "--cases", "dense", CASE, "--faults")


def test_training_neither_mixes_devices_nor_waits_in_a_step(quick: Rows) -> None:
    for case in ("dense", CASE):
        row = quick["lenet_300_100", case]
        assert row["faults"] == []
        assert len(row["launches"]) == 6


def test_mistakes_put_in_on_purpose_are_found(quick: Rows) -> None:
    row = quick["lenet_300_100", "faults"]
    waits = "\n".join(row["waits_in_steps"])
    assert "item in training.loop.train (step)" in waits
    assert "a copy from the device in training.loop.train (step)" in waits
    assert "an index of booleans in training.step.Update.__call__ (step)" in waits
    assert "item in training.loop.train (between steps)" in "\n".join(row["unexpected_waits"])
    mixed = "\n".join(row["mixed"])
    assert "aten.index.Tensor in training.step.Update.__call__ (step)" in mixed
    assert "aten.stack.default in training.divergence.not_finite" in mixed


@pytest.mark.slow
def test_no_network_or_option_mixes_devices_or_waits_in_a_step() -> None:
    rows = found()
    assert {key: row["faults"] for key, row in rows.items() if row["faults"]} == {}
    assert len(rows) == 5 * 27 + 2 * 3 + 1
