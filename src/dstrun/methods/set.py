"""SET, Sparse Evolutionary Training (Mocanu et al., 2018, arXiv:1707.04780).

    in front of every ΔT-th step but the first, in every layer of N kept weights:
    n = ⌊f_t · N⌋             f_t = f_0, or f_0 / 2 · (1 + cos(π t / T_end))
    drop the n weights of least |W|, then grow n at random among all that are pruned, these included

A weight that is grown starts at 0, without momentum, but one that was just dropped returns as it
was. The authors drop ζ of the positive and of the negative weights each; here it is ζ of all, as in
RigL's code.
"""

from math import inf
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from dstrun.methods.fixed.method import Layer, strongest
from dstrun.methods.fixed.schedule import Updates, cosine, make_updates
from dstrun.methods.fixed.selection import draw, select
from dstrun.methods.static import Static


class Set(Static):
    """Random growth at a constant density.

    drop: share of the kept weights that is dropped at the first update; with drop_schedule=cosine
    it falls to 0 until the share `until` of the run, with constant it stays. every: steps between
    updates (0: one between epochs). Other options as `Static`.
    """

    moves_at_start = False  # in the first step

    def __init__(
        self,
        density: float,
        *,
        distribution: str = "er",
        every: int = 0,
        drop: float = 0.3,
        drop_schedule: str = "constant",
        until: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(density, distribution=distribution, **options)
        self._every, self._drop, self._until = every, drop, until
        self._falls = drop_schedule == "cosine"
        self._updates: Updates | None = None

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule of updates, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        self._updates = make_updates(self._every, 0.0, self._until, steps, steps_per_epoch)

    def describe(self) -> str:
        """Return 'set, density 5.00% (er), masks move every 9 steps to 75% of the run, 9 times'."""
        every = f"every {self._every} steps" if self._every else "between epochs"
        when = f"masks move {every} to {self._until:.0%} of the run"
        count = self._count()
        times = {0: "never", 1: "once"}.get(count, f"{count:,} times")
        return f"{super().describe()}, {when}" + (f", {times}" if self._updates else "")

    def moves_rarely(self) -> str:
        """Return that masks move in no step after the first, '' where they do."""
        if not self._updates or self._count() > self.is_time(0):
            return ""
        return "masks move in the first step alone" if self.is_time(0) else "masks never move"

    def _count(self) -> int:
        """Return how often masks move in the run; 0 before `begin`."""
        return sum(map(self.is_time, self._updates.steps)) if self._updates else 0

    def is_time(self, step: int) -> bool:
        """Return whether masks move in a step, or in front of it."""
        has_begun = step > 0 or self.moves_at_start
        return has_begun and self._updates is not None and self._updates.is_due(step)

    def before_step(self, step: int) -> None:
        """Drop and grow, where an update is due: after the evaluation of the epoch before."""
        super().before_step(step)
        if self.is_time(step):
            self.update()

    def fraction(self) -> float:
        """Return the share of kept weights to drop in this step, f_t."""
        assert self._updates is not None
        return cosine(self._drop, self.step, self._updates.last) if self._falls else self._drop

    def update(self) -> None:
        """Drop by magnitude and grow at random, in every layer."""
        for layer in self.layers:
            weight = layer.weight
            scores = draw(self.seed, layer.name, self.step, weight.shape, weight.device)
            self.regrow(layer, scores)

    def regrow(self, layer: Layer, scores: Tensor) -> None:
        """Drop the weights of least magnitude, and grow as many where `scores` are highest."""
        dropped = int(self.fraction() * layer.kept)
        stays = strongest(layer, layer.kept - dropped)
        self.move(layer, select(scores.masked_fill(stays, inf), layer.kept, self.structure))
