"""Plain L1 on a 4×4 matrix: penalty, its end, and what is pruned then."""

import pytest
import torch
from torch import nn

from dstrun.methods.l1 import L1
from tests.helpers.commands import Command
from tests.helpers.matrix import WEIGHTS, Matrix


def test_the_penalty_is_the_sum_of_magnitudes() -> None:
    """1 + 2 + … + 16 = 136; its gradient is λ times the sign."""
    matrix = Matrix(L1(0.25, l1=0.5), steps=10)
    assert matrix.method.metrics() == {"penalty": 136.0}
    loss = matrix.method.regularised(torch.tensor(3.0))
    loss.backward()
    assert float(loss.detach()) == 3 + 0.5 * 136
    assert matrix.weight.grad is not None
    assert matrix.weight.grad.equal(0.5 * WEIGHTS.sign())


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"density": 0.25}, [13, 14, 15, 16]),
        ({"cutoff": 10.0}, [11, 12, 13, 14, 15, 16]),  # 10 itself is pruned
    ],
)
def test_after_the_penalty_small_weights_are_pruned_and_stay_out(
    options: dict[str, float], kept: list[int]
) -> None:
    """8 steps, of which the first 6 have a penalty."""
    matrix = Matrix(L1(start=0.75, l1=0.5, **options), steps=8)
    loss, found = torch.tensor(3.0), []
    for step in range(8):
        matrix.step(step)
        found.append((float(matrix.method.regularised(loss).detach()), len(matrix.kept())))
    assert found == [(71.0, 16)] * 6 + [(3.0, len(kept))] * 2
    assert matrix.kept() == kept
    assert (
        float(matrix.weight.detach().abs().sum()) == sum(kept) == matrix.method.metrics()["penalty"]
    )


def test_a_cutoff_needs_no_density() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    L1(cutoff=1.0).prepare(model, past=[])
    with pytest.raises(ValueError, match=r"^density: got 0, expected 0 < number ≤ 1"):
        L1()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["reg.density=0.1", "reg.cutoff=0.01"],
            "reg.density: got 0.1 with reg.cutoff=0.01, which says what is pruned: "
            "expected one of them",
        ),
        (
            ["reg.density=0.1", "reg.start=0"],
            "reg.start: got 0, so that reg=l1 has no penalty, expected a number > 0",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(command: Command, words: list[str], said: str) -> None:
    outcome = command("reg=l1", *words)
    assert (outcome.code, outcome.err) == (2, f"dstrun: {said}\n")


def test_what_it_does_is_told() -> None:
    assert L1(0.05).describe() == "l1, λ = 1e-5, density 5.00% (global), at 80% of the run"
    assert L1(cutoff=0.01, l1=1e-3, start=0.5).describe() == (
        "l1, λ = 1e-3, |w| ≤ 0.01 pruned, at 50% of the run"
    )
