"""When masks are updated, and by how much: functions of the step. No torch.

cosine   f_t = f_1 + (f_0 − f_1) / 2 · (1 + cos(π t / T))           (Dettmers & Zettlemoyer, 2019)
cubic    d_t = d_f + (d_0 − d_f) (1 − (t − t_0) / (t_1 − t_0))³    (Zhu & Gupta, 2017)
"""

from dataclasses import dataclass
from math import cos, pi

LEAST_DROP = 0.005  # what a cosine falls to in the code of Sparse Momentum and of GraNet


@dataclass(frozen=True)
class Updates:
    """Steps of mask updates: first, first + every, … up to `last`, which may be one of them."""

    every: int
    first: int
    last: int

    @property
    def steps(self) -> range:
        """Steps of all updates."""
        return range(self.first, self.last + 1, self.every)

    def is_due(self, step: int) -> bool:
        """Return whether masks are updated in a step, counted from 0."""
        return step in self.steps


def steps_between(every: int, epoch: int) -> int:
    """Return the number of steps between updates: `every`, or an epoch of `epoch` steps if it is 0.

    Raises ValueError where `epoch` is needed and 0.
    """
    if not (every or epoch):
        raise ValueError("every: got 0, once an epoch: call begin with steps_per_epoch")
    return every or epoch


def make_updates(every: int, start: float, until: float, steps: int, epoch: int) -> Updates:
    """Return updates every `every` steps between two shares of a run of `steps`.

    every, epoch: as `steps_between` has them. Never in the last step of the run, after which
    nothing trains what was grown.
    """
    period = steps_between(every, epoch)
    return Updates(period, round(start * steps), min(round(until * steps), steps - 2))


def cosine(initial: float, step: int, end: int, final: float = 0.0) -> float:
    """Return `initial` at step 0, the mean in the middle, `final` from step `end` on."""
    if step >= end:
        return final
    return final + (initial - final) / 2 * (1 + cos(pi * step / end))


def cubic(initial: float, final: float, step: int, start: int, end: int) -> float:
    """Return a density that falls from `initial` at step `start` to `final` at `end`."""
    if step >= end:
        return final
    rest = 1 - max(step - start, 0) / (end - start)
    return final + (initial - final) * rest**3
