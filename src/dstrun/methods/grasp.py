"""GraSP (Wang, Zhang & Grosse, ICLR 2020, arXiv:2002.07376, equation 8, algorithm 1).

    score = −W ⊙ H G        H, G: Hessian and gradient of the loss L(logits / T), T = 200

The weights of highest score are removed, so that the norm of the gradient falls least. H G is the
gradient of the product of G with its own constant copy. The authors draw new weights for linear
layers before they score; here the network is scored as it is. Attention is computed as matrix
products, since torch's fused kernels have no second derivatives.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.fixed.at_start import AtStartByImages, Weights, added
from dstrun.methods.flops import plain_attention


class Grasp(AtStartByImages):
    """Masks that preserve gradient flow.

    images: 0 (ten of each class) as in the authors' code. temperature: T.
    """

    def __init__(
        self, density: float, *, images: int = 0, temperature: float = 200.0, **options: Any
    ) -> None:
        super().__init__(density, images=images, **options)
        self.temperature = temperature

    def scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        """Return W ⊙ H G, whose highest are kept.

        Raises RuntimeError for a network without second derivatives.
        """
        with plain_attention():
            return self._scores(network, weights)

    def _scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        """Return W ⊙ H G, by products whose second derivatives torch knows."""
        gradient = added(self.gradients(network, weights))
        network.zero_grad()
        for own in self.gradients(network, weights, create_graph=True):
            product = torch.stack([(a * b).sum() for a, b in zip(own, gradient, strict=True)]).sum()
            try:
                product.backward()  # grad(…) passes over what has no second derivative
            except RuntimeError as error:
                if not re.search("derivative|differentiate", str(error)):
                    raise
                raise RuntimeError(f"grasp needs second derivatives: {error}") from error
        scores = []
        for one in weights:
            weight, found = one.weight.detach(), one.gradient
            scores.append(torch.zeros_like(weight) if found is None else weight * found)
        return scores
