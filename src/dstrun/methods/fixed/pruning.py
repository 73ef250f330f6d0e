"""Base class of methods that prune a dense network by magnitude.

    keep the round(d N) weights of highest |W|, of the N of all layers (scope global) or of each

Masks move in front of a step or between rounds. Batch norm's running statistics are not computed
anew: they follow the masks in the steps from there to the next evaluation.
"""

from typing import Any

import torch

from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.fixed.selection import select_share


class MagnitudePruning(FixedMaskMethod):
    """Masks that keep everything until a subclass calls `prune`.

    density: share of the masked layers' weights that is kept at the end, in (0, 1). scope: global
    or layer.
    """

    def __init__(self, density: float, *, scope: str = "global", **options: Any) -> None:
        super().__init__(density=density, **options)
        self.scope = scope

    def words(self) -> str:
        """Return density, scope and structure for `describe`: 'density 5.00% (global)'."""
        structure = "" if self.structure == "none" else f", {self.structure}"
        return f"density {self.density:.2%} ({self.scope}{structure})"

    @torch.no_grad()
    def prune(self, density: float) -> None:
        """Keep a share of all weights, those of highest |W|; what is pruned stays out.

        Unless pruned weights go on learning: then they are ranked with the others.
        """
        stays = [layer.mask.keep | self.learns_pruned for layer in self.layers]
        pairs = zip(self.layers, stays, strict=True)
        scores = [layer.weight.abs().masked_fill(~may, -1) for layer, may in pairs]
        masks = select_share(scores, density, self.scope, self.structure)
        for layer, keep, may in zip(self.layers, masks, stays, strict=True):
            self.move(layer, keep & may)
        self._take_masks()
