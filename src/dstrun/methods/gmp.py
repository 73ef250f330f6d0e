"""Gradual magnitude pruning (Zhu & Gupta, 2017, arXiv:1710.01878, equation 1).

    in front of every ΔT-th step t from t_0 to t_1, and of t_1:
    d_t = d_f + (1 − d_f) (1 − (t − t_0) / (t_1 − t_0))³
    keep the round(d_t N) weights of highest |W|

Before t_0 the network is dense. A pruned weight is 0, gets no gradient and stays out. With
regrow=true pruned weights keep their values, gradients and momentum, as in STR's GMPConv
(Kusupati et al., 2020): the next update ranks them with the others.
"""

from math import ceil
from typing import Any

from torch.optim import Optimizer

from dstrun.methods.fixed.pruning import MagnitudePruning
from dstrun.methods.fixed.schedule import Updates, cubic, steps_between


class GMP(MagnitudePruning):
    """Density along a cubic curve from 1, at the share `start` of the steps, to `density`.

    density is reached at the share `until`, in the last step at the latest. every: steps between
    updates (0: one at the beginning of each epoch). regrow: whether pruned weights go on learning
    and may come back. Other options as `MagnitudePruning`.
    """

    def __init__(
        self,
        density: float,
        *,
        every: int = 100,
        start: float = 0.2,
        until: float = 0.77,
        regrow: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(density, **options)
        self.has_dense_momentum = self.learns_pruned = regrow
        self._every, self._start, self._until, self._regrow = every, start, until, regrow
        self._updates = Updates(1, 0, -1)

    def describe(self) -> str:
        """Return 'gmp, density 5.00% (global), every 100 steps from 20% to 77% of the run, …'."""
        every = f"every {self._every} steps" if self._every else "every epoch"
        after = "go on learning and may come back" if self._regrow else "stay out"
        share = f"from {self._start:.0%} to {self._until:.0%} of the run"
        return f"gmp, {self.words()}, {every} {share}, pruned weights {after}"

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        first, last = (min(round(one * steps), steps - 1) for one in (self._start, self._until))
        every = steps_between(self._every, steps_per_epoch)
        if not self._every:
            first = min(ceil(first / every) * every, last)
        self._updates = Updates(every, first, last)

    def before_step(self, step: int) -> None:
        """Prune, where an update is due."""
        super().before_step(step)
        updates = self._updates
        if updates.is_due(step) or step == updates.last:
            self.prune(cubic(1.0, self.density, step, updates.first, updates.last))
