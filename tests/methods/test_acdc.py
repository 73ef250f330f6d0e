"""The phases of AC/DC, and what a change of phase does to weights and momentum."""

from itertools import groupby

import pytest
import torch

from dstrun.methods.acdc import ACDC
from tests.helpers.matrix import WEIGHTS, Matrix


def sparse_phases(method: ACDC, steps: int) -> list[tuple[int, int]]:
    """Return the first and last step of every sparse phase."""
    steps_of = groupby(range(steps), key=method.is_sparse)
    phases = [list(group) for is_sparse, group in steps_of if is_sparse]
    return [(phase[0], phase[-1]) for phase in phases]


def test_the_authors_phases_of_a_hundred_steps() -> None:
    """Dense to 9, then five by five, 75 to 84 dense, sparse from 85."""
    matrix = Matrix(ACDC(0.25), steps=100)
    assert sparse_phases(matrix.method, 100) == [
        (10, 14),
        (20, 24),
        (30, 34),
        (40, 44),
        (50, 54),
        (60, 64),
        (70, 74),
        (85, 99),
    ]


@pytest.mark.parametrize(
    ("options", "steps", "phases"),
    [
        # phases from 0.2: [.2 sparse .4 dense .6], as it is
        ({"start": 0.2, "until": 0.6, "phase": 0.2}, 10, [(2, 3), (6, 9)]),
        # [.2 sparse .4 dense .6 sparse .8]: the last one joins the dense one in front of it
        ({"start": 0.2, "until": 0.8, "phase": 0.2}, 10, [(2, 3), (8, 9)]),
        # [.2 sparse .3 dense .6 …]: the last phase is cut at 0.55
        ({"start": 0.2, "until": 0.5, "phase": 0.2}, 10, [(2, 3), (5, 9)]),
        # a single phase: dense until then
        ({"start": 0.2, "until": 0.4, "phase": 0.2}, 10, [(4, 9)]),
        ({"start": 0.0, "until": 0.4, "phase": 0.2}, 10, [(0, 1), (4, 9)]),
        # the run's last step is sparse
        ({"start": 0.2, "until": 1.0, "phase": 0.4}, 10, [(2, 5), (9, 9)]),
        # shares of a step: 3.33 · (.1, .4, .7) → 33, 133 … of 333: no step is lost between phases
        ({"start": 0.1, "until": 0.7, "phase": 0.3}, 333, [(33, 132), (233, 332)]),
    ],
)
def test_phases_are_shares_of_the_run(
    options: dict[str, float], steps: int, phases: list[tuple[int, int]]
) -> None:
    assert sparse_phases(Matrix(ACDC(0.25, **options), steps).method, steps) == phases


def test_recycled_weights_start_at_zero_and_every_change_clears_momentum() -> None:
    """Dense 0, sparse 1, dense 2 and 3, sparse from 4. lr 1, momentum 0.5, gradient −1: W grows by
    1 where there is no momentum, then by 1.5.
    """
    matrix = Matrix(ACDC(0.25, start=0.1, until=0.4, phase=0.1), steps=10, lr=1.0)
    up = -torch.ones(4, 4)
    matrix.step(0, up)
    dense = WEIGHTS + 1
    assert matrix.weight.equal(dense)
    # magnitudes now: 16 (of 15), 15 (of −16 and 14), 13 (of 12): the four highest
    kept = dense.abs() >= 13
    matrix.step(1, up)
    assert matrix.weight.equal(torch.where(kept, dense + 1, 0.0)), "without momentum"
    assert matrix.momentum.equal(torch.where(kept, -1.0, 0.0))
    matrix.step(2, up)
    assert matrix.weight.equal(torch.where(kept, dense + 2, 1.0)), "recycled ones from 0"
    assert matrix.layer.mask.keep.all()
    assert matrix.momentum.equal(up), "that of kept weights is cleared too"
    matrix.step(3, up)
    assert matrix.weight.equal(torch.where(kept, dense + 3.5, 2.5))
    matrix.step(4, up)
    assert matrix.layer.mask.keep.equal(kept)
    assert matrix.weight.equal(torch.where(kept, dense + 4.5, 0.0))


def test_adams_moments_and_steps_are_cleared_too() -> None:
    matrix = Matrix(ACDC(0.25, start=0.5, until=0.9, phase=0.2), steps=10)
    optimiser = torch.optim.Adam(matrix.model.parameters(), lr=1e-3)
    matrix.method.begin(10, optimiser, 2)
    matrix.optimiser = optimiser  # type: ignore[assignment]
    for step in range(6):
        matrix.step(step)
    state = optimiser.state[matrix.weight]
    assert state["step"] == 1, "since the change in front of step 5"
    kept = matrix.layer.mask.keep
    assert state["exp_avg"].equal(torch.where(kept, 0.1, 0.0).float())


def test_what_it_does_is_told() -> None:
    assert ACDC(0.05).describe() == (
        "acdc, density 5.00% (global), phases of 5% from 10% to 85% of the run"
    )
