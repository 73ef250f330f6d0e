"""SynFlow (Tanaka et al., NeurIPS 2020, arXiv:2006.05467, algorithm 1).

    R = Σ outputs of the network with |θ| for θ, for an input of ones
    score = ∂R/∂|W| ⊙ |W|        100 rounds

No data: batch norm computes with its statistics of the start, so it is linear. In fp64, since R is
a product over layers. A batch norm whose factors are all 0 at the start, as at the end of residual
branches, counts as one of factor 1: else nothing in its branch would have a score.
"""

from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.fixed.at_start import AtStart, Batches, Weights, gradients_of


class Synflow(AtStart):
    """Masks that conserve the flow of every layer, so that none is emptied."""

    def __init__(self, density: float, *, iterations: int = 100, **options: Any) -> None:
        super().__init__(density, iterations=iterations, **options)
        self._ones = torch.ones(())

    @torch.no_grad()
    def network(self, copy: nn.Module) -> nn.Module:
        """Return the copy in fp64 and in evaluation, with the magnitudes of all it holds."""
        for tensor in copy.double().eval().state_dict().values():
            if tensor.is_floating_point():  # not a mask of attention, say
                tensor.abs_()
        for part in copy.modules():
            scale = getattr(part, "weight", None)
            if isinstance(scale, Tensor) and scale.dim() == 1 and not scale.any():
                scale.fill_(1.0)
        return copy

    def see(self, network: nn.Module, batches: Batches) -> None:
        """Take the shape of an image."""
        images, _ = next(batches)
        self._ones = torch.ones_like(images[:1], dtype=torch.float64)

    def scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        """Return ∂R/∂|W| ⊙ |W|."""
        flow = network(self._ones).sum()
        gradients = gradients_of(flow, weights)
        return [g * w.weight.detach() for g, w in zip(gradients, weights, strict=True)]
