"""Rounds of training: what a run's epochs, counted through all of them, are within their round.

    round 0         epochs 0, 1, … E − 1
    round 1, 2, …   epochs k, k + 1, … E − 1 again

Learning rate and order of the data are functions of the epoch within the round.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dstrun.config.options import Config
from dstrun.methods import METHODS
from dstrun.runs.method import make_method


@dataclass(frozen=True)
class Rounds:
    """`count` rounds of `epochs` epochs; all but the first begin at epoch `again`."""

    epochs: int
    count: int = 1
    again: int = 0

    @property
    def total(self) -> int:
        """Epochs of the whole run."""
        return self.epochs + (self.count - 1) * (self.epochs - self.again)

    def place(self, epoch: int) -> tuple[int, int]:
        """Return the round of an epoch of the run, and the epoch within it; all count from 0."""
        if epoch < self.epochs or self.total <= self.epochs:
            return 0, epoch
        number, more = divmod(epoch - self.epochs, self.epochs - self.again)
        return number + 1, self.again + more

    def is_first(self, epoch: int) -> bool:
        """Return whether an epoch of the run is the first of its round."""
        return epoch == 0 or self.place(epoch)[0] > self.place(epoch - 1)[0]

    def of_steps(self, rate: Callable[[int], float], per_epoch: int) -> Callable[[int], float]:
        """Return a function of the step within a round as one of the step of the run."""

        def of_step(step: int) -> float:
            epoch, batch = divmod(step, per_epoch)
            return rate(self.place(epoch)[1] * per_epoch + batch)

        return of_step


def rounds_of(config: Config) -> Rounds:
    """Return the rounds that a config asks for.

    A method of an installed package is made and asked, which imports torch. Raises InputError where
    it cannot be made.
    """
    epochs, reg = config.schedule.epochs, config.reg
    if reg.method == "imp":
        return Rounds(epochs, reg.rounds + 1, reg.rewind_epoch)
    if reg.method in METHODS:
        return Rounds(epochs)
    method = make_method(config)
    return Rounds(epochs, method.rounds, method.rewind_epoch)
