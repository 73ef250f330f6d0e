"""Sparse Momentum on layers small enough to compute by hand, and its schedule."""

from math import cos, pi

import pytest
import torch
from torch import nn

from dstrun.methods.snfs import SNFS
from tests.helpers.masks import begun, mask_tables, set_momenta, weight_tables

A = [[0.4, 0.3, 0.0, 0.0], [0.2, 0.1, 0.0, 0.0]]
MOMENTUM_A = [[3.0, -3.0, 9.0, 0.5], [-2.0, 0.0, -0.25, 0.0]]
B = [[0.0, 0.0, 0.0, 0.0], [0.8, -0.7, 0.6, 0.5], [0.4, -0.3, 0.2, -0.1], [0.0, 0.0, 0.0, 0.0]]
MOMENTUM_B = [[0.0, 0, 0, 80], [1.0, 1, 1, -1], [-1.0, 1, 1, 1], [70.0, 0, 0, 0]]


def test_an_update_worked_out_by_hand() -> None:
    """
    Mean |momentum| of kept weights: a (3 + 3 + 2 + 0) / 4 = 2, b 1. Shares: 2/3 and 1/3.
    Half is dropped: of a ⌈0.5 · 4⌉ = 2, the weights 0.2 and 0.1; of b 4, its third row. In all 6.
    a grows 2/3 · 6 = 4 of the highest momentum among its 4 + 2 pruned ones: 9, 2, 0.5, 0.25. One of
    them, 2, is that of 0.2, which was just dropped and keeps its value.
    b grows 1/3 · 6 = 2 among 8 + 4: 80 and 70. a keeps 2 + 4 = 6, b 4 + 2 = 6, 12 as before.
    """
    method = SNFS(0.5)
    optimiser = begun(method, A, B)
    set_momenta(method, optimiser, MOMENTUM_A, MOMENTUM_B)
    method.update(0.5)
    assert mask_tables(method) == [
        [[1, 1, 1, 1], [1, 0, 1, 0]],
        [[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]],
    ]
    assert weight_tables(method) == [
        [[0.4, 0.3, 0.0, 0.0], [0.2, 0.0, 0.0, 0.0]],
        [[0.0] * 4, [0.8, -0.7, 0.6, 0.5], [0.0] * 4, [0.0] * 4],
    ]
    assert [layer.kept for layer in method.layers] == [6, 6]
    momenta = [optimiser.state[layer.weight]["momentum_buffer"] for layer in method.layers]
    assert [momentum.tolist() for momentum in momenta] == [MOMENTUM_A, MOMENTUM_B]


@pytest.mark.parametrize(("kept", "momentum", "dropped"), [(7, 3, 1), (7, 0.5, 4), (6, 3, 3)])
def test_a_layer_of_little_sparsity_that_gains_drops_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch, kept: int, momentum: float, dropped: int
) -> None:
    """
    a keeps 7 of 8, a sparsity of 1/8 < 0.2, and the mean |momentum| of b is 1. With 3, a's share is
    3/4 > 1/2: it drops ⌈1/8 · 7⌉ = 1. With 0.5, its share is 1/3: ⌈0.5 · 7⌉ = 4. At 6 of 8 its
    sparsity is 1/4: ⌈0.5 · 6⌉ = 3. b drops ⌈0.5 · 8⌉ = 4 each time. The first mask, of 60 %, has
    5 + 10 weights: what is missing of these is grown too, and ⌊0.99 · (8 − kept + dropped)⌋ are
    the most that a may grow.
    """
    asked: list[tuple[int, int]] = []

    def apportioned(total: int, shares: list[float], room: list[int]) -> list[int]:
        asked.append((total, room[0]))
        return [0, 0]

    monkeypatch.setattr("dstrun.methods.snfs.apportion", apportioned)
    weights = [float(number) if number <= kept else 0.0 for number in range(1, 9)]
    method = SNFS(0.6)
    optimiser = begun(method, [weights[:4], weights[4:]], B)
    set_momenta(method, optimiser, [[momentum] * 4] * 2, MOMENTUM_B)
    method.update(0.5)
    assert asked == [(15 - (kept + 8) + dropped + 4, 8 - kept + dropped - 1)]


def test_shares_are_by_the_mean_over_kept_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """a keeps 4 of 8, mean |momentum| 2; b all 4, mean 1: 2/3 and 1/3. Over all they were equal."""
    asked: list[list[float]] = []

    def apportioned(total: int, shares: list[float], room: list[int]) -> list[int]:
        asked.append(shares)
        return [0, 0]

    monkeypatch.setattr("dstrun.methods.snfs.apportion", apportioned)
    method = SNFS(0.5)
    optimiser = begun(method, A, [[0.4, 0.3, 0.2, 0.1]])
    set_momenta(method, optimiser, MOMENTUM_A, [[1.0, -1.0, 1.0, -1.0]])
    method.update(0.5)
    assert asked == [pytest.approx([2 / 3, 1 / 3])]


def test_updates_are_between_epochs_and_fall_along_a_cosine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 40 steps, 10 an epoch: before the steps 10, 20 and 30, with p_t as in the docstring."""
    method = SNFS(0.5)
    begun(method, A, B)
    rates: list[tuple[int, float]] = []
    monkeypatch.setattr(method, "update", lambda rate: rates.append((method.step, rate)))
    for step in range(40):
        method.before_step(step)
    middle = 0.005 + 0.495 / 2
    swing = 0.495 / 2 * cos(pi / 4)
    assert rates == [
        (10, pytest.approx(middle + swing)),
        (20, pytest.approx(middle)),
        (30, pytest.approx(middle - swing)),
    ]


def test_updates_every_so_many_steps_end_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    method = SNFS(0.5, every=4, until=0.5)
    begun(method, A, B)
    steps: list[int] = []
    monkeypatch.setattr(method, "update", lambda rate: steps.append(method.step))
    for step in range(40):
        method.before_step(step)
    assert steps == [4, 8, 12, 16, 20]


def test_momentum_is_dense_and_pruned_weights_stay_at_zero() -> None:
    method = SNFS(0.5)
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    method.prepare(model, past=[])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    method.begin(10, optimiser, 5)
    (layer,) = method.layers
    model(torch.ones(1, 4)).sum().backward()
    assert not method.reads_gradients
    optimiser.step()
    method.after_step()
    assert optimiser.state[layer.weight]["momentum_buffer"].tolist() == [[1.0] * 4] * 2
    assert torch.equal(layer.weight != 0, layer.mask.keep)


def test_for_adam_the_momentum_is_m_over_the_root_of_v() -> None:
    """Pruned weights have 4/√16 = 1, 2/√1 = 2 and 0.1/√0.01 = 1: the second is grown.

    ⌈0.5 · 2⌉ = 1 of the two kept weights is dropped, the lower one, whose m is 0.
    """
    method = SNFS(0.4)
    optimiser = begun(method, [[0.2, 0.1, 0.0, 0.0, 0.0]])
    (layer,) = method.layers
    optimiser.state[layer.weight] = {
        "exp_avg": torch.tensor([[1.0, 0.0, 4.0, 2.0, 0.1]]),
        "exp_avg_sq": torch.tensor([[1.0, 1.0, 16.0, 1.0, 0.01]]),
    }
    method.update(0.5)
    assert mask_tables(method) == [[[1, 0, 0, 1, 0]]]


def test_without_momentum_every_layer_grows_the_same() -> None:
    """An update before the first step: a and b drop 2 and 4, and grow 3 each."""
    method = SNFS(0.5)
    begun(method, A, B)
    method.update(0.5)
    assert [layer.kept for layer in method.layers] == [4 - 2 + 3, 8 - 4 + 3]
