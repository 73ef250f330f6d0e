"""The dashboard's views: figures of some runs, the page of one run, the differences of two.

Functions from tables to Dash components, which show text as text.
"""

from collections.abc import Iterator, Sequence

import pandas as pd
from dash import dcc, html

from dstrun.compare.aggregate import FRONT, by_setting
from dstrun.compare.dashboard.difference import differing_facts, facts_of
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.style import template
from dstrun.compare.figures.view import Source, View
from dstrun.compare.report import method_table, table
from dstrun.compare.run_reader import SHOWN_OPTIONS, Run
from dstrun.compare.run_tables import HOW_TO_GET_SOME, Store
from dstrun.runs.labels import column_label, quantity
from dstrun.system.run_files import CONFIG_FILE, LOG_FILE, STATUS_FILE

LOG_LINES = 300
SOON = "Figures appear with the first one."
MEANS = 15  # rows of means; each cell costs the browser a millisecond


def runs_in_view(
    view: str, some: list[str], run: str | None, one: str | None, other: str | None
) -> list[str]:
    """Return the names of the runs in a view: those of the table, the chosen one, or the two."""
    if view == "run":
        return [run] if run else some[:1]
    if view == "diff":
        return list(dict.fromkeys([*filter(None, (one, other)), *some]))[:2]
    return some


def content(
    store: Store, runs: pd.DataFrame, view: str, names: Sequence[str], dark: bool
) -> Iterator:
    """Yield the parts of a view of the named runs, out of all labelled runs."""
    if runs.empty:
        then = f"In another terminal, {HOW_TO_GET_SOME}; they appear here as they start."
        yield _hint("There is no run here yet.", then)
        return
    some = runs.loc[[name for name in names if name in runs.index]]
    if view == "run":
        yield from _one_run(store, some, dark)
    elif view == "diff":
        yield from _two_runs(store, some)
    elif some.empty:
        yield _hint("No run meets the conditions.", "Remove some of them to see runs.")
    elif not some["epoch"].notna().any():
        yield _hint("None of these runs has finished an epoch yet.", SOON)
    else:
        yield from _figures(store, runs, view, some, dark)


def _figures(
    store: Store, runs: pd.DataFrame, view: str, some: pd.DataFrame, dark: bool
) -> Iterator[html.Section]:
    """Yield the figures of some runs; in the overview the table of means after the first."""
    source = Source(store, some)
    if view == "overview":
        figures = catalogue.overview(source)
        yield _section(next(figures), dark)
        yield _means(some, runs)
        yield from _methods(some, runs)
    elif view == "layers":
        figures = catalogue.layers(source)
    else:
        figures = catalogue.curves(source)
    for figure in figures:
        yield _section(figure, dark)


def _methods(some: pd.DataFrame, runs: pd.DataFrame) -> Iterator[html.Section]:
    """Yield the report's tables of accuracies by method and density."""
    for network, accuracies in method_table.tables(by_setting(some, among=runs)):
        (head, *lines), best = method_table.lines("method", accuracies)
        body = []
        for row, cells in enumerate(lines, start=1):
            kinds = [html.Th if (row, column) in best else html.Td for column in range(len(cells))]
            body.append(html.Tr([kind(cell) for kind, cell in zip(kinds, cells, strict=True)]))
        shown = html.Table([html.Thead(html.Tr(list(map(html.Th, head)))), html.Tbody(body)])
        title, words = method_table.title(network, accuracies), f"Bold: {method_table.BEST}."
        parts = [html.H2(title), html.P(words), html.Div(shown, className="wide")]
        yield html.Section(parts, key=title)


def _means(some: pd.DataFrame, runs: pd.DataFrame) -> html.Section:
    """Return the report's table of means over seeds, its first rows."""
    every = by_setting(some, among=runs)
    settings = every.head(MEANS)
    head, *lines = table.lines(settings, table.columns(settings))
    body = []
    for cells, best in zip(lines, table.is_on_front(every), strict=False):
        body.append(html.Tr(list(map(html.Td, cells)), className="best" if best else ""))
    means = html.Table([html.Thead(html.Tr(list(map(html.Th, head)))), html.Tbody(body)])
    words = f"Mean ± standard deviation over the finished runs of a setting. Bold: {FRONT}."
    if len(every) > MEANS:
        words += f" The first {MEANS} of {len(every)} settings; `dstrun report` has all."
    parts = [html.H2("Means over seeds"), html.P(words), html.Div(means, className="wide")]
    return html.Section(parts, key="means")


def subject(ticked: int, filtered: int, total: int) -> html.P:
    """Return the line that says which runs the figures show.

    The arguments are the numbers of ticked runs, of filtered ones and of all.
    """
    runs = f"{quantity(filtered, 'run')} of the table"
    if filtered != total:
        runs += f", of {total}"
    if ticked:
        words = f"Of the {quantity(ticked, 'ticked run')}."
    else:
        words = f"Of {runs}; tick some to see those alone."
    return html.P(words, className="counted")


def failure(error: str) -> html.Div:
    """Return the message of a view that an error prevents."""
    hint = f"{error}; the terminal of `dstrun dashboard` says where."
    return _hint("This view cannot be drawn.", hint)


def _hint(first: str, then: str) -> html.Div:
    """Return a message and what to do about it."""
    return html.Div([html.P(html.Strong(first)), html.P(then)], className="hint")


def _section(view: View, dark: bool) -> html.Section:
    """Return a figure with its title and caption."""
    layout = view.figure["layout"] | {"template": template(dark), "uirevision": view.title}
    graph = dcc.Graph(
        id={"figure": view.title},
        figure=view.figure | {"layout": layout},
        config={"displaylogo": False},
        responsive=True,
        style={"height": f"{layout['height']}px"},
    )
    return html.Section([html.H2(view.title), html.P(view.caption), graph], key=view.title)


def _one_run(store: Store, row: pd.DataFrame, dark: bool) -> Iterator:
    """Yield the page of a run: its state, figures, the end of its log, its config and status."""
    run = store.run(row["run"].iloc[0]) if len(row) else None
    if run is None:
        yield _hint("No run is chosen.", "Choose one above, or click its name in the table.")
        return
    yield html.H2(run.name)
    yield html.Ul(list(map(html.Li, _words(run, row["hover"].iloc[0]))))
    source = Source(store, row)
    figures = list(catalogue.one_run(source))
    if row["epoch"].notna().any():
        figures += catalogue.curves(source)
    if not figures:
        yield _hint("This run has not finished an epoch yet.", SOON)
    for figure in figures:
        yield _section(figure, dark)
    log = "\n".join(run.text(LOG_FILE).splitlines()[-LOG_LINES:]) or "nothing there yet"
    yield html.Details([html.Summary(f"end of {LOG_FILE}"), html.Pre(log)], open=True)
    for name in (CONFIG_FILE, STATUS_FILE):
        yield html.Details([html.Summary(name), html.Pre(run.text(name))])


def _words(run: Run, hover: Sequence[str]) -> list[str]:
    """Return label and figures of a run, its error, and what could not be read of it."""
    error = [f"error: {run.row['error']}"] if run.row["error"] else []
    return [*hover[1:], *error, *run.notes]


def _two_runs(store: Store, runs: pd.DataFrame) -> Iterator:
    """Yield the table of what differs between two runs: options, environment and figures."""
    if len(runs) < 2:
        yield _hint("This compares two runs.", "Tick two in the table, or choose them above.")
        return
    first, second = (facts_of(runs.loc[name], store.status(name)) for name in runs["run"])
    keys = differing_facts(first, second)
    body = []
    for key in keys:
        name = column_label(key) if key in SHOWN_OPTIONS else key
        body.append(html.Tr([html.Th(name), html.Td(first[key]), html.Td(second[key])]))
    head = html.Tr([html.Th(""), *map(html.Th, runs["run"])])
    same = len(SHOWN_OPTIONS) - sum(key in SHOWN_OPTIONS for key in keys)
    yield html.H2("What two runs differ in")
    yield html.P(f"The same in both: {quantity(same, 'setting')}.")
    yield html.Table([html.Thead(head), html.Tbody(body)])
