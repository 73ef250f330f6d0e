"""Sparse Momentum, SNFS (Dettmers & Zettlemoyer, 2019, arXiv:1907.04840, algorithm 1).

    between epochs, or every ΔT steps, for layers l of N_l kept weights with momentum m:
    p_t = 0.005 + (p_0 − 0.005) / 2 · (1 + cos(π t / T_end))
    share_l = mean |m| of the kept weights of l, over the sum of these means
    drop the n_l = ⌈p_t · N_l⌉ weights of least |W|
    grow share_l · Σ n_l of highest |m| among all that are pruned, the just dropped included

A layer of a sparsity s_l < 0.2 whose share is more than 1 / layers drops ⌈min(p_t, s_l) · N_l⌉. A
layer grows at most 99 % of what it has pruned; the others grow the rest, in equal parts. Momentum
is dense: pruned weights have gradients and momentum, and are set to 0 after every step. What is
grown starts at 0, but what was just dropped returns as it was. For Adam, m is m / (√v + 1e-8).

The authors draw each weight of the first mask by chance, round shares up, and correct the number of
weights in later updates; here it is exact at all times.
"""

from math import ceil, inf
from typing import Any

import torch
from torch.optim import Optimizer

from dstrun.methods.fixed.apportion import apportion
from dstrun.methods.fixed.method import Layer, strongest
from dstrun.methods.fixed.schedule import LEAST_DROP, Updates, cosine, make_updates
from dstrun.methods.fixed.selection import keep_highest
from dstrun.methods.static import Static


class SNFS(Static):
    """Growth by momentum, which also moves weights between layers, at a constant density.

    every: steps between updates (0: an epoch). drop: share of the kept weights dropped at first; it
    falls until the share `until` of the run, when masks come to rest. Others as `Static`.
    """

    reads_gradients = False  # those of pruned weights are not masked
    has_dense_momentum = True
    keeps_structure = False

    def __init__(
        self,
        density: float,
        *,
        distribution: str = "uniform",
        every: int = 0,
        drop: float = 0.5,
        until: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(density, distribution=distribution, **options)
        self._every, self._drop, self._until = every, drop, until
        self._updates, self._end = Updates(1, 0, -1), 0

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule of updates, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        self._end = round(self._until * steps)
        self._updates = make_updates(self._every, 0.0, self._until, steps, steps_per_epoch)

    def before_step(self, step: int) -> None:
        """Drop and grow: after the evaluation of the epoch before, as in the authors' code."""
        super().before_step(step)
        if step > 0 and self._updates.is_due(step):
            self.update(cosine(self._drop, step, self._end, min(self._drop, LEAST_DROP)))

    @torch.no_grad()
    def update(self, rate: float) -> None:
        """Drop the share `rate` of the kept weights and grow as many; one transfer to the host."""
        shares = self._shares()
        dropped = [self._dropped(*each, rate) for each in zip(self.layers, shares, strict=True)]
        pairs = zip(self.layers, dropped, strict=True)
        room = [int(0.99 * (x.weight.numel() - x.kept + less)) for x, less in pairs]
        missing = sum(self._counts.values()) - sum(layer.kept for layer in self.layers)
        grown = apportion(missing + sum(dropped), shares, room)
        for layer, less, more in zip(self.layers, dropped, grown, strict=True):
            stays = strongest(layer, layer.kept - less)
            layer.kept += more - less
            scores = self.momentum(layer).abs().masked_fill(stays, inf)
            self.move(layer, keep_highest(scores, layer.kept))

    def _shares(self) -> list[float]:
        """Return each layer's part of the mean |momentum| of kept weights; they add up to 1."""
        sums = [(self.momentum(x).abs() * x.mask.factor).sum() for x in self.layers]
        totals = zip(torch.stack(sums).tolist(), self.layers, strict=True)
        means = [total / max(layer.kept, 1) for total, layer in totals]
        return [mean / (sum(means) or 1.0) for mean in means]

    def _dropped(self, layer: Layer, share: float, rate: float) -> int:
        """Return how many weights a layer drops: fewer where it is nearly dense and gains."""
        sparsity = 1 - layer.kept / layer.weight.numel()
        gains = share > 1 / len(self.layers)
        return ceil((min(rate, sparsity) if gains and sparsity < 0.2 else rate) * layer.kept)

    def after_step(self) -> None:
        """Set pruned weights to 0, which the dense momentum moves."""
        self.zero_pruned()
