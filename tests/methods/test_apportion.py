"""Whole numbers in given proportions."""

from collections.abc import Sequence

import pytest

from dstrun.methods.fixed.apportion import apportion


@pytest.mark.parametrize(
    ("total", "shares", "room", "parts"),
    [
        (6, [2, 1], [9, 9], [4, 2]),
        (0, [2, 1], [9, 9], [0, 0]),
        (7, [2, 1], [9, 9], [5, 2]),  # 4⅔ and 2⅓: the larger remainder is rounded up
        (3, [1, 1], [9, 9], [2, 1]),  # 1½ and 1½: the first of equal ones
        (10, [3, 1, 1], [2, 9, 9], [2, 4, 4]),  # 6, 2, 2: the first has 4 too many, 2 for each
        (12, [6, 3, 3], [2, 4, 9], [2, 4, 6]),  # 6, 3, 3 → 2, 5, 5 → 2, 4, 6
        (9, [0, 0, 0], [9, 9, 9], [3, 3, 3]),
        (9, [1, 0], [4, 0], [4, 0]),  # no more than there is room for
        (5, [1.0, 1e-9], [5, 5], [5, 0]),
    ],
)
def test_parts_add_up_and_have_room(
    total: int, shares: Sequence[float], room: Sequence[int], parts: list[int]
) -> None:
    assert apportion(total, shares, room) == parts
