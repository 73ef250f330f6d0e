"""Pareto front of scores, of which more is better, and densities, of which less is.

The density reached is not exactly the one asked for: two methods that were asked for 10 % can end
some weights apart. Densities therefore count as equal where tables show them alike.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import inf, isnan

STEP = 1e-4  # of the densities that tables show: 0.01 %


def on_front(scores: Sequence[float], densities: Sequence[float]) -> list[bool]:
    """Return for each point whether no other is as good and sparser, or as sparse and better.

    Two densities are equal if they differ by less than half a STEP, or are the same to a STEP. A
    point with a NaN is not on the front, and keeps no other from it.
    """
    points = zip(densities, scores, strict=True)
    ordered = sorted(point for point in points if not any(map(isnan, point)))
    known = [density for density, _ in ordered]
    best = [-inf, *accumulate((score for _, score in ordered), max)]  # of the first n points
    found = []
    for score, density in zip(scores, densities, strict=True):
        if isnan(score) or isnan(density):
            found.append(False)
            continue
        shown = STEP * round(density / STEP)
        least = min(density, shown) - STEP / 2
        most = max(density, shown) + STEP / 2
        is_beaten = best[bisect_left(known, most)] > score  # by one that is as sparse
        found.append(not is_beaten and best[bisect_right(known, least)] < score)
    return found
