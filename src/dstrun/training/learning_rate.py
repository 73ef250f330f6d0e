"""Learning-rate schedules: pure functions of the step, so a resumed run needs no state."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, pi

RATES = ("constant", "multistep", "cosine", "onecycle")

Rate = Callable[[int], float]


def make_rate(
    name: str,
    *,
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    warmup: float = 0.0,
) -> Rate:
    """Return a function from the step (from 0) to the learning rate, whose base or peak is `lr`.

    multistep: × gamma at each milestone, in epochs; cosine: from lr to 0 over the run; onecycle:
    from lr / 25 up to lr over three tenths of the run and down to lr / 250,000, along cosines
    (Smith & Topin, 2017); `warmup` epochs rise linearly from 0 before any of them. Raises
    ValueError for another name.
    """
    total = max(epochs * steps_per_epoch, 1)
    warm = round(warmup * steps_per_epoch)

    def multistep(step: int) -> float:
        return lr * gamma ** bisect_right(milestones, step // steps_per_epoch)

    def cosine(step: int) -> float:
        return lr * (1 + cos(pi * (step - warm) / max(total - warm, 1))) / 2

    def onecycle(step: int) -> float:
        top, last = 0.3 * total - 1, total - 1
        if step <= top:
            return _along_cosine(lr / 25, lr, step / top)
        return _along_cosine(lr, lr / 25e4, (step - top) / (last - top))

    shapes: dict[str, Rate] = {
        "constant": lambda step: lr,
        "multistep": multistep,
        "cosine": cosine,
        "onecycle": onecycle,
    }
    if name not in shapes:
        raise ValueError(f"rate is {name!r}, expected one of {', '.join(RATES)}")
    shape = shapes[name]
    return lambda step: shape(warm) * (step + 1) / warm if step < warm else shape(step)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
