"""RigL (Evci et al., ICML 2020, arXiv:1911.11134, algorithm 1).

    in place of the optimiser's step of every ΔT-th step, in every layer of N kept weights:
    n = ⌊f_t · N⌋             f_t = f_0 / 2 · (1 + cos(π t / T_end))
    drop the n weights of least |W|, then grow n of highest |G| among all that are pruned

G is the dense gradient of the whole batch. The just dropped may be grown at once, and then keep
their value and momentum; others start at 0. The update replaces the optimiser's step, as in the
authors' code.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dstrun.methods.set import Set


class RigL(Set):
    """Growth by gradient at a constant density; options as `Set`."""

    moves_at_start = True

    def __init__(
        self,
        density: float,
        *,
        distribution: str = "erk",
        every: int = 100,
        drop_schedule: str = "cosine",
        until: float = 0.75,
        **options: Any,
    ) -> None:
        options |= {"every": every, "drop_schedule": drop_schedule, "until": until}
        super().__init__(density, distribution=distribution, **options)

    def is_due(self, step: int) -> bool:
        """Return whether masks move in a step, in place of the optimiser's."""
        return self.is_time(step)

    def update(self) -> None:
        """Do nothing in front of the step, which gives the gradients to grow by."""

    def on_gradients(self, gradients: Sequence[Tensor | None]) -> bool:
        """Drop and grow in an update step, which replaces the optimiser's; mask gradients else."""
        if not self.is_update_step:
            return super().on_gradients(gradients)
        for layer in self.layers:
            gradient = layer.in_gradients(gradients)
            if gradient is not None:
                self.regrow(layer, gradient.abs())
        return False
