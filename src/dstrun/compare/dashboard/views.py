"""The dashboard's views: figures of some runs, the page of one run, the differences of two.

Functions from tables to Dash components, which show text as text.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from dash import html

from dstrun.compare.aggregate import FRONT, by_setting
from dstrun.compare.dashboard import groups
from dstrun.compare.dashboard.difference import differing_facts, facts_of
from dstrun.compare.dashboard.groups import Group
from dstrun.compare.dashboard.parts import hint, section, table_section
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.view import Source
from dstrun.compare.report import method_table, table
from dstrun.compare.run_reader import SHOWN_OPTIONS, Run
from dstrun.compare.run_tables import HOW_TO_GET_SOME
from dstrun.runs.labels import column_label, quantity
from dstrun.system.run_files import CONFIG_FILE, LOG_FILE, STATUS_FILE

LOG_LINES = 300
SOON = "Figures appear with the first one."
MEANS = 15  # rows of means; each cell costs the browser a millisecond


class Shown(NamedTuple):
    """What a page shows: a view, its runs by name, and how it looks.

    `groups` are the two chosen ones, None for one that is not; `drag` is what dragging does in a
    figure of marks, as plotly calls it.
    """

    view: str
    names: Sequence[str]
    dark: bool = False
    narrow: bool = False
    groups: Sequence[str | None] = (None, None)
    drag: str = "zoom"

    @property
    def look(self) -> tuple[bool, bool, str]:
        """Theme, width and drag mode of figures."""
        return self.dark, self.narrow, self.drag


def runs_in_view(view: str, some: list[str], picked: Mapping[str, str | None]) -> list[str]:
    """Return the names of the runs in a view: those of the table, the chosen one, or the two."""
    if view == "run":
        return [picked["run"]] if picked["run"] else some[:1]
    if view == "diff":
        two = filter(None, (picked["one"], picked["other"]))
        return list(dict.fromkeys([*two, *some]))[:2]
    return some


def content(every: Source, shown: Shown, groups_of_all: Mapping[str, Group]) -> Iterator:
    """Yield the parts of a view, from all labelled runs and the groups of them."""
    runs = every.runs
    if runs.empty:
        then = f"In another terminal, {HOW_TO_GET_SOME}; they appear here as they start."
        yield hint("There is no run here yet.", then)
        return
    some = runs.loc[[name for name in shown.names if name in runs.index]]
    source = every.of(some)
    if shown.view in ("run", "diff") and (lost := set(shown.names) - set(some.index)):
        yield hint(f"No run here is called {' or '.join(sorted(lost))}.", "Choose one above.")
        return
    if shown.view == "run":
        yield from _one_run(source, shown)
    elif shown.view == "diff":
        yield from _two_runs(source)
    elif some.empty:
        yield hint("No run meets the conditions.", "Remove some of them to see runs.")
    elif not some["epoch"].notna().any():
        yield hint("None of these runs has finished an epoch yet.", SOON)
    elif shown.view == "groups":
        yield from groups.content(source, groups_of_all, shown.groups, shown.look)
    else:
        yield from _figures(source, runs, shown)


def _figures(source: Source, runs: pd.DataFrame, shown: Shown) -> Iterator[html.Section]:
    """Yield the figures of some runs; in the overview the tables of means after the first."""
    if shown.view == "overview":
        figures = catalogue.overview(source)
        yield section(next(figures), *shown.look)
        settings = by_setting(source.runs, among=runs)
        yield _means(settings)
        yield from _methods(settings)
    elif shown.view == "layers":
        figures = catalogue.layers(source)
    else:
        figures = catalogue.curves(source)
    for figure in figures:
        yield section(figure, *shown.look)


def _methods(settings: pd.DataFrame) -> Iterator[html.Section]:
    """Yield the report's tables of accuracies by method and density."""
    for network, accuracies in method_table.tables(settings):
        lines, best = method_table.lines("method", accuracies)
        words = f"Bold: {method_table.BEST}. {method_table.NEXT}."
        yield table_section(method_table.title(network, accuracies), words, lines, best)


def _means(settings: pd.DataFrame) -> html.Section:
    """Return the report's table of means over seeds, its first rows."""
    first = settings.head(MEANS)
    lines = table.lines(first, table.columns(first))
    best = []
    for row, is_best in enumerate(table.is_on_front(settings)[:MEANS], start=1):
        best += [(row, column) for column in range(len(lines[0])) if is_best]
    words = f"Mean ± standard deviation over the finished runs of a setting. Bold: {FRONT}."
    if len(settings) > MEANS:
        words += f" The first {MEANS} of {len(settings)} settings; `dstrun report` has all."
    return table_section("Means over seeds", words, lines, best)


def subject(ticked: int, filtered: int, total: int) -> html.P:
    """Return the line that says which runs the figures show.

    The arguments are the numbers of ticked runs, of filtered ones and of all.
    """
    runs = f"{quantity(filtered, 'run')} of the table"
    if filtered != total:
        runs += f", of {total}"
    if not ticked:
        return html.P(f"Of {runs}; tick some to see those alone.", className="counted")
    button = html.Button("Untick all", id="untick")
    return html.P([f"Of the {quantity(ticked, 'ticked run')}. ", button], className="counted")


def failure(error: str) -> html.Div:
    """Return the message of a view that an error prevents."""
    where = f"{error}; the terminal of `dstrun dashboard` says where."
    return hint("This view cannot be drawn.", where)


def _one_run(source: Source, shown: Shown) -> Iterator:
    """Yield the page of a run: its state, figures, the end of its log, its config and status."""
    row = source.runs
    run = source.store.run(row["run"].iloc[0]) if len(row) else None
    if run is None:
        yield hint("No run is chosen.", "Choose one above, or click its name in the table.")
        return
    yield html.H2(run.name)
    yield html.Ul(list(map(html.Li, _words(run, row["hover"].iloc[0]))))
    figures = list(catalogue.one_run(source))
    if row["epoch"].notna().any():
        figures += catalogue.curves(source)
    if not figures:
        yield hint("This run has not finished an epoch yet.", SOON)
    for figure in figures:
        yield section(figure, *shown.look)
    log = "\n".join(run.text(LOG_FILE).splitlines()[-LOG_LINES:]) or "nothing there yet"
    yield html.Details([html.Summary(f"end of {LOG_FILE}"), html.Pre(log)], open=True)
    for name in (CONFIG_FILE, STATUS_FILE):
        yield html.Details([html.Summary(name), html.Pre(run.text(name))])


def _words(run: Run, hover: Sequence[str]) -> list[str]:
    """Return label and figures of a run, its error, and what could not be read of it."""
    error = [f"error: {run.row['error']}"] if run.row["error"] else []
    return [*hover[1:], *error, *run.notes]


def _two_runs(source: Source) -> Iterator:
    """Yield the table of what differs between two runs: options, environment and figures."""
    runs, store = source.runs, source.store
    if len(runs) < 2:
        yield hint("This compares two runs.", "Tick two in the table, or choose them above.")
        return
    first, second = (facts_of(runs.loc[name], store.status(name)) for name in runs["run"])
    keys = differing_facts(first, second)
    lines = [["", *runs["run"]]]
    for key in keys:
        lines.append([column_label(key) if key in SHOWN_OPTIONS else key, first[key], second[key]])
    same = len(SHOWN_OPTIONS) - sum(key in SHOWN_OPTIONS for key in keys)
    words = f"The same in both: {quantity(same, 'setting')}."
    heads = [(row, 0) for row in range(1, len(lines))]
    yield table_section("What two runs differ in", words, lines, heads, has_words=True)
