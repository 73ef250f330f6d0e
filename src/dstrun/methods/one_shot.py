"""Magnitude pruning in one step, in front of step t_0 of the run; the rest is fine-tuning.

    keep the round(d N) weights of highest |W|

With `init`, the folder of a trained dense run, and start=0 that network is pruned at once. It is
Han et al. (2015, arXiv:1506.02626) with a density for their threshold, ranked over all layers.
"""

from typing import Any

from dstrun.methods.gmp import GMP


class OneShot(GMP):
    """Gradual pruning whose schedule is a single step, at the share `start` of the run."""

    def __init__(self, density: float, *, start: float = 0.5, **options: Any) -> None:
        super().__init__(density, start=start, until=start, **options)

    def describe(self) -> str:
        """Return 'one_shot, density 5.00% (global), at 50% of the run'."""
        return f"one_shot, {self.words()}, at {self._start:.0%} of the run"
