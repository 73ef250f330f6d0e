"""Which points are on the Pareto front, where densities differ by next to nothing."""

from math import nan

from dstrun.runs.front import on_front


def test_densities_a_weight_apart_are_equal() -> None:
    assert on_front([0.0469, 0.21], [0.09999978, 0.09999985]) == [False, True]
    assert on_front([0.5, 0.6], [0.100049, 0.100051]) == [False, True], "shown as 10.00 and 10.01"
    assert on_front([0.5, 0.6], [0.09996, 0.10004]) == [False, True], "both shown as 10.00"
    assert on_front([0.5, 0.6], [0.0999, 0.1]) == [True, True]


def test_equal_points_share_the_front() -> None:
    assert on_front([0.5, 0.5], [0.09999978, 0.09999985]) == [True, True]
    assert on_front([0.5, 0.5], [0.0999, 0.1]) == [True, False]
    assert on_front([0.5, 0.5, 0.4], [1.0, 1.0, 1.0]) == [True, True, False]


def test_a_point_without_a_figure_is_on_no_front() -> None:
    assert on_front([nan, 0.5, 0.9], [0.1, 0.2, nan]) == [False, True, False]
    assert on_front([], []) == []
