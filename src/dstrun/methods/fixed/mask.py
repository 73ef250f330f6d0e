"""A mask that its method gives: the layer computes with W ⊙ M, and W gets the whole gradient.

    forward    W ⊙ M, which is W itself in training where pruned weights are kept at 0
    backward   dL/dW = G, with G = dL/d(W ⊙ M), pruned weights included

G of pruned weights is what RigL and others grow by; the method multiplies gradients by M where it
has read them (`FixedMaskMethod.on_gradients`).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from dstrun.methods.weight_mask import WeightMask, compute_dtype


class KeepWeight(torch.autograd.Function):
    """Autograd function (W, M, dtype) → W ⊙ M in that dtype, with G as the gradient of W."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = weight.dtype
        product = weight * factor
        # torch.compile 2.11 has no gradient through a cast to the same dtype
        return product if product.dtype == dtype else product.to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return (grad if grad.dtype == ctx.dtype else grad.to(ctx.dtype)), None, None


class FixedMask(WeightMask):
    """The mask of one weight, which `set` changes in place; everything is kept at first.

    keep: the mask, booleans of the weight's shape. factor: the same as numbers 0 and 1 in the
    weight's dtype, not saved: on a CPU a product with booleans takes ten times as long.
    holds_zeros: whether pruned weights are 0 in every step, so that training needs no product.
    """

    keep: Tensor
    factor: Tensor
    holds_zeros = False

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        weight = weight.detach()
        self.register_buffer("keep", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("factor", torch.ones_like(weight), persistent=False)
        self.register_load_state_dict_post_hook(_take_loaded)

    def set(self, keep: Tensor) -> None:
        """Take over another mask, in place: addresses stay, as compiled steps need."""
        self.keep.copy_(keep)
        self.factor.copy_(keep)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W ⊙ M."""
        if self.holds_zeros and self.training:
            return weight.to(compute_dtype(weight))
        return KeepWeight.apply(weight, self.factor, compute_dtype(weight))

    def kept(self, weight: Tensor) -> Tensor:
        """Return M: the mask itself, not a copy."""
        return self.keep


@torch.no_grad()
def multiply(tensors: Sequence[Tensor], factors: Sequence[Tensor]) -> None:
    """Multiply tensors by as many factors, in place, one kernel for all."""
    torch._foreach_mul_(cast(Any, tensors), cast(Any, factors))


def _take_loaded(mask: FixedMask, _: Any) -> None:
    """Bring the numbers up to a mask that was loaded."""
    mask.set(mask.keep)
