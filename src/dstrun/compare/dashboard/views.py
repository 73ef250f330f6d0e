"""What the dashboard shows under its table: figures of some runs, one run's page, or what two runs
differ in.

Functions from tables to Dash components, which show text as text. Knows store, compare, drawing,
views and report (for its table)."""

from collections.abc import Iterator, Sequence

import pandas as pd
from dash import dcc, html

from dstrun.compare import aggregate
from dstrun.compare.figures import catalogue, panels
from dstrun.compare.report import report
from dstrun.compare.run_tables import HOW_TO_GET_SOME, SHOWN, Store
from dstrun.runs import labels

LOG_LINES = 300
SOON = "Figures appear with the first one."
MEANS = 15  # rows of means; a cell takes the browser a millisecond


def subjects(
    view: str, some: list[str], run: str | None, one: str | None, other: str | None
) -> list[str]:
    """The names of the runs that a view is about: some of the table's, the chosen one, or two."""
    if view == "run":
        return [run] if run else some[:1]
    if view == "diff":
        return list(dict.fromkeys([*filter(None, (one, other)), *some]))[:2]
    return some


def content(
    store: Store, runs: pd.DataFrame, view: str, names: Sequence[str], dark: bool
) -> Iterator:
    """What a view shows of the named runs, part by part."""
    if runs.empty:
        then = f"In another terminal, {HOW_TO_GET_SOME}; they appear here as they start."
        yield _hint("There is no run here yet.", then)
        return
    some = runs.loc[[name for name in names if name in runs.index]]
    if view in ("run", "diff"):
        yield from _one_run(store, some, dark) if view == "run" else _two_runs(store, some)
        return
    if some.empty or not some["epoch"].notna().any():
        nothing = ("No run meets the conditions.", "Take some away to see runs.")
        yield _hint(
            *nothing if some.empty else ("None of these runs has finished an epoch yet.", SOON)
        )
        return
    shown = {
        "overview": lambda: catalogue.overview(some),
        "layers": lambda: catalogue.layers(store, some),
        "curves": lambda: catalogue.curves(store, some),
    }[view]()
    sections = (_section(one, dark) for one in shown)
    yield next(sections)
    if view == "overview":
        yield _means(some, runs)
    yield from sections


def _means(some: pd.DataFrame, runs: pd.DataFrame) -> html.Section:
    """The report's table: means over seeds."""
    every = aggregate.by_setting(some, among=runs)
    settings = every.head(MEANS)
    head, *rows = report.lines(settings, report.columns(settings))
    body = [
        html.Tr([html.Td(cell) for cell in row], className="best" if best else "")
        for row, best in zip(rows, report.on_front(every), strict=False)
    ]
    table = html.Table([html.Thead(html.Tr([html.Th(word) for word in head])), html.Tbody(body)])
    words = (
        f"Mean ± standard deviation over the finished runs of a setting. Bold: {aggregate.FRONT}."
    )
    more = (
        f" The first {MEANS} of {len(every)} settings; `dstrun report` has all."
        if len(every) > MEANS
        else ""
    )
    caption = html.P(words + more)
    return html.Section(
        [html.H2("Means over seeds"), caption, html.Div(table, className="wide")], key="means"
    )


def counted(ticked: int, shown: int, all_: int) -> html.P:
    """Whose figures these are."""
    table = f"{labels.counted(shown, 'run')} of the table" + (
        f", of {all_}" if shown != all_ else ""
    )
    words = (
        f"Of the {labels.counted(ticked, 'ticked run')}."
        if ticked
        else f"Of {table}; tick some to see those alone."
    )
    return html.P(words, className="counted")


def trouble(error: str) -> list:
    """What stands where a view could not be drawn."""
    return [
        _hint(
            "This view cannot be drawn.", f"{error}; the terminal of `dstrun dashboard` says where."
        )
    ]


def _hint(first: str, then: str) -> html.Div:
    return html.Div([html.P(html.Strong(first)), html.P(then)], className="hint")


def _section(view: catalogue.View, dark: bool) -> html.Section:
    layout = view.figure["layout"] | {"template": panels.template(dark), "uirevision": view.title}
    figure = view.figure | {"layout": layout}
    graph = dcc.Graph(
        id={"figure": view.title},
        figure=figure,
        config={"displaylogo": False},
        responsive=True,
        style={"height": f"{layout['height']}px"},
    )
    return html.Section([html.H2(view.title), html.P(view.caption), graph], key=view.title)


def _one_run(store: Store, row: pd.DataFrame, dark: bool) -> list:
    """A run's page: how it stands, its layers and curves, config, status and the end of its log."""
    run = store.run(row["run"].iloc[0]) if len(row) else None
    if run is None:
        return [_hint("No run is chosen.", "Choose one above, or click its name in the table.")]
    words = [
        *row["hover"].iloc[0][1:],
        *([f"error: {run.row['error']}"] if run.row["error"] else []),
        *run.notes,
    ]
    figures = [
        *catalogue.one_run(store, row),
        *(catalogue.curves(store, row) if row["epoch"].notna().any() else []),
    ]
    log = "\n".join(run.text("train.log").splitlines()[-LOG_LINES:])
    return [
        html.H2(run.name),
        html.Ul([html.Li(word) for word in words]),
        *([] if figures else [_hint("This run has not finished an epoch yet.", SOON)]),
        *(_section(one, dark) for one in figures),
        html.Details(
            [html.Summary("end of train.log"), html.Pre(log or "nothing there yet")], open=True
        ),
        *(
            html.Details([html.Summary(name), html.Pre(run.text(name))])
            for name in ("config.yaml", "status.json")
        ),
    ]


def _two_runs(store: Store, runs: pd.DataFrame) -> list:
    """What two runs differ in: settings, what they ran on, and their figures."""
    if len(runs) < 2:
        return [_hint("This compares two runs.", "Tick two in the table, or choose them above.")]
    pair = list(runs["run"])
    first, second = (_facts(store, runs.loc[name]) for name in pair)
    keys = [key for key in first if first[key] != second[key]]
    body = [
        html.Tr(
            [
                html.Th(aggregate.shown(key) if key in SHOWN else key),
                html.Td(first[key]),
                html.Td(second[key]),
            ]
        )
        for key in keys
    ]
    head = html.Tr([html.Th(""), *(html.Th(name) for name in pair)])
    same = sum(key in SHOWN for key in first) - sum(key in SHOWN for key in keys)
    return [
        html.H2("What two runs differ in"),
        html.P(f"The same in both: {labels.counted(same, 'setting')}."),
        html.Table([html.Thead(head), html.Tbody(body)]),
    ]


def _facts(store: Store, row: pd.Series) -> dict[str, str]:
    """Everything there is to compare of a run, as words."""
    facts = {key: aggregate.value_shown(row[key], key) for key in SHOWN}
    facts |= {key: aggregate.value_shown(row[key]) for key in ("state", "device_name", "epoch")}
    status = store.status(row["run"])
    versions = status.get("versions")
    facts["git commit"] = str(status.get("git_commit") or "")
    facts["versions"] = (
        ", ".join(f"{key} {value}" for key, value in versions.items())
        if isinstance(versions, dict)
        else ""
    )
    words = {
        "test_accuracy": "accuracy",
        "density": "remaining",
        "density_model": "remaining of the whole model",
    }
    for key, word in (words | {"flops_fraction": "multiply-adds"}).items():
        told = pd.notna(row[key]) and (key != "density_model" or aggregate.partly_masked(row))
        facts[word] = f"{row[key]:.2%}" if told else ""
    facts["created"] = str(row["created"] or "")
    return facts
