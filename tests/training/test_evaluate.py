"""Loss and accuracy of a split whose batches differ in size."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dstrun.training.divergence import not_finite
from dstrun.training.evaluate import evaluate

IMAGES = torch.tensor(
    [[2.0, 0.0, 1.0], [0.0, 1.0, 0.5], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0], [5.0, 1.0, 0.0]]
)
LABELS = torch.tensor(
    [0, 1, 0, 2, 2]
)  # where the largest of a row stands, but for the third and the last
BATCHES = [(IMAGES[:2], LABELS[:2]), (IMAGES[2:4], LABELS[2:4]), (IMAGES[4:], LABELS[4:])]


@pytest.mark.parametrize("training", [True, False])
def test_every_image_counts_once_and_the_model_stays_as_it_was(training: bool) -> None:
    """Its running statistics are those of no image of the split; in training mode, a batch's own
    would be used.
    """
    model = nn.BatchNorm1d(3, eps=1e-30).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss, accuracy = evaluate(model, BATCHES)
    assert loss == pytest.approx(F.cross_entropy(IMAGES, LABELS).item(), rel=1e-6)
    assert accuracy == 3 / 5
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_model_computes_within_the_autocast_given_and_the_loss_in_full_precision() -> None:
    entered: list[torch.dtype] = []

    @contextmanager
    def half():
        with torch.autocast("cpu", torch.bfloat16):
            yield
        entered.append(torch.bfloat16)

    model = nn.Linear(3, 3, bias=False)
    model.weight.data = torch.eye(3) * 1.0078125  # 1 + 2⁻⁷, of which bfloat16 keeps all
    loss, _ = evaluate(model, BATCHES, half)
    logits = (IMAGES * 1.0078125).bfloat16().float()
    assert loss == pytest.approx(F.cross_entropy(logits, LABELS).item(), rel=1e-6)
    assert entered == [torch.bfloat16] * 3


def test_a_split_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="there is nothing to evaluate on"):
        evaluate(nn.Identity(), [])


def test_what_is_not_finite_is_named() -> None:
    model = nn.BatchNorm1d(3)
    model.weight.data[1], model.running_var[2] = float("nan"), float("inf")
    assert not_finite(model) == ["weight", "running_var"]
