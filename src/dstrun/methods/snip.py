"""SNIP (Lee et al., ICLR 2019, arXiv:1810.02340, equations 4 to 6).

    score = |∂L/∂m| = |G ⊙ W|        m: a factor of 1 on each weight; L: of one batch of images

The authors count biases among the weights, and here they stay. With several rounds pruned weights
do not come back (de Jorge et al., 2021, Iterative SNIP).
"""

from torch import Tensor, nn

from dstrun.methods.fixed.at_start import AtStartByImages, Weights, added


class Snip(AtStartByImages):
    """Masks by the sensitivity of the loss."""

    def scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        """Return |G ⊙ W|."""
        gradients = added(self.gradients(network, weights))
        return [(g * w.weight.detach()).abs() for g, w in zip(gradients, weights, strict=True)]
