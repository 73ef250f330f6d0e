"""RigL, worked out by hand."""

import pytest
import torch
from torch import nn

from dstrun.methods.rigl import RigL
from dstrun.methods.set import Set
from dstrun.training.step import Update
from tests.helpers.masks import begun, mask_tables, set_momenta, weight_tables

WEIGHTS = [[0.9, 0.1, 0.0, 0.0], [-0.8, 0.2, 0.0, 0.0], [0.7, -0.3, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]]
GRADIENT = [[9.0, 5.0, 0.1, 0.2], [9.0, 1.0, 0.3, 0.4], [9.0, 9.0, 0.5, 0.6], [9.0, 9.0, 0.7, -4.0]]


def test_an_update_worked_out_by_hand() -> None:
    """
    8 weights are kept. At step 0 ⌊0.3 · 8⌋ = 2 are dropped: 0.1 and 0.2. The highest |G| among the
    pruned, these included, are 5 and 4: 0.1 is grown back and keeps its value and its momentum; the
    last weight starts at 0, without momentum. 0.2 is set to 0, and so is its momentum. The gradient
    of what stays does not count, however high.
    """
    method = RigL(0.5)
    optimiser = begun(method, WEIGHTS)
    set_momenta(method, optimiser, [[1.0] * 4] * 4)
    method.before_step(0)
    assert method.is_update_step
    assert not method.on_gradients([torch.tensor(GRADIENT)]), "the optimiser makes no step"
    method.after_step()
    assert mask_tables(method) == [[[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]]]
    assert weight_tables(method) == [
        [[0.9, 0.1, 0.0, 0.0], [-0.8, 0.0, 0.0, 0.0], [0.7, -0.3, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]]
    ]
    momentum = optimiser.state[method.layers[0].weight]["momentum_buffer"].tolist()
    assert momentum == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize(("step", "dropped"), [(0, 2), (200, 1), (300, 1), (500, 0), (600, 0)])
def test_the_number_falls_along_a_cosine_until_three_quarters(step: int, dropped: int) -> None:
    """
    Of 800 steps, T_end = 600. f = 0.15 · (1 + cos(π t / 600)) is 0.3, 0.225, 0.15, 0.02 and 0: of
    8 weights 2.4, 1.8, 1.2, 0.16 and 0, rounded down.
    """
    method = RigL(0.5)
    begun(method, WEIGHTS, steps=800)
    method.before_step(step)
    assert method.is_update_step
    method.on_gradients([torch.tensor([[0.0, 0, 1, 1]] * 4)])
    stayed = sum(row[0] + row[1] for row in mask_tables(method)[0])
    assert 8 - stayed == dropped


def test_updates_are_every_hundred_steps_until_three_quarters() -> None:
    method = RigL(0.5)
    begun(method, WEIGHTS, steps=1000)
    due = []
    for step in range(1000):
        method.before_step(step)
        due += [step] * method.is_update_step
    assert due == [0, 100, 200, 300, 400, 500, 600, 700]


def test_other_steps_mask_gradients_and_are_the_optimisers() -> None:
    method = RigL(0.5)
    begun(method, WEIGHTS)
    method.before_step(1)
    gradient = torch.tensor(GRADIENT)
    assert method.on_gradients([gradient])
    assert gradient.tolist() == [[9, 5, 0, 0], [9, 1, 0, 0], [9, 9, 0, 0], [9, 9, 0, 0]]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_takes_the_place_of_a_step_and_sees_the_gradient_of_the_whole_batch(
    accumulate: int,
) -> None:
    """
    In the update, no parameter changes but those dropped, momentum stays None; in the next step all
    do. Of a layer 2 → 2 with W = (1 0; 0 1), images (1, 0) and (0, 1) and labels 0 and 1, whose
    logits are the images, G = (p − 1)/2 on the diagonal and (1 − p)/2 beside it, p = e/(1 + e). It
    is the same for one batch and for two pieces.
    """
    model, method = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)), RigL(0.5, every=2)
    method.prepare(model, past=[])
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    method.begin(10, sgd)
    (layer,) = method.layers
    layer.weight.data.copy_(torch.eye(2))
    layer.mask.set(torch.eye(2).bool())
    seen: list[torch.Tensor] = []
    method.regrow = lambda layer, scores: seen.append(scores)  # type: ignore[method-assign]
    update = Update(model, method, sgd, accumulate=accumulate)
    images, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    method.before_step(0)
    update(images, labels, 0.1)
    assert torch.equal(layer.weight, torch.eye(2))
    p = torch.tensor(1.0).exp() / (1 + torch.tensor(1.0).exp())
    torch.testing.assert_close(seen, [torch.full((2, 2), (1 - p.item()) / 2)])
    assert not sgd.state
    method.before_step(1)
    update(images, labels, 0.1)
    assert (layer.weight.diagonal() > 1).all()
    assert layer.weight[0, 1] == layer.weight[1, 0] == 0


def test_it_says_when_masks_move() -> None:
    """Every 100 of the first 750 of 1,000 steps: 0, 100, … 700. SET does not before the first."""
    method = RigL(0.5)
    begun(method, [[1.0, 0.0], [1.0, 0.0]], steps=1000)
    words = "density 50.00% (erk), masks move every 100 steps to 75% of the run"
    assert method.describe() == f"rigl, {words}, 8 times"
    other = Set(0.5, distribution="erk", every=100, until=0.75)
    assert other.describe() == f"set, {words}"
    begun(other, [[1.0, 0.0], [1.0, 0.0]], steps=1000)
    assert other.describe() == f"set, {words}, 7 times"
    assert method.moves_rarely() == other.moves_rarely() == ""


@pytest.mark.parametrize(("steps", "times"), [(135, "once"), (134, "never")])
def test_it_says_where_a_run_is_too_short(steps: int, times: str) -> None:
    """Step 100, the first in which SET moves masks, is in 74% of 135 steps, and not of 134."""
    method, other = RigL(0.5, until=0.74), Set(0.5, every=100, until=0.74)
    for one in (method, other):
        begun(one, [[1.0, 0.0], [1.0, 0.0]], steps=steps)
    assert other.describe().endswith(f" of the run, {times}")
    assert other.moves_rarely() == ("" if times == "once" else "masks never move")
    only_first = times == "never"
    assert method.describe().endswith(f", {'once' if only_first else '2 times'}")
    assert method.moves_rarely() == ("masks move in the first step alone" if only_first else "")
