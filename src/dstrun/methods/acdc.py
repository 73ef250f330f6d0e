"""AC/DC, alternating compressed and decompressed training (Peste et al., 2021, arXiv:2106.12379).

    dense until t_0; sparse and dense phases of Δ steps in turn; dense to t_1; sparse from there
    a sparse phase begins:  keep the round(d N) weights of highest |W|, the others are 0
    a dense phase begins:   keep everything; what was pruned starts at 0
    at each change:         no momentum

The dense phase that ends at t_1 takes the place of a sparse one in front of it, so that in the
authors' ResNet-50 (t_0 = 10, Δ = 5, t_1 = 85 of 100 epochs) it has ten epochs, 75 to 84.
"""

from bisect import bisect_right
from math import ceil
from typing import Any

import torch
from torch.optim import Optimizer

from dstrun.methods.fixed.pruning import MagnitudePruning


class ACDC(MagnitudePruning):
    """Phases of the share `phase` of the run between its shares `start` and `until`."""

    def __init__(
        self,
        density: float,
        *,
        start: float = 0.1,
        until: float = 0.85,
        phase: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(density, **options)
        self._start, self._until, self._phase = start, until, phase
        self._changes: list[int] = []

    def describe(self) -> str:
        """Return 'acdc, density 5.00% (global), phases of 5% from 10% to 85% of the run'."""
        phases = f"phases of {100 * self._phase:.3g}% from {self._start:.0%} to {self._until:.0%}"
        return f"acdc, {self.words()}, {phases} of the run"

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Lay out the phases, which are shares of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        count = ceil(round((self._until - self._start) / self._phase, 6))
        shares = [self._start + number * self._phase for number in range(count)]
        # a sparse and a dense phase begin in turn, and the last sparse one at t_1
        shares = [*shares[: count - count % 2], self._until]
        self._changes = [min(round(share * steps), steps - 1) for share in shares]

    def is_sparse(self, step: int) -> bool:
        """Return whether a step, counted from 0, is in a sparse phase."""
        return bisect_right(self._changes, step) % 2 == 1

    def before_step(self, step: int) -> None:
        """Change the masks and clear momentum, where a phase begins."""
        super().before_step(step)
        was_sparse, is_sparse = self.is_sparse(step - 1), self.is_sparse(step)
        if is_sparse == was_sparse:
            return
        if is_sparse:
            self.prune(self.density)
        else:
            for layer in self.layers:
                self.move(layer, torch.ones_like(layer.mask.keep))
            self._take_masks()
        self.reset_optimiser()
