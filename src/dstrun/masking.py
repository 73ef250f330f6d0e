"""The paper: which weights take part (Liu et al., ICLR 2020, arXiv:2005.06870, section 3).

    Q = |W| − t                 distance from the threshold; t is broadcast over W     (c_o, …)
    M = S(Q)                    S(x) = 1 for x > 0, else 0; so |w| = t is pruned        (c_o, …)
    layer computes with W ⊙ M   W itself is never overwritten, so a pruned weight can come back

    with G = dL/d(W ⊙ M) and the long-tailed estimator H in place of the derivative of S:
    dL/dW =  G ⊙ M  +  G ⊙ W ⊙ H(Q) ⊙ sign(W)     performance gradient + structure gradient
    dL/dt = −Σ G ⊙ W ⊙ H(Q)                        over the weights that share the threshold

    penalty L_s = Σ exp(−t)     guard: thresholds of a layer at or under its floor go back to 0

This module knows torch and nothing else: no layer, no model, no optimiser, no config. Nothing in it branches on
the value of a tensor or waits for the device.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

GRANULARITIES = ("neuron", "layer", "weight")


def long_tailed(x: Tensor) -> Tensor:
    """H(x): 2 − 4|x| up to 0.4, then 0.4 up to 1, then 0 (paper, section 3.2, figure 2d).

    2 − 4|x| falls through 0.4 at |x| = 0.4, so the first two pieces are one maximum.
    """
    distance = x.abs()
    height = distance.mul(-4).add_(2).clamp_min_(0.4)
    return height.mul_(distance <= 1)


class _MaskWeight(torch.autograd.Function):
    """(W, t) → W ⊙ S(|W| − t), with the gradients in the module's docstring, kept in the dtype of W."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(weight, threshold)
        return weight * kept_mask(weight, threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        weight, threshold = ctx.saved_tensors
        structure = (grad * weight).mul_(long_tailed(weight.abs().sub_(threshold)))
        to_threshold = structure.sum_to_size(threshold.shape).neg()
        to_weight = structure.mul_(weight.sign()).add_(grad * kept_mask(weight, threshold))
        return to_weight, to_threshold


def kept_mask(weight: Tensor, threshold: Tensor) -> Tensor:
    """M: True where a weight takes part, of the weight's shape; threshold broadcasts over weight."""
    return weight.abs() > threshold


def threshold_shape(weight: Tensor, granularity: str) -> tuple[int, ...]:
    """The shape of a layer's thresholds, broadcastable over its weight (c_o, …) (paper, appendix A.2).

    neuron: (c_o, 1, …), one per output neuron or filter; layer: (1, 1, …); weight: the weight's own shape.
    Raises ValueError for any other granularity.
    """
    if granularity == "neuron":
        return (weight.shape[0], *(1,) * (weight.dim() - 1))
    if granularity == "layer":
        return (1,) * weight.dim()
    if granularity == "weight":
        return tuple(weight.shape)
    raise ValueError(f"granularity is {granularity!r}, expected one of {', '.join(GRANULARITIES)}")


class ThresholdMask(nn.Module):
    """The trainable thresholds of one weight, all 0 at the start: `mask(weight)` is W ⊙ M, with its gradients.

    It does not hold the weight, so the layer keeps its own parameter under its own name.
    """

    def __init__(self, weight: Tensor, granularity: str = "neuron") -> None:
        super().__init__()
        self.threshold = nn.Parameter(weight.new_zeros(threshold_shape(weight, granularity)))

    def forward(self, weight: Tensor) -> Tensor:
        """W ⊙ M, of the weight's shape."""
        return _MaskWeight.apply(weight, self.threshold)

    def kept(self, weight: Tensor) -> Tensor:
        """M as booleans, of the weight's shape, without gradient."""
        return kept_mask(weight.detach(), self.threshold.detach())

    def extra_repr(self) -> str:
        return f"threshold={tuple(self.threshold.shape)}"


def penalty(thresholds: Iterable[Tensor]) -> Tensor:
    """L_s = Σ exp(−t) over all thresholds of all masked layers: a scalar (paper, section 3.3)."""
    return torch.cat([threshold.flatten() for threshold in thresholds]).neg().exp().sum()


@torch.no_grad()
def guard(weight: Tensor, threshold: Tensor, floor: float) -> None:
    """Sets a layer's thresholds back to 0, in place, when its density is at or under `floor` (in [0, 1]).

    To be called after the optimiser's step. The authors reset inside the next forward pass, which gives the same
    weights bit for bit and waits for the device.
    """
    mask = kept_mask(weight, threshold)
    threshold.masked_fill_(mask.sum() / mask.numel() <= floor, 0.0)
