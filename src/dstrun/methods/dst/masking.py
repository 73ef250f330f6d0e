"""The paper: which weights take part (Liu et al., ICLR 2020, arXiv:2005.06870, section 3).

    Q = |W| − t                 distance from the threshold; t is broadcast over W     (c_o, …)
    M = S(Q)                    S(x) = 1 for x > 0, else 0; so |w| = t is pruned        (c_o, …)
    layer computes with W ⊙ M   W itself is never overwritten, so a pruned weight can come back

    with G = dL/d(W ⊙ M) and the long-tailed estimator H in place of the derivative of S:
    dL/dW =  G ⊙ M  +  G ⊙ W ⊙ H(Q) ⊙ sign(W)     performance gradient + structure gradient
    dL/dt = −Σ G ⊙ W ⊙ H(Q)                        over the weights that share the threshold

    penalty L_s = Σ exp(−t)     guard: thresholds of a layer at or under its floor go back to 0

A mask may also be frozen: M stays as it was at one moment, and t has no gradient any more.

This module knows torch and nothing else: no layer, no model, no optimiser, no config. Nothing in it
branches on the value of a tensor or waits for the device."""

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor, nn

GRANULARITIES = ("neuron", "layer", "weight")

# Below it the penalty pushes no harder. The data cannot push t under −1 − max |w|, where H is 0;
# what gets there was thrown, by a filter that died before a batch norm. Unbounded, exp(−t) would
# throw it back up beyond all numbers, and the run to NaN.
LOWEST = -10.0


def kept_mask(weight: Tensor, threshold: Tensor) -> Tensor:
    """M: True where a weight takes part, of the weight's shape; threshold broadcasts over
    weight."""
    return weight.abs() > threshold


def masked(weight: Tensor, threshold: Tensor, dtype: torch.dtype) -> Tensor:
    """W ⊙ M, of the weight's shape, compared in the weight's dtype and then cast."""
    product = _where_positive(weight, weight.abs().sub_(threshold))
    return (
        product if product.dtype == dtype else product.to(dtype)
    )  # torch.compile 2.11: no gradient through a no-op


def gradients(grad: Tensor, weight: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(dL/dW, dL/dt) from G = dL/d(W ⊙ M), in the shapes and the dtype of weight and threshold."""
    grad = grad.to(weight.dtype)
    distance = weight.abs().sub_(threshold)
    performance = _where_positive(grad, distance)
    structure = (grad * weight).mul_(_height(distance.abs_()))
    to_threshold = structure.sum_to_size(
        threshold.shape
    ).neg()  # a sum over nothing is `structure` itself
    return performance.addcmul_(structure, weight.sign()), to_threshold


def long_tailed(x: Tensor) -> Tensor:
    """H(x): 2 − 4|x| up to 0.4, then 0.4 up to 1, then 0 (paper, section 3.2, figure 2d)."""
    return _height(x.abs())


def _height(distance: Tensor) -> Tensor:
    """H of a distance ≥ 0. 2 − 4·0.4 is 0.4, so the first two pieces are one maximum."""
    height = torch.rsub(distance, 2, alpha=4).clamp_min_(0.4)
    above_one = 1 + torch.finfo(distance.dtype).eps
    within = torch.ops.aten.hardtanh_backward.grad_input  # height where distance ≤ 1, else 0
    return within(height, distance, -above_one, above_one, grad_input=height)


def _where_positive(x: Tensor, condition: Tensor) -> Tensor:
    """x where condition > 0, else 0: one pass, where a comparison and a product with booleans would
    be four."""
    return torch.ops.aten.threshold_backward(x, condition, 0)


def penalty(thresholds: Sequence[Tensor]) -> Tensor:
    """L_s = Σ exp(−t) over all thresholds of all masked layers: a scalar (paper, section 3.3)."""
    return _exponentials(thresholds).sum()


def penalty_gradients(grad: Tensor, thresholds: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """−grad · exp(−t) for every threshold, grad being the scalar dL/dL_s."""
    pieces = (_exponentials(thresholds) * grad.neg()).split(
        [threshold.numel() for threshold in thresholds]
    )
    return tuple(
        piece.view(threshold.shape) for piece, threshold in zip(pieces, thresholds, strict=True)
    )


def _exponentials(thresholds: Sequence[Tensor]) -> Tensor:
    """exp(−max(t, LOWEST)), all thresholds laid end to end, so that the number of layers costs
    nothing."""
    return (
        torch.cat([threshold.flatten() for threshold in thresholds])
        .neg_()
        .clamp_max_(-LOWEST)
        .exp_()
    )


@torch.no_grad()
def guard(
    weights: Sequence[Tensor], thresholds: Sequence[Tensor], floor: float, factor: float = 0.0
) -> list[Tensor]:
    """Multiplies the thresholds of each layer whose density is at or under `floor` (in [0, 1]) by
    `factor`, in place.

    Returns how many weights of each layer were kept before, 0-dim tensors. The paper's factor is 0,
    which lets a whole layer back in; one below 1 lets back in what stands nearest to its threshold.
    To be called after the optimiser's step: the authors reset inside the next forward pass, which
    gives the same weights bit for bit and waits for the device. Counts in fp32, which is exact up
    to 2²⁴ kept weights a layer."""
    counts = []
    for weight, threshold in zip(weights, thresholds, strict=True):
        kept = (
            weight.abs().gt_(threshold).sum(dtype=torch.promote_types(weight.dtype, torch.float32))
        )
        if floor > 0:
            at_floor = kept <= floor * weight.numel()
            if factor == 0:
                threshold.masked_fill_(
                    at_floor, 0.0
                )  # of infinity and NaN too, which a product would leave
            else:
                threshold.mul_(torch.where(at_floor, factor, 1.0))
        counts.append(kept)
    return counts


@torch.no_grad()
def shift_to_density(
    weights: Sequence[Tensor], thresholds: Sequence[Tensor], density: float, floor: float = 0.0
) -> None:
    """Moves all thresholds, in place, so that `density` (in (0, 1]) of all weights is kept, exact
    but for ties.

    Every layer's thresholds move by the same share of its mean |w|, so that layers of small weights
    do not give more than others: of the distances (|w| − t) / mean |w|, the greatest are kept. Of
    each layer at least `floor` is, and one weight, at the cost of the others."""
    scales = [weight.abs().mean().clamp_min(1e-30) for weight in weights]
    distances = [
        ((weight.abs() - threshold) / scale).flatten()
        for weight, threshold, scale in zip(weights, thresholds, scales, strict=True)
    ]
    total = sum(weight.numel() for weight in weights)
    dropped = min(max(total - round(density * total), 1), total)
    limits = []  # the highest shift that leaves a layer its share
    for distance in distances:
        others = distance.numel() - max(ceil(floor * distance.numel()), 1)
        limits.append(distance.kthvalue(others).values if others else distance.min() - 1)
    spared_too = [d.masked_fill(d > limit, inf) for d, limit in zip(distances, limits, strict=True)]
    shift = torch.cat(spared_too).kthvalue(dropped).values
    for threshold, scale, limit in zip(thresholds, scales, limits, strict=True):
        threshold.add_(shift.minimum(limit) * scale)


class MaskWeight(torch.autograd.Function):
    """(W, t) → W ⊙ M in the dtype asked for, with the gradients above in the dtype of W."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight, threshold)
        return masked(weight, threshold, dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return *gradients(grad, *ctx.saved_tensors), None


class Penalty(torch.autograd.Function):
    """(t, …) → L_s, a scalar, with its gradients."""

    @staticmethod
    def forward(ctx: Any, *thresholds: Tensor) -> Tensor:
        ctx.save_for_backward(*thresholds)
        return penalty(thresholds)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return penalty_gradients(grad, ctx.saved_tensors)


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Autocast's dtype where that is on for the weight's device, else the weight's own."""
    kind = weight.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):  # which raises an error for meta
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def threshold_shape(weight: Tensor, granularity: str) -> tuple[int, ...]:
    """The shape of a layer's thresholds, broadcastable over its weight (c_o, …) (paper, appendix
    A.2).

    neuron: (c_o, 1, …), one per output neuron or filter; layer: (1, 1, …); weight: the weight's own
    shape. Raises ValueError for any other granularity."""
    if granularity == "neuron":
        return (weight.shape[0], *(1,) * (weight.dim() - 1))
    if granularity == "layer":
        return (1,) * weight.dim()
    if granularity == "weight":
        return tuple(weight.shape)
    raise ValueError(f"granularity is {granularity!r}, expected one of {', '.join(GRANULARITIES)}")


class ThresholdMask(nn.Module):
    """The trainable thresholds of one weight, all 0 at the start: `mask(weight)` is W ⊙ M, with its
    gradients.

    It does not hold the weight, so the layer keeps its own parameter under its own name. `frozen`
    is None while the thresholds decide, and after `freeze` the mask that stays, booleans of the
    weight's shape."""

    frozen: Tensor | None

    def __init__(self, weight: Tensor, granularity: str = "neuron") -> None:
        super().__init__()
        self.threshold = nn.Parameter(weight.new_zeros(threshold_shape(weight, granularity)))
        self.register_buffer("frozen", None)
        self._ready: list[Tensor] = []

    def forward(self, weight: Tensor) -> Tensor:
        """W ⊙ M, of the weight's shape, in the dtype the layer computes in; in training, what was
        put ready."""
        if self.frozen is not None:
            return weight.where(self.frozen, 0.0).to(compute_dtype(weight))
        if self._ready and self.training:
            return self._ready.pop()
        return MaskWeight.apply(weight, self.threshold, compute_dtype(weight))

    def freeze(self, weight: Tensor) -> None:
        """From here on M is what it is for this weight now, whatever weight and thresholds
        become."""
        self.frozen = self.kept(weight)
        self._ready.clear()

    def put_ready(self, masked: Tensor) -> None:
        """Lets the next call in training return `masked`, which must be what it would have
        computed."""
        self._ready[:] = [masked]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ready": []}  # part of an autograd graph, which cannot be copied

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        frozen = state_dict.get(f"{prefix}frozen")
        self.frozen = None if frozen is None else frozen.to(self.threshold.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def is_ready(self) -> bool:
        return bool(self._ready)

    def kept(self, weight: Tensor) -> Tensor:
        """M as booleans, of the weight's shape, without gradient."""
        if self.frozen is not None:
            return self.frozen
        return kept_mask(weight.detach(), self.threshold.detach())

    def extra_repr(self) -> str:
        return f"threshold={tuple(self.threshold.shape)}"


def refuse_masks(model: nn.Module) -> None:
    """Raise ValueError for a model with masks, where one is needed whose weights are what it
    computes with."""
    if any(isinstance(module, ThresholdMask) for module in model.modules()):
        raise ValueError(
            "this model has masks: give method.plain(model), a copy with its pruned weights at 0"
        )
