"""View of two groups of runs: at each density, is their difference more than seeds.

A group is a line of `methods.lines_of_methods`, or a folder of runs. Two folders are compared
method by method.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
from dash import html

from dstrun.compare import statistics
from dstrun.compare.aggregate import by_setting
from dstrun.compare.dashboard.parts import hint, section, table_section
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.differences import differences
from dstrun.compare.figures.view import Source, View
from dstrun.compare.headlines import headline_of, written, written_difference
from dstrun.compare.labels import DENSE, DENSITIES, is_dense
from dstrun.compare.methods import lines_of_methods
from dstrun.compare.statistics import seeds_in_words
from dstrun.runs.labels import NAMES, option_label
from dstrun.runs.tasks import Figure

ASKED = DENSITIES[0]
LINE = "line"  # column of what is compared in two folders: '', or the line of a method
SETTINGS = ["settings", "other_settings"]
CAPTION = (
    "Mean of {first} minus that of {other}, with its 95 % confidence interval by Student's t: of "
    "pairs of runs that share a seed, or Welch's where not more than half of either group's seeds "
    "are shared. Open: the interval contains 0, so that these seeds cannot tell the two apart."
)
Look = tuple[bool, bool, str]  # as `parts.section` takes it
Group = Mapping[str, Sequence[str]]  # names of runs by line, '' if they are of one


def groups(runs: pd.DataFrame) -> dict[str, Group]:
    """Return what can be compared, by its name: lines of methods, then folders if there are two."""
    done = runs[runs["epoch"].notna()]
    found: dict[str, Group] = {name: {"": names} for name, names in _lines(done).items()}
    if done["group"].nunique() > 1:
        for folder, some in done.groupby("group", sort=False):
            found[f"folder {folder}"] = _lines(some)
    return found


def _lines(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the names of runs by line of a method, over all models and data."""
    found: dict[str, list[str]] = {}
    if runs.empty:
        return found
    for _, settings in by_setting(runs).groupby([*NAMES], sort=False, dropna=False):
        for line, rows in lines_of_methods(settings):
            found.setdefault(line, []).extend(name for names in rows["names"] for name in names)
    return found


def first_two(names: Sequence[str], chosen: Sequence[str | None]) -> list[str]:
    """Return the chosen groups, others in the place of those that are not there, dense ones last.

    One or none if there are no more.
    """
    rest = [name for name in names if name not in chosen]
    rest.sort(key=lambda name: name.startswith(DENSE))
    found = []
    for name in chosen:
        if name in names:
            found.append(str(name))
        elif rest:
            found.append(rest.pop(0))
    return found


def compare(every: Mapping[str, Group], runs: pd.DataFrame, first: str, other: str) -> pd.DataFrame:
    """Return the differences of two groups: those of `statistics.by_density`, line by line.

    Of folders without a line in common every line is compared with every line. With the column
    `line`, the name of one or both.
    """
    one, two = every[first], every[other]
    pairs = [(line, line) for line in one if line in two] or [*product(one, two)]
    tables = []
    for line, other_line in pairs:
        masks = [runs["run"].isin(some) for some in (one[line], two[other_line])]
        name = line if line == other_line else " minus ".join(filter(None, (line, other_line)))
        tables.append(statistics.by_density(runs, *masks).assign(**{LINE: name}))
    return pd.concat(tables, ignore_index=True)


def without_partner(every: Mapping[str, Group], first: str, other: str) -> list[str]:
    """Return the lines of either group that the other one lacks, where they have some in common."""
    one, two = every[first], every[other]
    if not {*one} & {*two}:
        return []
    pairs = ((one, two, first), (two, one, other))
    return [f"{line} of {name}" for own, rest, name in pairs for line in own if line not in rest]


def _names(group: Group) -> list[str]:
    """Return the names of all runs of a group."""
    return [name for names in group.values() for name in names]


def content(
    source: Source, every: Mapping[str, Group], chosen: Sequence[str | None], look: Look
) -> Iterator:
    """Yield the view of two groups among the source's runs; `look` is how figures look."""
    two = first_two(list(every), chosen)
    if len(two) < 2:
        yield hint("There is only one group here.", "Two methods, or two settings, make two.")
        return
    first, other = two
    found = compare(every, source.runs, first, other)
    single = found[SETTINGS].max(axis=1) == 1
    alone, several = without_partner(every, first, other), _places(found)[~single]
    if alone:
        yield hint(f"Not compared: {'; '.join(alone)}.", "The other folder has no such runs.")
    if len(several):
        yield hint(
            f"Not compared: {'; '.join(several)}, where runs of one group differ in more than the "
            "seed.",
            "Filter the table by the option in which they differ.",
        )
    found = found[single]
    if found.empty:
        yield hint(
            f"{first} and {other} have no finished runs of one density or α to compare.",
            "Choose others above, or show more runs in the table.",
        )
        return
    for figure, some in _by_headline(found, source.runs):
        title = f"{figure.title.capitalize()}: {first} minus {other}"
        drawn = differences(some, list(_places(some)), figure)
        caption = CAPTION.format(first=first, other=other)
        yield section(View("differences", title, caption, drawn), *look)
        yield _table(some, figure, first, other)
    yield from _layers(source, found, [every[name] for name in two], look)


def _by_headline(found: pd.DataFrame, runs: pd.DataFrame) -> Iterator[tuple[Figure, pd.DataFrame]]:
    """Yield each headline and the rows that are differences of it, which have one unit."""
    of_networks = {names: headline_of(some) for names, some in runs.groupby([*NAMES], sort=False)}
    places = zip(*(found[name] for name in NAMES), strict=True)
    headlines = [of_networks[place] for place in places]
    for figure in dict.fromkeys(headlines):
        yield figure, found[[one == figure for one in headlines]]


def _places(found: pd.DataFrame) -> pd.Series:
    """Return what each row is of in words: model, data, line, density or α."""
    keys = [key for key in (*NAMES, LINE) if found[key].nunique() > 1]
    places = []
    for row in found.to_dict("records"):
        words = [str(row[key]) for key in keys]
        density, alpha = (row[key] for key in statistics.PLACE)
        none = option_label("reg.alpha", alpha) if alpha == alpha else "all"
        places.append(" ".join([*words, f"{100 * density:g} %" if density == density else none]))
    return pd.Series(places, found.index, dtype=object)


def _table(found: pd.DataFrame, figure: Figure, first: str, other: str) -> html.Section:
    """Return the differences of one figure as a table."""
    unit = " %" if figure.is_share else f", {figure.title}"
    names = [f"{name}{unit}" for name in (first, other)]
    lines = [["at", *names, "difference", "95 % interval", "told apart", "by"]]
    for place, row in zip(_places(found), found.to_dict("records"), strict=True):
        ends = [written_difference(figure, row[end]) for end in ("low", "high")]
        verdict = "yes" if row["is_clear"] else "no: within seeds"
        has_interval = row["kind"] != statistics.NONE
        lines.append(
            [
                place,
                written(figure, row["mean"], row["mean_std"]),
                written(figure, row["other_mean"], row["other_mean_std"]),
                written_difference(figure, row["difference"]),
                " to ".join(ends) if has_interval else "",
                verdict if has_interval else "unknown: one seed",
                _how(row, first, other),
            ]
        )
    bold = [(number, 5) for number, clear in enumerate(found["is_clear"], start=1) if clear]
    words = "Means ± standard deviations over all finished runs of a group."
    return table_section(f"In figures: {figure.title}", words, lines, bold)


def _how(row: Mapping[str, Any], first: str, other: str) -> str:
    """Return how a row is compared: 'paired by seed (3 pairs; seed 7 of rigl left out)'."""
    if not row["pairs"]:
        counts = f"{row['count']} and {row['other_count']} seeds"
        return counts if row["kind"] == statistics.NONE else f"Welch ({counts})"
    names = zip(row["left_out"], (first, other), strict=True)
    left_out = ", ".join(filter(None, (seeds_in_words(seeds, name) for seeds, name in names)))
    rest = f"; {left_out} left out" if left_out else ""
    return f"paired by seed ({row['pairs']} pairs{rest})"


def _layers(source: Source, found: pd.DataFrame, two: Sequence[Group], look: Look) -> Iterator:
    """Yield figures of layers and masks of both groups, at the lowest density that both have."""
    runs = source.runs[source.runs["run"].isin([*_names(two[0]), *_names(two[1])])]
    lowest = found.groupby([*NAMES], sort=False)[ASKED].min()
    places = zip(runs["model.name"], runs["data.name"], strict=True)
    asked = pd.Series([lowest.get(place) for place in places], runs.index, dtype=float)
    some = runs[(runs[ASKED].astype(float) == asked) | is_dense(runs) | asked.isna()]
    for name in ("layers-final", "overlap"):
        for view in catalogue.FIGURES[name].make(source.of(some)):
            yield section(view, *look)
