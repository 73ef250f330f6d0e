"""GraNet on layers small enough to compute by hand, and its schedule."""

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import nn

from dstrun.methods.granet import GraNet
from tests.helpers.masks import begun, mask_tables, weight_tables

A = [[0.4, 0.3, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0]]
B = [[0.0, 0.0, 0.0, 0.0], [0.8, 0.7, -0.6, 0.5], [-0.45, 0.35, 0.25, 0.15], [0.0, 0.0, 0.0, 0.0]]
GRADIENT_A = [[1.0, -9.0, 0.0, 0.0], [0.0, 0.0, 0.0, 8.0]]
GRADIENT_B = [[5.0, 0, 0, 1], [9.0, 9, 9, 1], [-3.0, 1, -4, 1], [1.0, 1, 1, 1]]


def test_it_does_not_start_below_its_density() -> None:
    with pytest.raises(ValueError, match=r"^initial_density: got 0\.5, expected ≥ 0\.6$"):
        GraNet(0.6)


def test_an_update_worked_out_by_hand() -> None:
    """
    A third of 24 is 8: of the 12 that are kept, 0.8 0.7 0.6 0.5 0.45 0.4 0.35 0.3. a has 2, b 6.
    45 % of them, rounded up, is exchanged: 1 and 3. a drops 0.3; its gradient is the highest, 9, so
    it returns. b drops 0.5, 0.45 and 0.35; its highest gradients besides those of what stays are 5,
    4 and 3: a weight that never was, 0.25, which the first part has set to 0, and 0.45, which
    returns as it was.
    """
    method = GraNet(0.25, every=10)
    begun(method, A, B)
    method.before_step(10)
    assert method.is_update_step
    gradients = [torch.tensor(GRADIENT_A), torch.tensor(GRADIENT_B)]
    assert method.on_gradients(list(gradients))
    assert gradients[0].tolist() == [[1.0, -9.0, 0.0, 0.0], [0.0] * 4], "masked by now"
    method.prune(1 / 3)
    assert [layer.kept for layer in method.layers] == [2, 6]
    method.exchange(0.45)
    assert mask_tables(method) == [
        [[1, 1, 0, 0], [0, 0, 0, 0]],
        [[1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]],
    ]
    assert weight_tables(method) == [
        [[0.4, 0.3, 0.0, 0.0], [0.0] * 4],
        [[0.0] * 4, [0.8, 0.7, -0.6, 0.0], [-0.45, 0.0, 0.0, 0.0], [0.0] * 4],
    ]


def test_weights_of_0_that_are_kept_rank_above_pruned_ones() -> None:
    """Of a, the lower row is kept, which has just been grown."""
    method = GraNet(0.25)
    begun(method, A)
    (layer,) = method.layers
    layer.mask.set(torch.tensor([[False] * 4, [True] * 4]))
    method.zero_pruned()
    method.prune(0.5)
    assert layer.kept == 4


def updates(method: GraNet, monkeypatch: pytest.MonkeyPatch, steps: int = 40) -> dict[int, Any]:
    """Return {step: [density it prunes to, share it exchanges]}."""
    begun(method, A, B, steps=steps)
    seen: dict[int, Any] = {}
    for name in ("prune", "exchange"):
        monkeypatch.setattr(
            method, name, lambda value: seen.setdefault(method.step, []).append(value)
        )
    for step in range(steps):
        method.before_step(step)
        method.after_step()
    return seen


def test_pruning_ends_half_way_and_exchange_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of 40 steps every 8, and at the end of pruning, 20. d = 0.25 + 0.25 · (1 − t/20)³, which is
    (3/5)³ and (1/5)³ at 8 and 16. p = 0.005 + 0.495/2 · (1 + cos(π t/40)).
    """
    seen = updates(GraNet(0.25, every=8), monkeypatch)
    share = {t: 0.005 + 0.495 / 2 * (1 + cos(pi * t / 40)) for t in (8, 16, 20, 24, 32)}
    density = {8: 0.25 + 0.25 * 0.216, 16: 0.25 + 0.25 * 0.008, 20: 0.25}
    assert seen == {
        t: pytest.approx([density[t], p] if t in density else [p]) for t, p in share.items()
    }


@pytest.mark.parametrize(("until", "last"), [(0.5, 20), (1.0, 39)])
def test_the_density_asked_for_is_reached_in_a_run_that_is_shorter_than_the_time_between_updates(
    monkeypatch: pytest.MonkeyPatch, until: float, last: int
) -> None:
    seen = updates(GraNet(0.25, until=until), monkeypatch)
    assert {step: values[0] for step, values in seen.items()} == {last: 0.25}
    assert len(seen[last]) == (1 if last == 39 else 2), "nothing would train what is grown"


def test_it_starts_at_the_initial_density() -> None:
    method = GraNet(0.25, distribution="uniform")
    begun(method, A, B)
    assert method.describe() == "granet, density 50.00% → 25.00% (uniform)"
    method, model = GraNet(0.25, initial_density=1.0), nn.Sequential(nn.Linear(4, 2))
    method.prepare(model, past=[])
    assert model[0].mask.keep.all()
