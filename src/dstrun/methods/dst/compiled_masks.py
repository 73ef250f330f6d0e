"""The formulas of `masking`, compiled: all layers in one call between an update and the next
forward pass.

    after an update      W, t of every layer  →  guard; W ⊙ M of every layer, handed to their masks; L_s
    in the backward pass G of every layer     →  dL/dW, dL/dt of every layer, the penalty's share in it

One call for all, since a call into compiled code costs more than the mask of a small layer. The
arithmetic is `masking`'s own, handed to torch.compile; what may change is the last bit, because the
compiler orders a sum as it likes. torch keeps compiled code on disk, so that only the first run of
a network waits for it. Knows torch and masking."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.dst import masking
from dstrun.methods.dst.masking import ThresholdMask


@cache
def compiled(function: Callable) -> Callable:
    """The function, compiled on first use for the shapes that it is then called with."""
    return torch.compile(function, dynamic=False, fullgraph=True)


def guard_and_mask(
    weights: Sequence[nn.Parameter],
    masks: Sequence[ThresholdMask],
    floor: float,
    factor: float,
    counted: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Guards every layer, then computes W ⊙ M of all, which each mask's next call returns.

    Gives L_s back, and where `counted` how many weights were kept before the guard, else without
    meaning. The weights must not change before those calls; autograd refuses the backward pass if
    they do."""
    thresholds = [mask.threshold for mask in masks]
    *ready, penalty, kept = _GuardAndMask.apply(
        floor, factor, counted, dtype, *weights, *thresholds
    )
    for mask, weight in zip(masks, ready, strict=True):
        mask.put_ready(weight)
    return penalty, kept.detach()


class _GuardAndMask(torch.autograd.Function):
    """(W, …, t, …) → (W ⊙ M, …, L_s, kept), t being changed in place where the guard fires."""

    @staticmethod
    def forward(
        ctx: Any,
        floor: float,
        factor: float,
        counted: bool,
        dtype: torch.dtype,
        *weights_and_thresholds: Tensor,
    ) -> tuple[Tensor, ...]:
        half = len(weights_and_thresholds) // 2
        weights, thresholds = weights_and_thresholds[:half], weights_and_thresholds[half:]
        detached = [
            threshold.detach() for threshold in thresholds
        ]  # autograd has no say in what the guard does
        results = compiled(_guard_and_mask)(weights, detached, floor, factor, counted, dtype)
        ctx.mark_non_differentiable(results[-1])
        ctx.save_for_backward(*weights_and_thresholds)
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *grads_masked, grad_penalty, _ = grads
        saved, half = ctx.saved_tensors, len(grads_masked)
        return (
            None,
            None,
            None,
            None,
            *compiled(_gradients)(grads_masked, grad_penalty, saved[:half], saved[half:]),
        )


def _guard_and_mask(
    weights: Sequence[Tensor],
    thresholds: Sequence[Tensor],
    floor: float,
    factor: float,
    counted: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, ...]:
    kept = thresholds[0].new_zeros(())
    if floor > 0 or counted:
        kept = torch.stack(masking.guard(weights, thresholds, floor, factor)).sum()
    ready = (masking.masked(w, t, dtype) for w, t in zip(weights, thresholds, strict=True))
    return *ready, masking.penalty(thresholds), kept


def _gradients(
    grads: Sequence[Tensor],
    grad_penalty: Tensor,
    weights: Sequence[Tensor],
    thresholds: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    pairs = [masking.gradients(g, w, t) for g, w, t in zip(grads, weights, thresholds, strict=True)]
    pushes = masking.penalty_gradients(grad_penalty, thresholds)
    to_thresholds = (
        to_threshold + push for (_, to_threshold), push in zip(pairs, pushes, strict=True)
    )
    return *(to_weight for to_weight, _ in pairs), *to_thresholds
