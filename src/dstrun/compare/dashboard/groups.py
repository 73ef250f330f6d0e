"""View of two groups of runs: at each density, is their difference more than seeds.

A group is a line of `methods.lines_of_methods`, or a folder of runs. Two folders are compared
method by method.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from dash import html

from dstrun.compare import statistics
from dstrun.compare.aggregate import by_setting
from dstrun.compare.dashboard.parts import hint, section, table_section
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.differences import differences
from dstrun.compare.figures.view import Source, View
from dstrun.compare.headlines import headline_of, headline_values, written, written_difference
from dstrun.compare.labels import DENSE, DENSITIES, is_dense
from dstrun.compare.methods import lines_of_methods
from dstrun.runs.labels import NAMES
from dstrun.runs.status import FINISHED

ASKED = DENSITIES[0]
LINE = "line"  # column of what is compared in two folders: '', or the line of a method
KINDS = {statistics.PAIRED: "paired by seed", statistics.WELCH: "Welch", statistics.NONE: "none"}
CAPTION = (
    "Mean of {first} minus that of {other}, with its 95 % confidence interval by Student's t: of "
    "pairs of runs that share a seed, or Welch's where fewer than two seeds are shared. Open: the "
    "interval contains 0, so that these seeds cannot tell the two apart."
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

    With the columns `line`, and mean and standard deviation of either group: mean, mean_std,
    other_mean, other_mean_std.
    """
    one, two = every[first], every[other]
    lines = [line for line in one if line in two]
    pairs = [(line, one[line], two[line]) for line in lines] or [("", _names(one), _names(two))]
    tables = []
    for line, names, other_names in pairs:
        masks = [runs["run"].isin(some) for some in (names, other_names)]
        table = statistics.by_density(runs, *masks)
        means = [_means(runs[mask], table) for mask in masks]
        tables.append(table.assign(line=line).join(means[0]).join(means[1].add_prefix("other_")))
    return pd.concat(tables, ignore_index=True)


def _names(group: Group) -> list[str]:
    """Return the names of all runs of a group."""
    return [name for names in group.values() for name in names]


def _means(runs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and deviation of the headline of finished runs at the place of each row."""
    found = []
    finished = runs[runs["state"] == FINISHED]
    for row in table.to_dict("records"):
        here = finished[(finished[[*NAMES]] == [row[name] for name in NAMES]).all(axis=1)]
        if not is_dense(here).all():
            asked, density = here[ASKED].astype(float), row[ASKED]
            here = here[asked.isna() if density != density else asked == density]
        values = headline_values(here)
        found.append({"mean": values.mean(), "mean_std": values.std()})
    return pd.DataFrame(found, index=table.index, columns=["mean", "mean_std"])


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
    if found.empty:
        yield hint(
            f"{first} and {other} have no finished runs of one density.",
            "Choose others above, or show more runs in the table.",
        )
        return
    figure = headline_of(source.runs)
    title = f"{figure.title.capitalize()}: {first} minus {other}"
    drawn = differences(found, _places(found), figure)
    yield section(
        View("differences", title, CAPTION.format(first=first, other=other), drawn), *look
    )
    yield _table(found, source.runs, first, other)
    yield from _layers(source, found, [every[name] for name in two], look)


def _places(found: pd.DataFrame) -> list[str]:
    """Return what each row is of in words: model, data, line and density where they differ."""
    keys = [key for key in (*NAMES, LINE) if found[key].nunique() > 1]
    places = []
    for row in found.to_dict("records"):
        words = [str(row[key]) for key in keys]
        density = row[ASKED]
        places.append(" ".join([*words, f"{100 * density:g} %" if density == density else "all"]))
    return places


def _table(found: pd.DataFrame, runs: pd.DataFrame, first: str, other: str) -> html.Section:
    """Return the differences as a table."""
    lines = [["density asked", first, other, "difference", "95 % interval", "told apart", "by"]]
    for place, row in zip(_places(found), found.to_dict("records"), strict=True):
        figure = headline_of(runs[runs["model.name"] == row["model.name"]])
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
                f"{KINDS[row['kind']]}, {_counts(row)}" if has_interval else _counts(row),
            ]
        )
    bold = [(number, 5) for number, clear in enumerate(found["is_clear"], start=1) if clear]
    words = "Means ± standard deviations over all finished runs of a group."
    return table_section("In figures", words, lines, bold)


def _counts(row: Mapping[str, object]) -> str:
    """Return how many seeds are compared."""
    one, two = row["count"], row["other_count"]
    return f"{row['pairs']} pairs" if row["pairs"] else f"{one} and {two} seeds"


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
