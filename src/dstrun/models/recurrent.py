"""The hidden-to-hidden half of a recurrent cell: a Linear that hands out its weight once a
sequence.

A mask is a function of the weight alone, so a cell that runs over T steps must ask for the weight
before its time loop and not in it. This module knows torch and nothing else: its masked sibling
stands in `layers`."""

from torch import Tensor, nn
from torch.nn import functional as F


class RecurrentLinear(nn.Linear):
    """h ↦ h Wᵀ + b, with W asked for separately: `w = layer.step_weight()`, then `layer(h, w)` at
    every time step."""

    def step_weight(self) -> Tensor:
        """The weight the layer computes with, (out_features, in_features)."""
        return self.weight

    def forward(self, hidden: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """(B, in_features) → (B, out_features)."""
        return F.linear(hidden, weight, self.bias)
