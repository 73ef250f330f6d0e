"""Hidden-to-hidden layer of a recurrent cell, whose weight is computed once per sequence.

A mask is a function of the weight alone, so a cell asks for the masked weight before its loop over
time, not in it. `methods.masked_layers` has the masked layer.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class RecurrentLinear(nn.Linear):
    """Linear layer h ↦ h Wᵀ + b that gets W as an argument.

    Call `w = layer.step_weight()` once, then `layer(h, w)` at every time step.
    """

    def step_weight(self) -> Tensor:
        """Return the weight that the layer computes with, (out_features, in_features)."""
        return self.weight

    def forward(self, hidden: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """Compute (B, in_features) → (B, out_features)."""
        return F.linear(hidden, weight, self.bias)
