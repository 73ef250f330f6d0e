"""SET, worked out by hand."""

import pytest
import torch

from dstrun.methods.fixed.method import Layer
from dstrun.methods.set import Set
from tests.helpers.masks import begun, mask_tables, set_momenta, weight_tables

WEIGHTS = [[0.9, 0.1, 0.0, 0.0], [-0.8, 0.2, 0.0, 0.0], [0.7, -0.3, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]]
SCORES = [[0.0, 0.1, 0.7, 0.2], [0.9, 0.8, 0.1, 0.2], [0.9, 0.0, 0.3, 0.4], [0.9, 0.0, 0.5, 0.6]]


def test_an_update_worked_out_by_hand() -> None:
    """
    8 weights are kept, ⌊0.3 · 8⌋ = 2 are dropped: 0.1 and 0.2. Of the draws at places that are
    pruned by then the highest are 0.8 and 0.7: 0.2 is drawn again and returns as it was, with its
    momentum; the third of the first row starts at 0, without momentum. The draws of what stays do
    not count.
    """
    method = Set(0.5)
    optimiser = begun(method, WEIGHTS)
    set_momenta(method, optimiser, [[1.0] * 4] * 4)
    (layer,) = method.layers
    method.regrow(layer, torch.tensor(SCORES))
    assert mask_tables(method) == [[[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]
    assert weight_tables(method) == [
        [[0.9, 0.0, 0.0, 0.0], [-0.8, 0.2, 0.0, 0.0], [0.7, -0.3, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]]
    ]
    momentum = optimiser.state[layer.weight]["momentum_buffer"].tolist()
    assert momentum == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_structure_is_kept_by_what_is_grown() -> None:
    """
    Two of each four. Of the first row 0.1 is dropped and 0.7 drawn; of the second 0.2 is dropped
    and drawn by 0.8. The draw of 0.95 in the third row finds no place.
    """
    method = Set(0.5, structure="2:4")
    begun(method, WEIGHTS)
    scores = torch.tensor(SCORES)
    scores[2, 3] = 0.95
    method.regrow(method.layers[0], scores)
    assert mask_tables(method)[0][:2] == [[1, 0, 1, 0], [1, 1, 0, 0]]
    assert [sum(row) for row in mask_tables(method)[0]] == [2] * 4


def updates(method: Set, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Return {step: share dropped} of a run of 40 steps, 10 an epoch."""
    begun(method, WEIGHTS, WEIGHTS)
    seen: dict[int, float] = {}
    monkeypatch.setattr(
        method, "regrow", lambda layer, scores: seen.setdefault(method.step, method.fraction())
    )
    for step in range(40):
        method.before_step(step)
        method.after_step()
    return seen


def test_updates_between_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert updates(Set(0.5), monkeypatch) == {10: 0.3, 20: 0.3, 30: 0.3}


def test_the_share_may_fall_along_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 5 of the first 20 steps; half of it in the middle, nothing at the end."""
    seen = updates(Set(0.5, every=5, drop_schedule="cosine", until=0.5), monkeypatch)
    assert list(seen) == [5, 10, 15, 20]
    assert [seen[10], seen[20]] == pytest.approx([0.15, 0.0])


def test_draws_are_those_of_the_seed_the_layer_and_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, str, int]] = []

    def draw(seed: int, layer: str, step: int, shape: torch.Size, _: torch.device) -> torch.Tensor:
        asked.append((seed, layer, step))
        return torch.zeros(shape)

    monkeypatch.setattr("dstrun.methods.set.draw", draw)
    method = Set(0.5, every=3, seed=7)
    begun(method, WEIGHTS, WEIGHTS)
    for step in range(7):
        method.before_step(step)
        method.after_step()
    assert asked == [(7, "0", 3), (7, "1", 3), (7, "0", 6), (7, "1", 6)]


def test_the_number_of_weights_stays() -> None:
    method = Set(0.5, every=1)
    begun(method, WEIGHTS)
    for step in range(30):
        method.before_step(step)
        method.after_step()
        assert sum(map(sum, mask_tables(method)[0])) == 8


def test_a_layer_that_keeps_one_weight_keeps_it() -> None:
    """⌊0.3 · 1⌋ = 0."""
    method = Set(0.5)
    begun(method, [[0.5, 0.0, 0.0, 0.0]])
    layer: Layer = method.layers[0]
    method.regrow(layer, torch.ones(1, 4))
    assert mask_tables(method) == [[[1, 0, 0, 0]]]
