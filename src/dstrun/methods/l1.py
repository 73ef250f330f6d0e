"""Plain L1: a penalty on every weight that could be pruned, then a threshold and fine-tuning.

    to step t_0   loss + λ Σ |W|, over the masked layers
    at t_0        prune |w| ≤ cutoff; with cutoff 0 keep the round(d N) weights of highest |W|
    from there    the loss alone

As in Han et al. (2015, arXiv:1506.02626, section 3.1); the optimiser takes the subgradient sign(W).
"""

from typing import Any

import torch
from torch import Tensor

from dstrun.methods.one_shot import OneShot
from dstrun.system.numbers import short


class L1(OneShot):
    """One-shot pruning of what λ · Σ|W| has made small.

    l1: λ. cutoff: magnitude at or below which weights are pruned (0: as `density` says).
    """

    def __init__(
        self,
        density: float = 0.0,
        *,
        start: float = 0.8,
        l1: float = 1e-5,
        cutoff: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(1.0 if cutoff else density, start=start, **options)
        self._l1, self._cutoff = l1, cutoff
        self._is_penalised = True

    def describe(self) -> str:
        """Return 'l1, λ = 1e-5, density 5.00% (global), at 80% of the run'."""
        what = f"|w| ≤ {self._cutoff:g} pruned" if self._cutoff else self.words()
        return f"l1, λ = {short(self._l1)}, {what}, at {self._start:.0%} of the run"

    def before_step(self, step: int) -> None:
        """Prune at the end of the penalty."""
        super().before_step(step)
        self._is_penalised = step < self._updates.last

    @torch.no_grad()
    def prune(self, density: float) -> None:
        """Prune by the cutoff, if there is one, else by the density."""
        if not self._cutoff:
            super().prune(density)
            return
        for layer in self.layers:
            self.move(layer, layer.weight.abs() > self._cutoff)
        self._take_masks()

    def penalty(self) -> Tensor:
        """Return Σ |W| over the masked layers."""
        return torch.stack([layer.weight.abs().sum() for layer in self.layers]).sum()

    def regularised(self, loss: Tensor) -> Tensor:
        """Return loss + λ Σ|W| until the weights are pruned, then the loss."""
        return loss + self._l1 * self.penalty() if self._is_penalised else loss

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Return Σ|W|; waits for the device."""
        return {"penalty": float(self.penalty())}
