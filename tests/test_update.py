"""One update, in whole batches and in pieces."""

import pytest
import torch
from torch import Tensor, nn

from dstrun.methods import DynamicSparseTraining
from dstrun.optim import make_optimiser
from dstrun.update import Update


class Spare(nn.Module):
    """Has a layer that its forward pass does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_the_penalty_reaches_a_layer_not_called_in_pieces_as_in_whole_batches() -> None:
    for pieces in (1, 2):
        model, method = Spare(), DynamicSparseTraining(0.5)
        method.prepare(model)
        update = Update(model, method, make_optimiser("sgd", model, method.thresholds(), lr=0.1), accumulate=pieces)
        update(torch.ones(4, 4), torch.zeros(4, dtype=torch.long), 0.1)
        threshold = model.spare.mask.threshold  # 0 + 0.1 · 0.5 · exp(−0)
        torch.testing.assert_close(threshold, torch.full((3, 1), 0.05))


@pytest.mark.parametrize(("clip", "pieces", "moved"), [(0.0, 1, 0.05), (0.2, 1, 0.02), (0.2, 2, 0.02), (9.0, 1, 0.05)])
def test_the_gradient_of_a_threshold_is_bounded(clip: float, pieces: int, moved: float) -> None:
    """Of one that the penalty alone moves: −0.5, at a learning rate of 0.1. Weights' are as they were."""
    bound, free = Spare(), Spare()
    free.load_state_dict(bound.state_dict())
    for model, threshold_clip in ((bound, clip), (free, 0.0)):
        method = DynamicSparseTraining(0.5)
        method.prepare(model)
        optimiser = make_optimiser("sgd", model, method.thresholds(), lr=0.1)
        update = Update(model, method, optimiser, accumulate=pieces, threshold_clip=threshold_clip)
        update(torch.ones(4, 4), torch.zeros(4, dtype=torch.long), 0.1)
    torch.testing.assert_close(bound.spare.mask.threshold, torch.full((3, 1), moved))
    assert torch.equal(bound.used.weight, free.used.weight)
