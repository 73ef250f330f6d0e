"""Iterative magnitude pruning: lottery tickets (Frankle & Carbin, 2019, arXiv:1803.03635).

    train E epochs; then R times:
    keep the round(d^(i / R) N) weights of highest |W|, after pruning i = 1, 2, … R
    rewind=weights         weights, biases and batch norm are again those of the start of epoch k
                           (k > 0: Frankle et al., 2020, arXiv:1912.05671)
    rewind=learning_rate   they stay (Renda et al., 2020, arXiv:2003.02389)
    train from epoch k to E, with learning rate and order of the data as in the first round

Every pruning removes the same share of what is left. The optimiser's state begins anew each time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.methods.fixed.pruning import MagnitudePruning
from dstrun.methods.weight_mask import is_of_mask


class IMP(MagnitudePruning):
    """Prunings between rounds of training.

    rounds: number of prunings, R. rewind: weights or learning_rate. rewind_epoch: k, at which every
    round but the first begins. Other options as `MagnitudePruning`.
    """

    def __init__(
        self,
        density: float,
        *,
        rounds: int,
        rewind: str = "weights",
        rewind_epoch: int = 0,
        **options: Any,
    ) -> None:
        if rounds < 1:
            raise ValueError(f"rounds: got {rounds}, expected a number of prunings ≥ 1")
        super().__init__(density, **options)
        self.rounds, self.rewind_epoch = rounds + 1, rewind_epoch
        self._rewinds_weights = rewind == "weights"
        self._model: nn.Module | None = None
        self._rewind_step = 0
        self._rewind_state: dict[str, Tensor] = {}  # on the CPU

    def describe(self) -> str:
        """Return 'imp, density 5.00% (global) by 3 prunings of 63.16%, weights rewound to …'."""
        count = self.rounds - 1
        what = "weights" if self._rewinds_weights else "learning rate"
        share = f"{count} prunings of {1 - self.density ** (1 / count):.2%}"
        where = f"epoch {self.rewind_epoch}" if self.rewind_epoch else "the start"
        return f"imp, {self.words()} by {share}, {what} rewound to {where}"

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, and note it: all of its state is rewound."""
        super().prepare(model, example=example, past=past)
        self._model = model

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Take the step to whose weights rounds return."""
        super().begin(steps, optimiser, steps_per_epoch)
        self._rewind_step = self.rewind_epoch * steps_per_epoch

    def before_step(self, step: int) -> None:
        """Keep a copy of the model, where rounds will begin."""
        super().before_step(step)
        if self._rewinds_weights and step == self._rewind_step:
            state = self._own_state().items()
            self._rewind_state = {name: value.cpu().clone() for name, value in state}

    def _own_state(self) -> dict[str, Tensor]:
        """Return parameters and buffers of the model but for its masks, not copied."""
        assert self._model is not None
        state = self._model.state_dict()
        return {name: value for name, value in state.items() if not is_of_mask(name, state)}

    @torch.no_grad()
    def end_round(self, number: int) -> None:
        """Prune, rewind, and clear the optimiser's state."""
        self.prune(self.density ** ((number + 1) / (self.rounds - 1)))
        if self._rewinds_weights:
            for name, value in self._own_state().items():
                value.copy_(self._rewind_state[name])
            self.zero_pruned()
        self.reset_optimiser()

    def state_dict(self) -> dict[str, Any]:
        """Return what `MaskedMethod` does, and the model to which rounds return."""
        return super().state_dict() | {"rewind": self._rewind_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after `begin` and the model's own state."""
        super().load_state_dict(state)
        self._rewind_state = state["rewind"]
