"""The paper: which weights take part (Liu et al., ICLR 2020, arXiv:2005.06870, section 3).

    Q = |W| − t                 distance from the threshold; t is broadcast over W     (c_o, …)
    M = S(Q)                    S(x) = 1 for x > 0, else 0; so |w| = t is pruned        (c_o, …)
    layer computes with W ⊙ M   W itself is never overwritten, so a pruned weight can come back

    with G = dL/d(W ⊙ M) and the long-tailed estimator H in place of the derivative of S:
    dL/dW =  G ⊙ M  +  G ⊙ W ⊙ H(Q) ⊙ sign(W)     performance gradient + structure gradient
    dL/dt = −Σ G ⊙ W ⊙ H(Q)                        over the weights that share the threshold

    penalty L_s = Σ exp(−t)     reset: thresholds of a layer at or under its floor go back to 0

A mask may also be frozen: M stays as it was at one moment, and t has no gradient any more. Nothing
here branches on the value of a tensor or waits for the device.
"""

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.weight_mask import WeightMask, compute_dtype

GRANULARITIES = ("neuron", "layer", "weight")

# Lower bound on t in the penalty. A filter that dies in front of batch norm can push t far below 0,
# where the data's own gradient cannot: H is 0 under −1 − max |w|. Without the bound exp(−t) would
# overflow and the run become NaN.
LOWEST = -10.0


def kept_mask(weight: Tensor, threshold: Tensor) -> Tensor:
    """Return M: True where a weight takes part, of the weight's shape."""
    return weight.abs() > threshold


def masked(weight: Tensor, threshold: Tensor, dtype: torch.dtype) -> Tensor:
    """Return W ⊙ M, of the weight's shape, compared in the weight's dtype and then cast."""
    product = _where_positive(weight, weight.abs().sub_(threshold))
    if product.dtype == dtype:  # torch.compile 2.11 has no gradient through a cast to the same
        return product
    return product.to(dtype)


def gradients(grad: Tensor, weight: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Return (dL/dW, dL/dt) from G = dL/d(W ⊙ M), in the shapes and dtype of W and t."""
    grad = grad.to(weight.dtype)
    distance = weight.abs().sub_(threshold)
    performance = _where_positive(grad, distance)
    structure = (grad * weight).mul_(_height(distance.abs_()))
    # not neg_(): a sum over no dimension is `structure` itself
    to_threshold = structure.sum_to_size(threshold.shape).neg()
    return performance.addcmul_(structure, weight.sign()), to_threshold


def long_tailed(x: Tensor) -> Tensor:
    """Return H(x): 2 − 4|x| up to 0.4, 0.4 up to 1, then 0 (paper, section 3.2, figure 2d)."""
    return _height(x.abs())


def _height(distance: Tensor) -> Tensor:
    """Return H of a distance ≥ 0; 2 − 4·0.4 is 0.4, so its first two pieces are one maximum."""
    height = torch.rsub(distance, 2, alpha=4).clamp_min_(0.4)
    above_one = 1 + torch.finfo(distance.dtype).eps
    within = torch.ops.aten.hardtanh_backward.grad_input  # height where distance ≤ 1, else 0
    return within(height, distance, -above_one, above_one, grad_input=height)


def _where_positive(x: Tensor, condition: Tensor) -> Tensor:
    """Return x where condition > 0, else 0, in one pass; with booleans it would take four."""
    return torch.ops.aten.threshold_backward(x, condition, 0)


def penalty(thresholds: Sequence[Tensor]) -> Tensor:
    """Return L_s = Σ exp(−t) over all thresholds: a scalar (paper, section 3.3)."""
    return _exponentials(thresholds).sum()


def penalty_gradients(grad: Tensor, thresholds: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return −grad · exp(−t) for every threshold, grad being the scalar dL/dL_s."""
    shapes = [threshold.shape for threshold in thresholds]
    return _penalty_gradients(grad, _exponentials(thresholds), shapes)


def _penalty_gradients(
    grad: Tensor, exponentials: Tensor, shapes: Sequence[torch.Size]
) -> tuple[Tensor, ...]:
    pieces = (exponentials * grad.neg()).split([shape.numel() for shape in shapes])
    return tuple(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True))


def _exponentials(thresholds: Sequence[Tensor]) -> Tensor:
    """Return exp(−max(t, LOWEST)), all thresholds end to end: one kernel for all layers."""
    ends = torch.cat([threshold.flatten() for threshold in thresholds])
    return ends.neg_().clamp_max_(-LOWEST).exp_()


@torch.no_grad()
def reset_at_floor(
    weights: Sequence[Tensor], thresholds: Sequence[Tensor], floor: float, factor: float = 0.0
) -> list[Tensor]:
    """Multiply the thresholds of each layer of density ≤ `floor` by `factor`, in place.

    Returns how many weights of each layer were kept before, 0-dim tensors. The paper's factor is 0,
    which brings the whole layer back; one below 1 brings back the weights nearest to their
    threshold. Call it after the optimiser's step: the authors reset inside the next forward pass,
    which gives the same weights bit for bit and waits for the device. Counts in fp32, exact up to
    2²⁴ kept weights a layer.
    """
    counts = []
    for weight, threshold in zip(weights, thresholds, strict=True):
        dtype = torch.promote_types(weight.dtype, torch.float32)
        kept = weight.abs().gt_(threshold).sum(dtype=dtype)
        if floor > 0:
            _multiply_at_most(threshold, kept, floor * weight.numel(), factor)
        counts.append(kept)
    return counts


def _multiply_at_most(threshold: Tensor, kept: Tensor, limit: float, factor: float) -> None:
    """Multiply thresholds by `factor`, in place, where kept ≤ limit: in as few kernels as can be.

    kept: a whole number, 0-dim.
    """
    if factor == 0:  # infinity and NaN too, which a product would leave
        where_above = torch.ops.aten.threshold_backward.grad_input
        where_above(threshold, kept, limit, grad_input=threshold)
    else:
        threshold.mul_(F.threshold(kept, limit, factor).clamp_max_(1))  # above limit it is ≥ 1


@torch.no_grad()
def scale(thresholds: Sequence[Tensor], factor: Tensor, lower: float | None = None) -> None:
    """Multiply thresholds by a 0-dim factor, in place; `lower` bounds them from below."""
    torch._foreach_mul_(list(thresholds), factor)  # one kernel for all layers
    if lower is not None:
        torch._foreach_clamp_min_(list(thresholds), lower)


@torch.no_grad()
def clamp(gradients: Sequence[Tensor], bound: float) -> None:
    """Clamp tensors to ±bound, in place, one kernel for all."""
    torch._foreach_clamp_min_(list(gradients), -bound)
    torch._foreach_clamp_max_(list(gradients), bound)


@torch.no_grad()
def shift_to_density(
    weights: Sequence[Tensor], thresholds: Sequence[Tensor], density: float, floor: float = 0.0
) -> None:
    """Move all thresholds, in place, so that `density` (in (0, 1]) of all weights is kept.

    Exact but for ties. Every layer's thresholds move by the same share of its mean |w|, so that
    layers of small weights do not give more than others: of the distances (|w| − t) / mean |w|, the
    greatest are kept. Each layer keeps at least `floor` of its weights, and one weight, at the cost
    of the others.
    """
    scales = [weight.abs().mean().clamp_min(1e-30) for weight in weights]
    distances = []
    for weight, threshold, mean in zip(weights, thresholds, scales, strict=True):
        distances.append(((weight.abs() - threshold) / mean).flatten())
    total = sum(weight.numel() for weight in weights)
    dropped = min(max(total - round(density * total), 1), total)
    limits = []  # the highest shift that leaves a layer its floor
    for distance in distances:
        others = distance.numel() - max(ceil(floor * distance.numel()), 1)
        limits.append(_lowest(distance, others) if others else distance.min() - 1)
    # weights above their layer's limit are never dropped
    candidates = [d.masked_fill(d > limit, inf) for d, limit in zip(distances, limits, strict=True)]
    shift = _lowest(torch.cat(candidates), dropped)
    for threshold, mean, limit in zip(thresholds, scales, limits, strict=True):
        threshold.add_(shift.minimum(limit) * mean)


def _lowest(values: Tensor, count: int) -> Tensor:
    """Return the highest of the `count` lowest of values: kthvalue, which a GPU cannot repeat."""
    return values.topk(count, largest=False, sorted=False).values.amax()


class MaskWeight(torch.autograd.Function):
    """Autograd function (W, t) → W ⊙ M in the dtype asked for, with `gradients` backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight, threshold)
        return masked(weight, threshold, dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return *gradients(grad, *ctx.saved_tensors), None


class Penalty(torch.autograd.Function):
    """Autograd function (t, …) → L_s, a scalar, with the gradients of `penalty_gradients`."""

    @staticmethod
    def forward(ctx: Any, *thresholds: Tensor) -> Tensor:
        exponentials = _exponentials(thresholds)
        ctx.save_for_backward(exponentials)
        ctx.shapes = [threshold.shape for threshold in thresholds]
        return exponentials.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        (exponentials,) = ctx.saved_tensors
        return _penalty_gradients(grad, exponentials, ctx.shapes)


def threshold_shape(weight: Tensor, granularity: str) -> tuple[int, ...]:
    """Return the shape of a layer's thresholds, which broadcasts over its weight (c_o, …).

    neuron: (c_o, 1, …), one per output neuron or filter; layer: (1, 1, …); weight: the weight's own
    shape (paper, appendix A.2). Raises ValueError for any other granularity.
    """
    if granularity == "neuron":
        return (weight.shape[0], *(1,) * (weight.dim() - 1))
    if granularity == "layer":
        return (1,) * weight.dim()
    if granularity == "weight":
        return tuple(weight.shape)
    raise ValueError(f"granularity is {granularity!r}, expected one of {', '.join(GRANULARITIES)}")


class ThresholdMask(WeightMask):
    """Trainable thresholds of one weight, all 0 at the start: `mask(weight)` is W ⊙ M.

    `frozen` is None while the thresholds decide; after `freeze` it is the mask that stays, booleans
    of the weight's shape.
    """

    frozen: Tensor | None

    def __init__(self, weight: Tensor, granularity: str = "neuron") -> None:
        super().__init__()
        self.threshold = nn.Parameter(weight.new_zeros(threshold_shape(weight, granularity)))
        self.register_buffer("frozen", None)
        self.register_load_state_dict_pre_hook(_load_frozen)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W ⊙ M, with the paper's gradients to W and t while it is not frozen."""
        if self.frozen is not None:
            return weight.where(self.frozen, 0.0).to(compute_dtype(weight))
        return MaskWeight.apply(weight, self.threshold, compute_dtype(weight))

    def freeze(self, weight: Tensor) -> None:
        """Keep M as it is for this weight now, whatever weight and thresholds become."""
        self.frozen = self.kept(weight)

    def kept(self, weight: Tensor) -> Tensor:
        """Return M as booleans of the weight's shape, without gradient."""
        if self.frozen is not None:
            return self.frozen
        return kept_mask(weight.detach(), self.threshold.detach())

    def extra_repr(self) -> str:
        """Return the thresholds' shape, for `print(model)`."""
        return f"threshold={tuple(self.threshold.shape)}"


def _load_frozen(mask: ThresholdMask, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for a frozen mask in a state that is about to be loaded, or take it away."""
    frozen = state.get(f"{prefix}frozen")
    mask.frozen = None if frozen is None else frozen.to(mask.threshold.device)
