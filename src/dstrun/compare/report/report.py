"""dstrun report: what runs came to, as a table for the terminal, CSV, Markdown, or a page with the
figures.

A row is a setting: mean ± standard deviation over its finished runs, in percent as people say it;
CSV has fractions. Knows compare, store, console (for durations), errors and tracking (CSV), and for
the page views and page."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dstrun.compare import aggregate
from dstrun.compare.run_tables import HOW_TO_GET_SOME, Store
from dstrun.runs.labels import counted
from dstrun.system.errors import InputError, printable
from dstrun.system.files import csv_text
from dstrun.system.streams import legible, write_utf8_to_files
from dstrun.system.terminal import duration, print_whole

NOTES = 5  # so many of the things that could not be read are told
NAMES = (
    "group",
    "model.name",
    "data.name",
    "reg.method",
)  # columns of words, shown where they differ
FIGURES = {
    "validation": "validation %",
    "accuracy": "accuracy %",
    "density": "remaining %",
    "density_model": "whole model %",
    "difference": "Δ dense",
    "flops": "multiply-adds %",
}


def report(given: Namespace) -> None:
    """What `arguments.report` asks for. InputError where nothing can be shown."""
    if given.csv or given.markdown:
        write_utf8_to_files()
    store = Store(given.paths)
    if store.runs.empty:
        where = " ".join(map(str, given.paths))
        raise InputError(f"{where}: no runs there; {HOW_TO_GET_SOME}")
    runs = aggregate.where(aggregate.labelled(store.runs), given.filter)
    if runs.empty:
        raise InputError(
            f"filter: none of {counted(len(store.runs), 'run')} meets {given.filter!r}"
        )
    if given.layers:
        _layers(store, runs, given)
    else:
        _settings(store, runs, given)
    _tell(store.notes)


def _settings(store: Store, runs: pd.DataFrame, given: Namespace) -> None:
    """A row a setting, or a run, and the page."""
    where = " ".join(map(str, given.paths))
    rows = aggregate.by_setting(runs, ["seed", "state"] if given.runs else [], among=store.runs)
    if given.paper:
        rows = aggregate.with_published(rows)
        _tell_unpublished(runs)
    rows = aggregate.ordered(rows, given.sort) if given.sort else rows
    if given.csv:
        sys.stdout.write(csv(rows))
    elif given.markdown:
        print(markdown(rows))
    else:
        show(title(where, runs), rows)
    if given.html:
        _write_page(given.html, where, store, runs, rows)


def _tell_unpublished(runs: pd.DataFrame) -> None:
    """Which of the networks the paper says nothing of."""
    for pair in dict.fromkeys(zip(runs["model.name"], runs["data.name"], strict=True)):
        if aggregate.published([pair]).empty:
            print(
                f"dstrun: paper: it has no {printable(pair[0])} on {printable(pair[1])}",
                file=sys.stderr,
            )


def _tell(notes: dict[str, list[str]]) -> None:
    """What could not be read, to those who look for it in the table."""
    told = [f"{run}: {note}" for run, some in notes.items() for note in some]
    for line in told[:NOTES]:
        print(f"dstrun: {printable(line)}", file=sys.stderr)
    if len(told) > NOTES:
        print(f"dstrun: and {len(told) - NOTES} more of that kind", file=sys.stderr)


def _layers(store: Store, runs: pd.DataFrame, given: Namespace) -> None:
    """What every layer keeps at the end: a table for each model and data, and how alike settings
    are."""
    if any((given.runs, given.paper, given.sort, given.html)):
        raise InputError("layers: expected alone, or with --filter, --csv or --markdown")
    done = aggregate.finished(runs)
    if done.empty:
        raise InputError(f"layers: none of {counted(len(runs), 'run')} has done an epoch")
    tables = {
        f"{model} on {data}": aggregate.by_layer(
            store.layers(some["run"]), aggregate.labelled(some)
        )
        for (model, data), some in done.groupby(["model.name", "data.name"], sort=False)
    }
    if given.csv:
        table = pd.concat([rows.assign(network=name) for name, rows in tables.items()]).drop(
            columns="series"
        )
        sys.stdout.write(
            csv_text(
                [list(table), *table.astype(object).where(table.notna(), None).to_numpy().tolist()]
            )
        )
        return
    for name, rows in tables.items():
        print("" if name == next(iter(tables)) else "\n", end="")
        head, *body = ([printable(cell) for cell in line] for line in _by_layer(name, rows))
        if given.markdown:
            print(markdown_table([[_plain(cell) for cell in line] for line in (head, *body)]))
        else:
            _show_layers([head, *body])
        if alike := aggregate.agreement(rows):
            print(f"\n{alike}" if given.markdown else alike)


def _show_layers(rows: list[list[str]]) -> None:
    """Print settings side by side, as many as a terminal has room for."""
    console = Console(highlight=False, soft_wrap=True)
    width, room = console.width, len(rows[0])
    while console.is_terminal and room > 2 and _width([row[:room] for row in rows]) > width:
        room -= 1
    table = _table(rows[0][:room], 1)
    for row in rows[1:]:
        table.add_row(*(Text(legible(cell)) for cell in row[:room]))
    print_whole(console, table)
    if less := len(rows[0]) - room:
        _tell_left_out(width, counted(less, "setting"))


def _by_layer(name: str, rows: pd.DataFrame) -> list[list[str]]:
    """A line a layer, the last of all together, and a column a setting."""
    settings = rows.drop_duplicates("series")
    cells = {(row.series, row.layer): percent(row.mean, row.std) for row in rows.itertuples()}
    names = [*filter(None, dict.fromkeys(rows["layer"])), ""]
    body = [
        [layer or "all", *(cells.get((at, layer), "") for at in settings["series"])]
        for layer in names
    ]
    return [[f"{name}, remaining %", *settings["setting_label"]], *body]


def title(where: str, runs: pd.DataFrame) -> str:
    """Whose runs these are, and how they stand."""
    pairs = runs[["model.name", "data.name"]].drop_duplicates()
    what = f", {pairs.iloc[0, 0]} on {pairs.iloc[0, 1]}" if len(pairs) == 1 else ""
    limits = sorted({*runs["data.train_limit"]}, key=lambda limit: (limit == 0, limit))
    some = f" ({_one_of(limits)} training image{'s' * (limits != [1])})" if any(limits) else ""
    counts = ", ".join(f"{count} {state}" for state, count in runs["state"].value_counts().items())
    return printable(f"{where}{what}{some}: {counted(len(runs), 'run')}, {counts}")


def _one_of(limits: Sequence[float]) -> str:
    """Return '300, 1,000 or all' for limits of which 0 is none."""
    *first, last = ("all" if limit == 0 else f"{limit:,.0f}" for limit in limits)
    return f"{', '.join(first)} or {last}" if first else last


def columns(rows: pd.DataFrame) -> list[str]:
    """What a table of settings shows: what differs among those of a model and data, then the
    figures."""
    settings = [key for key in rows.columns[: rows.columns.get_loc("setting")] if key not in NAMES]
    pairs = rows.groupby(["model.name", "data.name"], dropna=False)
    settings = [
        key
        for key in settings
        if key == "reg.alpha" or len(pairs) == 1 or (pairs[key].nunique() > 1).any()
    ]
    shown = [key for key in NAMES if rows[key].nunique() > 1] + [
        key for key in settings if rows[key].notna().any()
    ]
    counts = (
        []
        if "state" in shown
        else ["runs", *(word for word in ("running", "failed") if rows[word].any())]
    )
    known = rows[rows["flops"].notna()]
    once = np.allclose(known["flops"], known["density"], rtol=0)  # where every weight is used once
    optional = {"flops": not once, "density_model": aggregate.partly_masked(rows).any()} | {
        key: rows[key].notna().any() for key in ("validation", "difference")
    }
    figures = [key for key in FIGURES if optional.get(key, True)]
    return [*shown, *counts, *figures, "epochs", "seconds"]


def header(key: str) -> str:
    return (
        FIGURES.get(key) or {"seconds": "time", "epochs": "epoch"}.get(key) or aggregate.shown(key)
    )


def lines(rows: pd.DataFrame, keys: Sequence[str]) -> list[list[str]]:
    """The header and the rows of a table with those columns, as people read them."""
    body = [[printable(_cell(key, row)) for key in keys] for row in rows.to_dict("records")]
    masked = {"density": "masked layers %"} if "density_model" in keys else {}
    return [[masked.get(key) or header(key) for key in keys], *body]


def _cell(key: str, row: dict[str, Any]) -> str:
    value = row[key]
    if value is None or value != value or (key in ("running", "failed") and not value):
        return ""
    if key == "runs" and row["finished"] != value:
        return f"{row['finished']:.0f} of {value:.0f}"
    if key == "difference":
        return f"{100 * value:+.2f}"
    if key in FIGURES:
        return percent(value, row[f"{key}_std"])
    if key == "epochs":
        return f"{value:.0f}" if value == row["asked"] else f"{value:.0f} of {row['asked']:.0f}"
    return duration(value) if key == "seconds" else aggregate.value_shown(value, key)


def percent(mean: float, std: float | None) -> str:
    """Fractions as '97.91 ± 0.06'; without a spread where there is none."""
    return f"{100 * mean:.2f}" + (f" ± {100 * std:.2f}" if std is not None and std == std else "")


def on_front(rows: pd.DataFrame) -> list[bool]:
    """Which rows no other of the same model and data beats in both accuracy and density; the
    paper's do not count."""
    ours = rows[rows["finished"] > 0]
    on = pd.Series(False, index=rows.index)
    for _, some in ours.groupby(["model.name", "data.name"], dropna=False):
        on[some.index] = aggregate.front(some) & (len(some) > 1)
    return on.tolist()


def show(title: str, rows: pd.DataFrame) -> None:
    """Print the table; on a terminal that is too narrow, without what matters least; rows of the
    front stand out."""
    best, keys = on_front(rows), columns(rows)
    console = Console(highlight=False, soft_wrap=True)
    width, left_out = console.width, []
    while (
        console.is_terminal
        and _width(lines(rows, keys)) > width
        and (less := _less_important(keys))
    ):
        keys.remove(less)
        left_out.append(header(less))
    mark, accuracy = "" if console.is_terminal else "*", keys.index("accuracy")
    head, *body = lines(rows, keys)
    table = _table(head, sum(key in NAMES for key in keys))
    pairs = rows[["model.name", "data.name"]].agg(tuple, axis=1)
    blocks = pairs.ne(pairs.shift()).sum() == pairs.nunique()
    for at, words in enumerate(body):
        if at and blocks and pairs.iloc[at] != pairs.iloc[at - 1]:
            table.add_section()
        words[accuracy] += mark if best[at] else ""
        table.add_row(*(Text(legible(word)) for word in words), style="bold" if best[at] else "")
    console.print(Text(title))
    print_whole(console, table)
    if any(best):
        console.print(f"{mark or 'bold'}: {aggregate.FRONT}")
    if left_out:
        _tell_left_out(width, ", ".join(left_out))


def _tell_left_out(width: int, words: str) -> None:
    told = f"left out at {width} columns: {words}; --csv has all, or a wider terminal"
    Console(highlight=False, width=width).print(Text(told))


def _table(head: Sequence[str], words: int) -> Table:
    """An empty table, of which so many columns, the first, hold words and the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, word in enumerate(head):
        table.add_column(
            Text(legible(word)), justify="left" if at < words else "right", no_wrap=True
        )
    return table


def _width(lines: Sequence[Sequence[str]]) -> int:
    """How wide a table of those lines is."""
    return sum(max(map(cell_len, column)) + 3 for column in zip(*lines, strict=True))


def _less_important(keys: Sequence[str]) -> str | None:
    """The column that a narrow terminal can do without: settings from the last on, then figures;
    None for the rest."""
    settings = [key for key in keys if "." in key and key not in (*NAMES, "reg.alpha")]
    figures = [
        key
        for key in ("seconds", "epochs", "flops", "difference", "running", "failed", "runs")
        if key in keys
    ]
    return next(iter([*settings[::-1], *figures]), None)


def markdown(rows: pd.DataFrame) -> str:
    """The table in Markdown."""
    keys = columns(rows)
    head, *body = ([_plain(cell) for cell in line] for line in lines(rows, keys))
    at = keys.index("accuracy")
    for line, best in zip(body, on_front(rows), strict=True):
        line[at] = f"**{line[at]}**" if best else line[at]
    return markdown_table([head, *body])


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Of lines of cells, the head first."""
    head, *body = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))


def _plain(cell: str) -> str:
    """Without what Markdown would read as the end of a cell or as a tag."""
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def csv(rows: pd.DataFrame) -> str:
    """The table as CSV: fractions, seconds, and the means' standard deviations."""
    table = rows.drop(columns=["setting", "names"]).astype(object)
    return csv_text([list(table), *table.where(table.notna(), None).to_numpy().tolist()])


def _write_page(
    path: Path, where: str, store: Store, runs: pd.DataFrame, rows: pd.DataFrame
) -> None:
    from dstrun.compare.report.html_page import page

    table = lines(rows, columns(rows))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            page(title(where, runs), table, on_front(rows), store, runs),
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise InputError(f"html: {path}: {error.strerror}") from error
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
