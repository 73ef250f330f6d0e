"""Sparse Momentum, SNFS (Dettmers & Zettlemoyer, 2019, arXiv:1907.04840, algorithm 1).

    between epochs, or every ΔT steps, for layers l of N_l kept weights with momentum m:
    p_t = 0.005 + (p_0 − 0.005) / 2 · (1 + cos(π t / T_end))
    share_l = mean |m| of the kept weights of l, over the sum of these means
    drop the n_l = ⌈p_t · N_l⌉ weights of least |W|, then grow share_l · Σ n_l of highest |m|
    among all that are pruned, the just dropped included

A layer of a sparsity s_l < 0.2 whose share is more than 1 / layers drops ⌈min(p_t, s_l) · N_l⌉. A
layer grows at most 99 % of what it has pruned; the others grow the rest, in equal parts. Momentum
is dense: pruned weights have gradients and momentum, and are set to 0 after every step. What is
grown starts at 0, but a weight dropped in the same update at its value. For Adam, m is
m / (√v + 1e-8).

The authors draw each weight of the first mask by chance, round shares up, and correct the number of
weights in later updates; here it is exact at all times.
"""

from math import ceil, inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.methods.fixed.apportion import apportion
from dstrun.methods.fixed.method import Layer, strongest
from dstrun.methods.fixed.schedule import Updates, cosine, make_updates
from dstrun.methods.fixed.selection import keep_highest
from dstrun.methods.static import Static

LEAST_DROP = 0.005


class SNFS(Static):
    """Growth by momentum, which also moves weights between layers, at a constant density.

    every: steps between updates (0: one between epochs). drop: share of the kept weights dropped at
    first; it falls until the share `until` of the run, when masks come to rest. Others as `Static`.
    """

    reads_gradients = False  # those of pruned weights are not masked
    has_dense_momentum = True

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
        self._updates: Updates | None = None
        self._end = 0

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule of updates, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        every, self._end = self._every or steps_per_epoch, round(self._until * steps)
        self._updates = make_updates(every, 0.0, self._until, steps, steps_per_epoch)

    def before_step(self, step: int) -> None:
        """Drop and grow: after the evaluation of the epoch before, as in the authors' code."""
        super().before_step(step)
        if step > 0 and self._updates is not None and self._updates.is_due(step):
            self.update(cosine(self._drop, step, self._end, min(self._drop, LEAST_DROP)))

    @torch.no_grad()
    def update(self, rate: float) -> None:
        """Drop the share `rate` of the kept weights and grow as many; one transfer to the host."""
        shares = self._shares()
        dropped = [self._dropped(*each, rate) for each in zip(self.layers, shares, strict=True)]
        room = []
        for layer, count in zip(self.layers, dropped, strict=True):
            room.append(int(0.99 * (layer.weight.numel() - layer.kept + count)))
        missing = sum(self._counts.values()) - sum(layer.kept for layer in self.layers)
        grown = apportion(missing + sum(dropped), shares, room)
        for layer, less, more in zip(self.layers, dropped, grown, strict=True):
            stays = strongest(layer, layer.kept - less)
            layer.kept += more - less
            scores = self._momentum(layer.weight).abs().masked_fill(stays, inf)
            self.move(layer, keep_highest(scores, layer.kept))

    def _shares(self) -> list[float]:
        """Return each layer's part of the mean |momentum| of kept weights; they add up to 1."""
        sums = [(self._momentum(x.weight).abs() * x.mask.factor).sum() for x in self.layers]
        totals = zip(torch.stack(sums).tolist(), self.layers, strict=True)
        means = [total / max(layer.kept, 1) for total, layer in totals]
        return [mean / (sum(means) or 1.0) for mean in means]

    def _dropped(self, layer: Layer, share: float, rate: float) -> int:
        """Return how many weights a layer drops: fewer where it is nearly dense and gains."""
        sparsity = 1 - layer.kept / layer.weight.numel()
        gains = share > 1 / len(self.layers)
        return ceil((min(rate, sparsity) if gains and sparsity < 0.2 else rate) * layer.kept)

    def _momentum(self, weight: nn.Parameter) -> Tensor:
        """Return what the optimiser has summed up of a weight's gradients: 0 without a step."""
        assert self._optimiser is not None
        state = self._optimiser.state.get(weight, {})
        if "exp_avg" in state:
            return state["exp_avg"] / (state["exp_avg_sq"].sqrt() + 1e-8)
        buffer = state.get("momentum_buffer")
        return torch.zeros_like(weight) if buffer is None else buffer

    def after_step(self) -> None:
        """Set pruned weights to 0, which the dense momentum moves."""
        self.zero_pruned()
