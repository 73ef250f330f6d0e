"""Differences between groups of runs: scipy's intervals, published numbers of seeds, groups."""

from math import isnan, nan
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_ind, ttest_rel

from dstrun.compare import statistics
from dstrun.compare.figures.differences import differences
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.compare.statistics import (
    MEANS,
    NONE,
    PAIRED,
    WELCH,
    by_density,
    difference,
    seeds_needed,
)
from dstrun.runs.tasks import ACCURACY
from tests.helpers.folders import leave, leave_methods

TABLES: list[tuple[list[float], list[float]]] = [
    ([1, 2, 3], [0, 0, 0]),  # d = 2, s = 1, n = 3
    ([5, 7, 9, 3], [4, 7, 6, 5]),
    ([0.9612, 0.9588, 0.9601, 0.9595, 0.961], [0.9585, 0.9571, 0.9602, 0.9568, 0.9579]),
]


def series(values: list[float], first_seed: int = 0) -> pd.Series:
    return pd.Series(values, range(first_seed, first_seed + len(values)), dtype=float)


@pytest.mark.parametrize(("one", "other"), TABLES)
def test_intervals_equal_those_of_scipy(one: list[float], other: list[float]) -> None:
    """Paired where seeds are shared, Welch else, of equal and of unequal numbers of values."""
    for level in (0.95, 0.9):
        pairs = difference(series(one), series(other), level)
        theirs = ttest_rel(one, other)
        expected = (*theirs.confidence_interval(level), theirs.pvalue)
        assert (pairs.low, pairs.high, pairs.p) == pytest.approx(expected, rel=1e-12)
        assert (pairs.kind, pairs.pairs, pairs.freedom) == (PAIRED, len(one), len(one) - 1)
        for less in (0, 1):
            apart = difference(series(one), series(other[less:], 100), level)
            theirs = ttest_ind(one, other[less:], equal_var=False)
            expected = (*theirs.confidence_interval(level), theirs.pvalue)
            assert (apart.low, apart.high, apart.p) == pytest.approx(expected, rel=1e-12)
            assert (apart.kind, apart.pairs) == (WELCH, 0)
            assert apart.counts == (len(one), len(other) - less)
            assert apart.freedom == pytest.approx(theirs.df)


def test_a_difference_by_hand() -> None:
    """d = 2, s = 1, n = 3: t of two degrees of freedom is 4.302653, so 2 ± 4.302653 / √3."""
    found = difference(series([1, 2, 3]), series([0, 0, 0]))
    assert (found.mean, found.deviation) == (2, 1)
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-6)
    assert not found.is_clear
    assert difference(series([11, 12, 13]), series([0, 0, 0])).is_clear
    assert difference(series([0, 0, 0]), series([11, 12, 13])).is_clear


def test_values_that_do_not_vary() -> None:
    """An interval of no width; round-off is no difference, and scipy's warning does not come."""
    for seed in (0, 100):
        same = difference(series([0.1, 0.1, 0.1]), series([0.1] * 5, seed))
        assert (same.mean, same.low, same.high, same.p, same.is_clear) == (0, 0, 0, 1, False)
        gap = difference(series([0.3, 0.3]), series([0.1, 0.1], seed))
        assert (gap.low, gap.high, gap.p, gap.deviation) == (gap.mean, gap.mean, 0, 0)
        assert gap.is_clear
    one = difference(series([1, 2, 3]), series([0, 0, 0], 100))
    assert (one.freedom, one.deviation) == (2, pytest.approx(0.5**0.5))


def test_seeds_that_are_not_shared_are_left_out() -> None:
    """Where more than half of either group's are shared, and two; else all values count."""
    found = difference(series([1, 2, 9]), series([7, 0, 1], -1))
    assert (found.mean, found.pairs, found.left_out) == (1, 2, ((2,), (-1,)))
    for more in ([9], [9] * 20):
        found = difference(series([1, 2, 3, *more]), series([7, 0, 1], -1))
        assert (found.kind, found.counts, found.left_out) == (WELCH, (3 + len(more), 3), ((), ()))
        assert difference(series([7, 0, 1], -1), series([1, 2, 3, *more])).mean == -found.mean
    found = difference(series([1, 2, 3]), series([1, 2, 4], 2))
    assert (found.kind, found.counts, found.left_out) == (WELCH, (3, 3), ((), ()))
    twice = pd.Series([1.0, 3, 4, nan], [0, 0, 1, 2])
    found = difference(twice, series([0, 0, 0]))
    assert (found.mean, found.pairs) == (3, 2)


def test_single_values_have_no_interval() -> None:
    for one, other in (([1.0], [3.0]), ([1.0], [3.0, 4.0]), ([], [1.0, 2.0])):
        found = difference(series(one), series(other))
        assert (found.kind, found.is_clear, found.is_unclear) == (NONE, False, False)
        assert all(map(isnan, (found.low, found.high, found.p)))
    assert difference(series([1.0]), series([3.0])).mean == -2


def test_seeds_needed_are_those_of_published_tables() -> None:
    """Cohen's d of 0.2, 0.5, 0.8 and 1 at a power of 0.8: as by G*Power 3.1 and statsmodels."""
    sizes = (0.2, 0.5, 0.8, 1.0)
    assert [seeds_needed(1, size, paired=False) for size in sizes] == [394, 64, 26, 17]
    assert [seeds_needed(1, size, paired=True) for size in sizes] == [199, 34, 15, 10]
    assert seeds_needed(1, 0.5, power=0.9, paired=False) == 86
    assert seeds_needed(1, 0.5, level=0.99, paired=False) == 96
    assert seeds_needed(0.01, 0.01, paired=True) == 10
    assert seeds_needed(1, 100, paired=True) == seeds_needed(0, 1, paired=False) == 2
    with pytest.raises(ValueError, match="size: got 0, expected a number > 0"):
        seeds_needed(1, 0, paired=True)


def test_groups_at_each_density() -> None:
    """RigL 2 % above SET, and DST 3 and 4 % below dense; several methods have no mean."""
    leave_methods(seeds=2)
    leave(Path("outputs/made"), [0.5], [0.2], reg__method="set", reg__density=0.2, created=50)
    failed = {"seed": 7, "state": "failed", "created": 51}
    leave(accuracies=[0.5], densities=[0.1], reg__method="gmp", reg__density=0.1, **failed)
    runs = with_labels(Store([Path("outputs")]).runs)
    method = runs["reg.method"]
    table = by_density(runs, method == "rigl", method == "set").round(6)
    assert table[["model.name", "reg.density", "difference", "kind", "pairs"]].values.tolist() == [
        ["lenet_300_100", 0.1, 0.02, PAIRED, 2],
        ["lenet_300_100", 0.05, 0.02, PAIRED, 2],
    ]
    assert table["is_clear"].all(), "since both differ by exactly this at either seed"
    assert table[list(MEANS)].iloc[0].tolist() == [0.955, 0.007071, 0.935, 0.007071]
    both = method.isin(["rigl", "dst"])
    table = by_density(runs, both, method == "dense")
    assert table[["settings", "other_settings"]].values.tolist() == [[2, 1]] * 2
    assert table[["difference", "mean", "other_mean"]].isna().all(axis=None), "of two methods"
    table = by_density(runs, method == "dst", method == "dense").round(6)
    assert table[["reg.density", "difference"]].values.tolist() == [[0.1, -0.03], [0.05, -0.04]]
    assert by_density(runs, method == "gmp", method == "set").empty
    assert list(by_density(runs, method == "dense", method == "dense")["difference"]) == [0]


def test_groups_at_each_alpha() -> None:
    """Runs that were asked for no density; what has neither is no part of them, dense or not."""
    for place, alpha in enumerate((1e-3, 1e-4)):
        for method, value in (("neuron", 0.8), ("layer", 0.9)):
            options = {"reg__alpha": alpha, "reg__granularity": method, "created": place}
            leave(accuracies=[value - 0.1 * place], densities=[0.5], **options)
    leave(accuracies=[0.99], densities=[1.0], reg__method="dense")
    leave(accuracies=[0.3], densities=[0.5], reg__target_density=0.5)
    runs = with_labels(Store([Path("outputs")]).runs)
    dense = runs["reg.method"] == "dense"
    asked, kind = runs["reg.density"].notna(), runs["reg.granularity"]
    by_neuron = (kind == "neuron") & ~asked & ~dense
    columns = ["reg.alpha", "difference", "kind", "count"]
    for other, gaps in ((kind == "layer", [-0.1, -0.1]), (dense, [-0.29, -0.19])):
        table = by_density(runs, by_neuron, other & ~asked).round(6)
        expected = list(zip((1e-4, 1e-3), gaps, (NONE, NONE), (1, 1), strict=True))
        assert list(table[columns].itertuples(index=False, name=None)) == expected
        assert table["reg.density"].isna().all()
    no_alpha = runs.assign(**{"reg.alpha": nan})
    some = by_neuron & (runs["reg.alpha"] == 1e-3)
    table = by_density(no_alpha, some | dense, some)
    assert list(table["difference"]) == [0], "without the dense run of the group"
    assert by_density(runs, by_neuron, asked).empty


def test_whiskers_of_differences() -> None:
    """Their lengths on both sides of the mark, in points: 2 (1 to 5) is 1 down and 3 up."""
    row = {"difference": 0.02, "low": 0.01, "high": 0.05, "kind": PAIRED, "is_clear": True}
    (trace,) = differences(pd.DataFrame([row]), ["a − b"], ACCURACY)["data"]
    assert trace["x"] == pytest.approx([2])
    assert trace["error_x"]["arrayminus"] == pytest.approx([1])
    assert trace["error_x"]["array"] == pytest.approx([3])


def test_runs_of_unknown_seeds_are_in_no_pair() -> None:
    leave(seed=0)
    leave(seed=1)
    runs = Store([Path("outputs")]).runs.assign(seed=nan)
    values = statistics.by_seed(statistics.values_with_seeds(runs))
    assert list(values.index) == list(runs["run"])


def test_scipy_is_imported_where_it_is_used() -> None:
    """It takes 0.3 s, which most reports do not need."""
    for file in Path(statistics.__file__).parent.rglob("*.py"):
        assert "\nfrom scipy" not in file.read_text(), file
