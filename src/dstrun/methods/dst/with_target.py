"""Settings of Dynamic Sparse Training that follow from a target density. No torch."""

GUARD_WITH_TARGET = 0.9  # a reset lowers thresholds by a tenth, until some weights are back
FREEZE_WITH_TARGET = 0.8  # share of the run; in the rest the weights adapt to masks at the target
BOUND_WITH_TARGET = 0.1  # on each threshold's gradient


def with_target(
    target: float, floor: float, guard: float, freeze: float
) -> tuple[float, float, float]:
    """Return floor, guard and freeze as a run with a target density uses them.

    The floor is at most a quarter of the target, and a reset no larger than a tenth, so that no
    reset undoes the approach to the target; masks are frozen early enough for the weights to adapt.
    """
    return min(floor, target / 4), max(guard, GUARD_WITH_TARGET), min(freeze, FREEZE_WITH_TARGET)
