"""DSR on layers small enough to compute by hand, its threshold and its schedule."""

import pytest
import torch

from dstrun.methods.dsr import DSR
from tests.helpers.masks import Table, begun, mask_tables, set_momenta, weight_tables

A = [[0.4, 0.3, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]]
B = [[0.8, 0.7, 0.6, 0.5], [0.4, 0.3, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
ASCENDING = torch.arange(16.0)


@pytest.fixture(autouse=True)
def scores_that_ascend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw 0, 1, 2, … in place of random numbers: the last weights are grown first."""
    monkeypatch.setattr(
        "dstrun.methods.dsr.draw",
        lambda seed, layer, step, shape, device: ASCENDING[: shape.numel()].view(shape) / 16,
    )


def test_an_update_worked_out_by_hand() -> None:
    """
    H = 0.25: of a 0.2 and 0.1 are pruned, of b the same; in all 4. Left are 2 and 6.
    a grows 2/8 · 4 = 1, b 6/8 · 4 = 3, of the highest scores among the weights that were pruned
    before: the last of b, and of a the last in front of those just pruned, which are not grown.
    The number wanted is 0.4 · 12 = 4.8, of which 4 is less than nine tenths: 4.32. So H doubles.
    """
    method = DSR(0.5, drop=0.4)
    optimiser = begun(method, A, B)
    set_momenta(method, optimiser, [[1.0] * 4] * 2, [[1.0] * 4] * 4)
    method.threshold = 0.25
    method.update()
    assert mask_tables(method) == [
        [[1, 1, 0, 0], [0, 1, 0, 0]],
        [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]],
    ]
    assert weight_tables(method) == [
        [[0.4, 0.3, 0.0, 0.0], [0.0] * 4],
        [[0.8, 0.7, 0.6, 0.5], [0.4, 0.3, 0.0, 0.0], [0.0] * 4, [0.0] * 4],
    ]
    first = optimiser.state[method.layers[0].weight]["momentum_buffer"].tolist()
    assert first == [[1, 1, 0, 0], [0, 0, 0, 0]], "none of what was grown"
    assert [layer.kept for layer in method.layers] == [3, 9]
    assert method.threshold == 0.5


def test_one_weight_is_left_in_a_layer() -> None:
    """H = 0.45 is above all of a: 0.4 is left. b keeps 4 of 8; 7 are grown, 7/5 → 1 and 28/5 → 6.

    Remainders are 0.4 and 0.6, so b's share is rounded up.
    """
    method = DSR(0.5)
    begun(method, A, B)
    method.threshold = 0.45
    method.update()
    assert weight_tables(method)[0] == [[0.4, 0.0, 0.0, 0.0], [0.0] * 4]
    assert [layer.kept for layer in method.layers] == [1 + 1, 4 + 6]


@pytest.mark.parametrize(
    ("drop", "threshold"),
    [
        (0.3, 0.125),  # wanted 3.6: 4 is more than 3.96
        (0.31, 0.25),  # wanted 3.72: 4 lies between 3.348 and 4.092
        (0.37, 0.25),  # wanted 4.44: 4 is more than 3.996
        (0.38, 0.5),  # wanted 4.56: 4 is less than 4.104
    ],
)
def test_the_threshold_is_right_within_a_tenth_halved_or_doubled(
    drop: float, threshold: float
) -> None:
    method = DSR(0.5, drop=drop)
    begun(method, A, B)
    method.threshold = 0.25
    method.update()
    assert method.threshold == threshold
    resumed = DSR(0.5)
    begun(resumed, A, B)
    resumed.load_state_dict(method.state_dict())
    assert resumed.threshold == threshold


def test_the_number_of_weights_stays_where_a_layer_is_full() -> None:
    """H = 0.15 prunes one of each. a has no room: b grows both, though a's share is 7/8 · 2."""
    full: Table = [[0.1] + [0.4] * 3, [0.4] * 4]
    method = DSR(10 / 16, layer_densities={"0": 1.0, "1": 0.25})
    begun(method, full, [[0.8, 0.1, 0.0, 0.0], [0.0] * 4])
    method.threshold = 0.15
    method.update()
    assert [layer.kept for layer in method.layers] == [7, 3]


def test_the_time_between_updates_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of 80 steps every 2 until step 10 (12.5 %), every 4 until 32 (40 %), every 8 until 56 (70 %),
    then every 16, until 76 (95 %).
    """
    method = DSR(0.5, every=2)
    begun(method, A, B, steps=80)
    steps: list[int] = []
    monkeypatch.setattr(method, "update", lambda: steps.append(method.step))
    for step in range(80):
        method.before_step(step)
    assert steps == [2, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64]


def test_once_an_epoch_at_first_and_until_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    method = DSR(0.5, every=0, until=0.5)
    begun(method, A, B, steps=80, epoch=5)
    steps: list[int] = []
    monkeypatch.setattr(method, "update", lambda: steps.append(method.step))
    for step in range(80):
        method.before_step(step)
    assert steps == [5, 10, 20, 30, 40]
