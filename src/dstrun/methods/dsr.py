"""DSR, dynamic sparse reparameterisation (Mostafa & Wang, 2019, arXiv:1902.05967, algorithm 1).

    in front of a step, in layers l of N_l kept weights, with one threshold H for all:
    prune the n_l weights of |W| < H, but leave one in every layer; N_l := N_l − n_l
    grow N_l / Σ N_l · Σ n_l at random among the weights that were pruned before
    H := H / 2 where Σ n_l > 1.1 · p Σ N_l, and 2 H where it is < 0.9 · p Σ N_l

What is grown starts at 0. H starts at 0.001. p Σ N_l is a number that the authors give for each
network, 600 for LeNet-300-100. The time between updates doubles at 12.5, 40 and 70 % of the run, as
after the epochs 25, 80 and 140 of their 200 for WRN-28-2. They round the numbers to grow, correct
one layer's by chance, and leave the momentum of pruned weights to fade.
"""

from math import inf
from typing import Any

import torch
from torch.optim import Optimizer

from dstrun.methods.fixed.apportion import apportion
from dstrun.methods.fixed.method import strongest
from dstrun.methods.fixed.schedule import steps_between
from dstrun.methods.fixed.selection import draw, keep_highest
from dstrun.methods.static import Static

DOUBLED_AT = (0.125, 0.4, 0.7)  # of the run


class DSR(Static):
    """Pruning by one threshold and random growth, which moves weights between layers.

    every: steps between updates at first (0: an epoch). drop: share of the kept weights that an
    update is to prune, p. until: share of the run after which masks rest. Others as `Static`.
    """

    keeps_structure = False

    def __init__(
        self,
        density: float,
        *,
        distribution: str = "uniform",
        every: int = 100,
        drop: float = 0.1,
        until: float = 0.95,
        **options: Any,
    ) -> None:
        super().__init__(density, distribution=distribution, **options)
        self._every, self._drop, self._until = every, drop, until
        self._steps = 0
        self.threshold = 1e-3

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedule of updates, which is a share of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        self._steps, self._every = steps, steps_between(self._every, steps_per_epoch)

    def before_step(self, step: int) -> None:
        """Prune and grow, where an update is due."""
        super().before_step(step)
        period = self._every * 2 ** sum(step >= share * self._steps for share in DOUBLED_AT)
        if 0 < step <= self._until * self._steps and step % period == 0:
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Prune weights below the threshold, grow as many, and adjust it; one transfer."""
        below = [(x.weight.abs() < self.threshold) & x.mask.keep for x in self.layers]
        counts = torch.stack([mask.sum() for mask in below]).tolist()
        before = [layer.kept for layer in self.layers]
        rest = [max(kept - count, 1) for kept, count in zip(before, counts, strict=True)]
        room = [layer.weight.numel() - layer.kept for layer in self.layers]
        grown = apportion(sum(self._counts.values()) - sum(rest), rest, room)
        for layer, left, more in zip(self.layers, rest, grown, strict=True):
            stays = strongest(layer, left)
            scores = draw(
                self.seed, layer.name, self.step, layer.weight.shape, layer.weight.device
            ).masked_fill(layer.mask.keep, -1.0)
            layer.kept = left + more
            self.move(layer, keep_highest(scores.masked_fill(stays, inf), layer.kept))
        self._adjust(sum(before) - sum(rest), self._drop * sum(before))

    def _adjust(self, pruned: int, wanted: float) -> None:
        """Halve or double the threshold where the number pruned is off by more than a tenth."""
        if pruned > 1.1 * wanted:
            self.threshold /= 2
        elif pruned < 0.9 * wanted:
            self.threshold *= 2

    def state_dict(self) -> dict[str, Any]:
        """Return the masks of the last measurement, and the threshold."""
        return super().state_dict() | {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after `begin` and the model's own state, which holds the masks."""
        super().load_state_dict(state)
        self.threshold = state["threshold"]
