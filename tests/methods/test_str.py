"""STR's soft threshold, worked out by hand, and what its start and weight decay do."""

import pytest
import torch
from torch import nn

from dstrun.methods.str import STR, SoftThreshold
from dstrun.training.optim import make_optimiser


def prepared(**options: float) -> tuple[nn.Sequential, STR]:
    model, method = nn.Sequential(nn.Linear(4, 1, bias=False)), STR(**options)
    method.prepare(model, past=[])
    model[0].weight.data.copy_(torch.tensor([[1.0, -0.75, 0.5, -0.25]]))
    return model, method


def test_a_weight_and_its_gradients_worked_out_by_hand() -> None:
    """
    s = 0, so σ(s) = 1/2 is taken from every magnitude: 1 → 1/2, −3/4 → −1/4, 1/2 and −1/4 → 0.
    G = (1, 2, 4, 8) reaches the first two weights. σ'(0) = 1/4, and moves W̃ by −sign(W) there:
    the gradient of s is −1/4 · (1 · 1 − 1 · 2) = 1/4.
    """
    weight = nn.Parameter(torch.tensor([[1.0, -0.75, 0.5, -0.25]]))
    mask = SoftThreshold(weight, 0.0)
    soft = mask(weight)
    assert soft.tolist() == [[0.5, -0.25, 0.0, 0.0]]
    assert mask.kept(weight).tolist() == [[True, True, False, False]]
    soft.backward(torch.tensor([[1.0, 2.0, 4.0, 8.0]]))
    gradients = [weight.grad.tolist(), mask.level.grad.item()]
    assert gradients == [[[1.0, 2.0, 0.0, 0.0]], 0.25]


def test_the_start_of_the_authors_prunes_nothing() -> None:
    model, method = prepared()
    assert torch.equal(model[0].mask(model[0].weight), model[0].weight)
    assert int(method.kept()) == 4


@pytest.mark.parametrize(("share", "left"), [(1.0, -7.6), (0.0, -8.0)])
def test_weight_decay_moves_the_threshold(share: float, left: float) -> None:
    """By a rate of 0.1 and a decay of 0.5, s = −8 becomes −8 · 0.95, or stays where it has none."""
    model, method = prepared(threshold_start=-8.0, threshold_decay=share)
    sgd = make_optimiser("sgd", model, method.groups(), lr=0.1, weight_decay=0.5)
    (level,) = method.added_parameters()
    level.grad = torch.zeros(())
    sgd.step()
    assert level.item() == pytest.approx(left)


def test_figures_and_the_copy_without_masks_are_those_of_the_soft_weight() -> None:
    model, method = prepared(threshold_start=0.0)
    (figures,) = method.measure()
    assert (figures.kept, figures.total) == (2, 4)
    assert (figures.threshold_mean, figures.threshold_min, figures.threshold_max) == (0.5,) * 3
    assert method.plain(model)[0].weight.tolist() == [[0.5, -0.25, 0.0, 0.0]]
    assert list(model.state_dict()) == ["0.weight", "0.mask.level"], "no key of DST's"


def test_in_bf16_the_threshold_is_taken_off_in_fp32() -> None:
    weight = nn.Parameter(torch.tensor([[1.0]]))
    mask = SoftThreshold(weight, -4.0)
    with torch.autocast("cpu", torch.bfloat16):
        soft = mask(weight)
    assert soft.dtype is torch.bfloat16
    assert torch.equal(soft, (weight - torch.tensor(-4.0).sigmoid()).to(torch.bfloat16))
