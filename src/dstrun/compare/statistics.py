"""Differences between groups of runs: are they more than seeds, and how many seeds tell them.

    paired  d = mean of x − y over shared seeds, error s / √n of these differences,
            n − 1 degrees of freedom
    Welch   d = x̄ − ȳ, error √(s²/n + s'²/n'), degrees of freedom by Welch and Satterthwaite

The interval is d ± t · error, with Student's t at these degrees of freedom. A seed sets the initial
weights and the order of the batches, so runs that share it are compared in pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, nan, sqrt

import pandas as pd

from dstrun.compare.headlines import headline_values
from dstrun.compare.labels import DENSITIES, is_dense
from dstrun.runs.labels import NAMES
from dstrun.runs.status import FINISHED

LEVEL = 0.95
POWER = 0.8  # chance to tell a difference that is there
PAIRED, WELCH, NONE = "paired", "welch", ""  # kinds of intervals
Seeds = tuple[tuple[object, ...], tuple[object, ...]]  # of two groups
NO_SEEDS: Seeds = ((), ())
CELLS = (
    *("difference", "low", "high", "p", "kind", "count", "other_count", "pairs", "is_clear"),
    "left_out",
)
MEANS = ("mean", "mean_std", "other_mean", "other_mean_std")
PLACE = (DENSITIES[0], "reg.alpha")  # of a row, besides the network
ROUND_OFF = 1e-12  # of the values: errors and differences up to it are 0


@dataclass(frozen=True)
class Difference:
    """The mean of a group minus that of another one, with its confidence interval.

    kind: PAIRED, WELCH, or NONE where a group has fewer than two values: low, high, freedom, p and
    deviation are then NaN. counts: values of either group in the mean, one a seed; of PAIRED both
    are the number of pairs. left_out: seeds of either group that are in no pair. freedom: degrees
    of freedom. p: probability of a difference as large, of either sign, if there were none.
    deviation: that of the paired differences, of WELCH √((s² + s'²) / 2), for `seeds_needed`.
    """

    mean: float
    low: float
    high: float
    kind: str
    counts: tuple[int, int]
    left_out: Seeds
    freedom: float
    p: float
    deviation: float

    @property
    def pairs(self) -> int:
        """How many pairs of runs there are; 0 if they are not compared in pairs."""
        return self.counts[0] if self.kind == PAIRED else 0

    @property
    def is_clear(self) -> bool:
        """Whether there is an interval, without 0."""
        return self.low > 0 or self.high < 0

    @property
    def is_unclear(self) -> bool:
        """Whether there is an interval, with 0 in it: seeds cannot tell the difference."""
        return self.kind != NONE and not self.is_clear


def difference(first: pd.Series, other: pd.Series, level: float = LEVEL) -> Difference:
    """Return the mean of `first` minus that of `other`, values by seed, with its interval.

    Where two seeds or more, and more than half of either group's, are shared, it is that of the
    pairs alone: with fewer of them it would leave out too many values. Values of one seed are
    averaged first; NaN is none. Values that do not vary have an interval of no width.
    """
    x, y = (some.dropna().groupby(level=0, sort=False).mean() for some in (first, other))
    shared = [seed for seed in x.index if seed in y.index]
    kind, counts, left_out = WELCH, (len(x), len(y)), NO_SEEDS
    if len(shared) > 1 and 2 * len(shared) > max(counts):
        kind, counts = PAIRED, (len(shared), len(shared))
        left_out = (tuple(x.drop(shared).index), tuple(y.drop(shared).index))
        x, y = x.loc[shared], y.loc[shared]
    elif min(counts) < 2:
        mean = float(x.mean() - y.mean())
        return Difference(mean, nan, nan, NONE, counts, left_out, nan, nan, nan)
    deviation, error, freedom = _paired(x - y) if kind == PAIRED else _welch(x, y)
    scale = ROUND_OFF * max(x.abs().max(), y.abs().max())
    mean, deviation, error = (
        0.0 if abs(value) <= scale else float(value)
        for value in (x.mean() - y.mean(), deviation, error)
    )
    low, high, p = _interval(mean, error, freedom, level)
    return Difference(mean, low, high, kind, counts, left_out, freedom, p, deviation)


def _paired(gaps: pd.Series) -> tuple[float, float, float]:
    """Return deviation, standard error and degrees of freedom of paired differences."""
    return gaps.std(), gaps.std() / sqrt(len(gaps)), len(gaps) - 1.0


def _welch(x: pd.Series, y: pd.Series) -> tuple[float, float, float]:
    """Return deviation, standard error and degrees of freedom of two groups' values."""
    one, other = x.var() / len(x), y.var() / len(y)
    rest = one**2 / (len(x) - 1) + other**2 / (len(y) - 1)
    freedom = (one + other) ** 2 / rest if rest else len(x) + len(y) - 2.0
    return sqrt((x.var() + y.var()) / 2), sqrt(one + other), float(freedom)


def _interval(
    mean: float, error: float, freedom: float, level: float
) -> tuple[float, float, float]:
    """Return both ends of the interval, and p."""
    from scipy.special import stdtr, stdtrit  # takes 0.3 s

    if not error:
        return mean, mean, 0.0 if mean else 1.0
    half = error * stdtrit(freedom, (1 + level) / 2)
    return float(mean - half), float(mean + half), float(2 * stdtr(freedom, -abs(mean) / error))


def seeds_needed(
    deviation: float, size: float, *, paired: bool, power: float = POWER, level: float = LEVEL
) -> int:
    """Return how many pairs, or else seeds in each group, tell a difference of that size.

    That is, whose interval does not contain 0 with probability `power`, by the noncentral t
    distribution of two-sided tests (Cohen 1988, chapter 2). `deviation` is that of the paired
    differences, or else of the values of a group. Raise ValueError for a size of 0.
    """
    from scipy.special import nctdtr, ndtri, stdtrit

    if not size > 0:
        raise ValueError(f"size: got {size}, expected a number > 0")
    groups = 1 if paired else 2
    if not deviation:
        return 2
    effect = size / deviation
    count = max(2, ceil(groups * ((ndtri((1 + level) / 2) + ndtri(power)) / effect) ** 2))
    while True:  # from the number of a known deviation up, which takes a few steps
        freedom, shift = groups * (count - 1), effect * sqrt(count / groups)
        limit = stdtrit(freedom, (1 + level) / 2)
        if not 1 - nctdtr(freedom, shift, limit) + nctdtr(freedom, shift, -limit) < power:
            return count
        count += 1


def values_with_seeds(runs: pd.DataFrame) -> pd.Series:
    """Return (seed, headline) of each run: its name if the seed is unknown, NaN if not finished."""
    seeds = runs["seed"].astype(object).where(runs["seed"].notna(), runs["run"])
    values = headline_values(runs).where(runs["state"] == FINISHED)
    return pd.Series(list(zip(seeds, values, strict=True)), runs.index, dtype=object)


def by_seed(values: Iterable[tuple[object, float]]) -> pd.Series:
    """Return values by seed, for `difference`; without those that are NaN."""
    known = [(seed, value) for seed, value in values if value == value]
    return pd.Series([value for _, value in known], [seed for seed, _ in known], dtype=float)


def by_density(runs: pd.DataFrame, first: pd.Series, other: pd.Series) -> pd.DataFrame:
    """Return the difference of two groups of runs at each density asked for that both have.

    `first` and `other` are boolean masks of the runs. Runs that were asked for no density are
    compared at each α that both have. A group that is all dense for a model and data is compared
    with every density and α of the other one. Columns: model.name, data.name, reg.density and
    reg.alpha (NaN: none, or all dense); settings and other_settings, how many either group has
    there; means and standard deviations, MEANS, and those of `cells`. Where a group has several
    settings, which no mean is taken over, they are NaN.
    """
    rows: list[dict[str, object]] = []
    for names, some in runs.groupby([*NAMES], sort=False, dropna=False):
        groups = [some[mask[some.index]] for mask in (first, other)]
        network = dict(zip(NAMES, names, strict=True))
        rows += [network | row for row in _rows(groups)] if all(map(len, groups)) else []
    counts = ("settings", "other_settings")
    return pd.DataFrame(rows, columns=[*NAMES, *PLACE, *counts, *MEANS, *CELLS])


def _rows(groups: Sequence[pd.DataFrame]) -> Iterator[dict[str, object]]:
    """Yield the rows of two groups of one network, without its names."""
    sparse = pd.concat([group[~is_dense(group)] for group in groups])
    places = _places(sparse).drop_duplicates().sort_values([*PLACE], ascending=[False, True])
    for density, alpha in [*places.itertuples(index=False)] if len(sparse) else [(nan, nan)]:
        here = [_at(group, density, alpha) for group in groups]
        values = [by_seed(values_with_seeds(some)) for some in here]
        if not all(map(len, values)):
            continue
        settings = [some.loc[some["state"] == FINISHED, "setting"].nunique() for some in here]
        if max(settings) > 1:
            values = [some[:0] for some in values]
        means = [figure for some in values for figure in (some.mean(), some.std())]
        place = dict(zip(PLACE, (density, alpha), strict=True))
        counts = dict(zip(("settings", "other_settings"), settings, strict=True))
        yield place | counts | dict(zip(MEANS, means, strict=True)) | cells(difference(*values))


def _places(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the density asked for of each run, and its α if there is none."""
    asked, alpha = (runs[key].astype(float) for key in PLACE)
    return pd.DataFrame({PLACE[0]: asked, PLACE[1]: alpha.where(asked.isna())})


def _at(group: pd.DataFrame, density: float, alpha: float) -> pd.DataFrame:
    """Return the sparse runs of a group at a density or an α, or all if none is sparse."""
    if is_dense(group).all():
        return group
    same = ~is_dense(group)
    for value, own in zip((density, alpha), _places(group).items(), strict=True):
        same &= own[1].isna() if value != value else own[1] == value
    return group[same]


def cells(found: Difference) -> dict[str, object]:
    """Return a difference as cells of a table."""
    values = (found.mean, found.low, found.high, found.p, found.kind, *found.counts, found.pairs)
    return dict(zip(CELLS, (*values, found.is_clear, found.left_out), strict=True))


def seeds_in_words(seeds: Sequence[object], name: str) -> str:
    """Return 'seed 7 of rigl', 'seeds 7, 8 of rigl'; '' for none."""
    known = [f"{seed:g}" if isinstance(seed, float) else str(seed) for seed in seeds]
    return f"seed{'s' * (len(known) > 1)} {', '.join(known)} of {name}" if known else ""
