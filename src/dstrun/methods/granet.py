"""GraNet (Liu et al., NeurIPS 2021, arXiv:2106.10404, algorithm 1).

    after the optimiser's step of every ΔT-th step t:
    until t_1 keep the round(d_t N) weights of highest |W|, of all layers together,
    d_t = d_f + (d_0 − d_f) (1 − (t − t_0) / (t_1 − t_0))³
    to the end, in every layer of N_l kept weights, with p_t = p_0 down to 0.005 along a cosine,
    drop the ⌈p_t N_l⌉ weights of least |W|, then grow as many of highest |G| of all pruned ones

G is the dense gradient of this step's batch. What is grown starts at 0, without momentum, but a
weight dropped in the same exchange returns as it was.
"""

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dstrun.methods.fixed.method import strongest
from dstrun.methods.fixed.pruning import MagnitudePruning
from dstrun.methods.fixed.schedule import LEAST_DROP, Updates, cosine, cubic, make_updates
from dstrun.methods.fixed.selection import keep_highest
from dstrun.methods.static import Static


class GraNet(Static, MagnitudePruning):
    """Gradual pruning from a random mask, with growth by gradient.

    initial_density: at the start, until the share `start` of the run; `density` is reached at the
    share `until`. every: steps between updates (0: an epoch). drop: share of the kept weights that
    the first exchange drops. Others as `Static` and `MagnitudePruning`.
    """

    keeps_structure = False

    def __init__(
        self,
        density: float,
        *,
        initial_density: float = 0.5,
        every: int = 1000,
        drop: float = 0.5,
        start: float = 0.0,
        until: float = 0.5,
        **options: Any,
    ) -> None:
        if initial_density < density:
            raise ValueError(f"initial_density: got {initial_density:g}, expected ≥ {density:g}")
        super().__init__(density, **options)
        self.initial_density = initial_density
        self._every, self._drop, self._start, self._until = every, drop, start, until
        self._steps = self._first = self._last = 0
        self._updates = Updates(1, 0, -1)
        self._gradients: list[Tensor] = []

    def describe(self) -> str:
        """Return 'granet, density 50.00% → 5.00% (erk)'."""
        return super().describe().replace("density", f"density {self.initial_density:.2%} →")

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        self._updates = make_updates(self._every, self._start, 1.0, steps, steps_per_epoch)
        self._steps, self._first = steps, round(self._start * steps)
        self._last = min(round(self._until * steps), steps - 1)

    def is_due(self, step: int) -> bool:
        """Return whether masks move in a step: not in the first, and where pruning ends."""
        return step == self._last or (step > 0 and self._updates.is_due(step))

    def on_gradients(self, gradients: Sequence[Tensor | None]) -> bool:
        """Keep the dense gradients of an update step, and mask gradients."""
        if self.is_update_step:
            for layer in self.layers:
                gradient = layer.in_gradients(gradients)
                blank = torch.zeros_like(layer.weight)
                self._gradients.append(blank if gradient is None else gradient.abs())
        return super().on_gradients(gradients)

    def after_step(self) -> None:
        """Prune and exchange weights, in an update step."""
        if not self.is_update_step:
            return
        if self.step <= self._last:
            initial, final = self.initial_density, self.density
            self.prune(cubic(initial, final, self.step, self._first, self._last))
        if self.step < self._steps - 1:  # after which nothing trains what is grown
            self.exchange(cosine(self._drop, self.step, self._steps, min(self._drop, LEAST_DROP)))
        self._gradients = []

    def exchange(self, share: float) -> None:
        """Drop a share of the kept weights of every layer and grow as many by gradient."""
        for layer, gradient in zip(self.layers, self._gradients, strict=True):
            stays = strongest(layer, layer.kept - ceil(share * layer.kept))
            self.move(layer, keep_highest(gradient.masked_fill(stays, inf), layer.kept))
