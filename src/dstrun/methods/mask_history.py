"""What figures of masks count from: earlier masks, and gradients of the last step."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dstrun.methods.mask_stats import LayerFigures, gradient_norm, measure

Tensors = Mapping[str, Tensor]  # by layer


class MaskHistory:
    """The masks of the measurement before, all that has been explored, norms of a resumed run.

    A resumed run has no gradients before its first step, so it takes their norms over.
    """

    def __init__(self) -> None:
        self._before: Tensors = {}
        self._explored: dict[str, Tensor] = {}
        self._norms: Tensors = {}

    def explore(self, masks: Tensors) -> None:
        """Count the weights that masks keep as having taken part."""
        for name, mask in masks.items():
            so_far = self._explored.get(name)
            self._explored[name] = mask.clone() if so_far is None else so_far | mask

    def begin_step(self) -> None:
        """Forget gradients of an earlier step."""
        self._norms = {}

    def norms(self, gradients: Tensors, masks: Tensors) -> dict[str, Tensor]:
        """Return the norm of the gradient of kept weights, of layers that have a gradient."""
        norms = dict(self._norms)
        for name, gradient in gradients.items():
            norms[name] = gradient_norm(gradient, masks[name])
        return norms

    def measure(
        self, gradients: Tensors, masks: Tensors, thresholds: Tensors
    ) -> list[LayerFigures]:
        """Return the figures of all layers; the next ones count from here."""
        masks = {name: mask.clone() for name, mask in masks.items()}  # which change in place
        before = self._before or {name: torch.ones_like(mask) for name, mask in masks.items()}
        self.explore(masks)
        norms = self.norms(gradients, masks)
        figures = measure(masks, before, thresholds, self._explored, norms)
        self._before = masks
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Return the masks; norms are to be added."""
        return {"masks_before": self._before, "explored": self._explored}

    def load_state_dict(self, state: Mapping[str, Any], weights: Tensors) -> None:
        """Restore a state; what one of an earlier version lacks counts from now on."""

        def moved(key: str) -> dict[str, Tensor]:
            found = state.get(key, {}).items()
            return {name: tensor.to(weights[name].device) for name, tensor in found}

        self._before, self._explored = moved("masks_before"), moved("explored")
        self._norms = moved("gradient_norms")
