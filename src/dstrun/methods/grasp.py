"""GraSP (Wang, Zhang & Grosse, ICLR 2020, arXiv:2002.07376, equation 8, algorithm 1).

    score = −W ⊙ H G        H, G: Hessian and gradient of the loss L(logits / T), T = 200

The weights of highest score are removed, so that the norm of the gradient falls least. H G is the
gradient of the product of G with its own constant copy. The authors draw new weights for linear
layers before they score; here the network is scored as it is.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.fixed.at_start import AtStartByImages, added


class Grasp(AtStartByImages):
    """Masks that preserve gradient flow.

    images: 0 (ten of each class) as in the authors' code. temperature: T.
    """

    def __init__(
        self, density: float, *, images: int = 0, temperature: float = 200.0, **options: Any
    ) -> None:
        super().__init__(density, images=images, **options)
        self.temperature = temperature

    def scores(self, network: nn.Module, weights: list[Tensor]) -> list[Tensor]:
        """Return W ⊙ H G, whose highest are kept.

        Raises RuntimeError for a network without second derivatives.
        """
        gradient = added(self.gradients(network, weights))
        try:
            products = added(self._products(network, weights, gradient))
        except RuntimeError as error:
            if "derivative" not in str(error):
                raise
            raise RuntimeError(f"grasp needs second derivatives: {error}") from error
        return [w.detach() * product for w, product in zip(weights, products, strict=True)]

    def _products(
        self, network: nn.Module, weights: list[Tensor], gradient: list[Tensor]
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield the share of each piece of images in H G."""
        for own in self.gradients(network, weights, create_graph=True):
            product = torch.stack([(a * b).sum() for a, b in zip(own, gradient, strict=True)]).sum()
            yield torch.autograd.grad(product, weights, materialize_grads=True)
