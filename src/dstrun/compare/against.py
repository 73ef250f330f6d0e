"""Differences of settings from one of them: which one is meant, and what seeds can tell."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dstrun.compare import filters
from dstrun.compare.headlines import headline_of_row, written_difference, written_size
from dstrun.compare.labels import DENSE, DENSITIES, cell_text
from dstrun.compare.statistics import (
    LEVEL,
    NONE,
    PAIRED,
    POWER,
    WELCH,
    Difference,
    by_seed,
    difference,
    seeds_in_words,
    seeds_needed,
)
from dstrun.config.messages import near
from dstrun.runs.identity import SETTINGS
from dstrun.runs.labels import NAMES, quantity
from dstrun.system.errors import InputError, printable

ASKED = DENSITIES[0]
MEAN, SETTING, FOUND = "difference_against", "against", "compared"  # columns
REST = ("low", "high", "p", "pairs", "seeds_needed")
NAMED = 4  # of the settings that a message names
MANY = 100_000  # seeds that are only said to be more
UNCLEAR = " ≈"  # mark of a difference that seeds cannot tell from none
INTERVAL = f"{100 * LEVEL:g} % interval"
EACH = "each interval is for itself: of 20 that do not differ, about one looks as if it did"


def with_differences(rows: pd.DataFrame, runs: pd.DataFrame, conditions: str) -> pd.DataFrame:
    """Return settings with their difference from the one of their model and data that is meant.

    `conditions` are those of a filter, in which `density` is the one asked for, or a method's name;
    `runs` those of the settings. The columns are `difference_against`, low, high, p, pairs,
    seeds_needed and against, the conditions. Raise InputError where several settings of a model
    and data meet the conditions, or none.
    """
    met, found = _meet(rows, runs, conditions), {}
    for names, some in rows[rows["names"].notna()].groupby([*NAMES], sort=False):
        meant = some[met[some.index]]
        if len(meant) != 1:
            raise InputError(_not_one(conditions, " on ".join(map(str, names)), some, meant))
        values = by_seed(meant["values"].iloc[0])
        if values.empty:
            raise InputError(f"against: {conditions!r} has no finished run")
        for place in some.index.difference(meant.index):
            found[place] = difference(by_seed(some["values"][place]), values)
    return _with_columns(rows, found, conditions)


def with_differences_at_each_density(
    cells: pd.DataFrame, runs: pd.DataFrame, conditions: str, network: str
) -> pd.DataFrame:
    """Return the table of `methods.by_density` with differences from one row at the same density.

    Those from the dense runs are at every density. `unclear` is about these differences, and the
    other columns and errors are as above.
    """
    met, found = cells[_meet(cells, runs, conditions)], {}
    named = met["method"].unique()
    if len(named) != 1:
        known = met if len(named) else cells
        there = _some(known["method"].unique(), "; ")
        raise InputError(f"against: got {conditions!r}, expected one row of {network}: {there}")
    for place, row in cells.drop(index=met.index).iterrows():
        same = met[(met[ASKED] == row[ASKED]) | (met["reg.method"] == DENSE)]
        if len(same):
            found[place] = difference(by_seed(row["values"]), by_seed(same["values"].iloc[0]))
    unclear = [place in found and found[place].is_unclear for place in cells.index]
    return _with_columns(cells.assign(unclear=unclear), found, conditions)


def _meet(rows: pd.DataFrame, runs: pd.DataFrame, conditions: str) -> pd.Series:
    """Return for each row, with `names`, whether one of its runs meets the conditions."""
    methods = list(dict.fromkeys(runs["reg.method"].dropna()))
    if not {*"<>=!"} & {*conditions}:
        if conditions not in methods:
            hint = near(conditions, methods) or f"; there are {_some(methods)}"
            example = "a method or conditions such as 'method=rigl density=0.1'"
            raise InputError(f"against: got {conditions!r}, expected {example}{hint}")
        conditions = f"method={conditions}"
    as_asked = runs.assign(density=runs[ASKED])
    names = {*filters.where(as_asked, conditions, "against").index}
    lists = rows["names"].map(lambda own: own if isinstance(own, list) else [])
    return lists.map(lambda own: not names.isdisjoint(own)).astype(bool)


def _not_one(conditions: str, network: str, rows: pd.DataFrame, meant: pd.DataFrame) -> str:
    """Return what is wrong with conditions that several rows meet, or none."""
    options = rows.columns[: rows.columns.get_loc("setting")]
    known = meant if len(meant) else rows
    keys = [key for key in options if known[key].nunique(dropna=False) > 1]
    some = _some([_as_conditions(row, keys) for row in known.to_dict("records")], "; ")
    network = printable(network)
    if meant.empty:
        return f"against: no setting of {network} meets {conditions!r}; there are {some}"
    hint = "; --methods compares at each density" if {*keys} <= {*DENSITIES} else ""
    count = quantity(len(meant), "setting")
    return f"against: {conditions!r} is {count} of {network}, expected one: add {some}{hint}"


def _as_conditions(row: dict[str, Any], keys: Sequence[str]) -> str:
    """Return the options of a setting as conditions: 'method=rigl density=0.1'."""
    words = []
    for key in keys:
        value = row[key]
        if text := f"{value:.12g}" if isinstance(value, float) else cell_text(value, key):
            name = "density" if key in DENSITIES else key
            is_short = key.startswith(("reg.", "schedule.")) and not key.endswith(".args")
            quote = '"' * any(letter in text for letter in " ,")
            if text != "nan":
                last = name.rpartition(".")[2] if is_short else name
                words.append(f"{last}={quote}{text}{quote}")
    return printable(" ".join(words))


def _some(words: Sequence[str], between: str = ", ") -> str:
    """Return the first of the words, and … for others."""
    return between.join([*words[:NAMED], *["…"] * (len(words) > NAMED)])


def _with_columns(
    rows: pd.DataFrame, found: dict[Any, Difference], conditions: str
) -> pd.DataFrame:
    """Return the rows with the columns of their differences, empty where there is none."""
    compared = pd.Series(found, dtype=object).reindex(rows.index)
    cells = [_cells(one) if isinstance(one, Difference) else [None] * 6 for one in compared]
    columns = pd.DataFrame(cells, rows.index, (MEAN, *REST), dtype=object)
    return pd.concat([rows, columns], axis=1).assign(
        **{SETTING: printable(conditions), FOUND: compared}
    )


def _cells(found: Difference) -> list[Any]:
    """Return a difference as cells of the columns MEAN and REST."""
    return [found.mean, found.low, found.high, found.p, found.pairs, _needed(found)]


def _needed(found: Difference) -> int | None:
    """Return how many seeds tell a difference of that size, where those that ran cannot."""
    if not found.is_unclear or not found.mean:
        return None
    return seeds_needed(found.deviation, abs(found.mean), paired=found.kind == PAIRED)


def cell(row: dict[str, Any]) -> str:
    """Return a difference as a cell: '-0.31 [-0.62, 0.00] ≈'."""
    found, figure = row[FOUND], headline_of_row(row)
    mean = written_difference(figure, found.mean)
    if found.kind == NONE:
        return f"{mean} [one seed]"
    low, high = (written_difference(figure, end) for end in (found.low, found.high))
    return f"{mean} [{low}, {high}]{UNCLEAR * found.is_unclear}"


def notes(rows: pd.DataFrame) -> list[str]:
    """Return sentences on the differences: what the intervals are, and what seeds cannot tell."""
    if FOUND not in rows or not any(isinstance(one, Difference) for one in rows[FOUND]):
        return []
    known = [one for one in rows[FOUND] if isinstance(one, Difference) and one.mean == one.mean]
    how, other = _how(known, _left_out(rows)), rows[SETTING].iloc[0]
    what = f"Δ: difference from {other}, with its {INTERVAL}{how}; ≈: it contains 0"
    if "method" in rows:
        what = (
            f"≈: the {INTERVAL} of the difference from {other} at the same density contains 0{how}"
        )
    return [what, *_told(rows, known), *[EACH] * (len(known) > 1)]


def _left_out(rows: pd.DataFrame) -> str:
    """Return which seeds are in no pair, though the rows are compared in pairs."""
    words = []
    keys = [key for key in rows.columns[: rows.columns.get_loc(MEAN)] if key in SETTINGS]
    keys = [key for key in keys if rows[key].astype(str).nunique() > 1]
    for row in rows.to_dict("records"):
        if isinstance(found := row[FOUND], Difference):
            own = row.get("method") or _as_conditions(row, keys)
            for seeds, name in zip(found.left_out, (own, row[SETTING]), strict=True):
                words.append(seeds_in_words(seeds, name))
    some = _some([*dict.fromkeys(filter(None, words))])
    return f"; {some} left out" if some else ""


def _how(known: Sequence[Difference], left_out: str) -> str:
    """Return how the intervals were computed: ', paired by seed (3 pairs)'."""
    pairs = [one.pairs for one in known if one.kind == PAIRED]
    words = ""
    if pairs:
        least, most = min(pairs), max(pairs)
        count = f"{least}" if least == most else f"{least} to {most}"
        words += f", paired by seed ({count} pairs{left_out})"
    if apart := sum(one.kind == WELCH for one in known):
        words += (
            f", {'all' if apart == len(known) else apart} by Welch's t, as half of the seeds or "
            "fewer are shared"
        )
    if single := sum(one.kind == NONE for one in known):
        words += f", none for {'all' if single == len(known) else single} of one seed"
    return words


def _told(rows: pd.DataFrame, known: Sequence[Difference]) -> list[str]:
    """Return how many differences seeds cannot tell, and what a middling one of them needs."""
    intervals = [one for one in known if one.kind != NONE]
    unclear = [one for one in intervals if one.is_unclear]
    if not unclear:
        return ["seeds can tell every difference that has an interval"] * bool(intervals)
    words = f"seeds cannot tell {len(unclear)} of {quantity(len(intervals), 'difference')}"
    needed = rows["seeds_needed"].dropna().astype(float).sort_values()
    if len(needed):
        middle = rows.loc[needed.index[(len(needed) - 1) // 2]].to_dict()
        size = written_size(headline_of_row(middle), abs(middle[MEAN]))
        seeds = int(middle["seeds_needed"])
        many = f"{seeds:,}" if seeds <= MANY else f"more than {MANY:,}"
        words += (
            f"; to tell one of {size}, {many} seeds a setting are needed (power {100 * POWER:g} %)"
        )
    return [words]
