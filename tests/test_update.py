"""One update, in whole batches and in pieces."""

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
