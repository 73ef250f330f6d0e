"""`dstrun report`: results of runs as a table for the terminal, CSV, Markdown or a page of figures.

A row is a setting: mean ± standard deviation over its finished runs, in percent; CSV has
fractions.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dstrun.compare import against, aggregate, filters, overlap, paper
from dstrun.compare.labels import with_labels
from dstrun.compare.masks import Masks, ReadMasks
from dstrun.compare.reading import print_notes, read_runs
from dstrun.compare.report import layer_table, method_table, sheet, table, terminal
from dstrun.compare.report.sheet import Sheet
from dstrun.compare.report.table import frame_csv
from dstrun.compare.run_tables import Store
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError, printable
from dstrun.system.streams import write_utf8_to_files

if TYPE_CHECKING:
    from dstrun.compare.figures.view import Source

PAIRS = 60  # of runs whose overlap is printed
FEW_RUNS = 6  # with whose pairs, at most, matrices of their overlap are followed
TABLE, CSV, MARKDOWN, LATEX = "table", "csv", "markdown", "latex"
DOCUMENTS = {MARKDOWN: sheet.markdown, LATEX: sheet.latex}


def report_settings(
    paths: Sequence[Path],
    conditions: str = "",
    form: str = TABLE,
    *,
    sort: str | None = None,
    reference: str = "",
    each_run: bool = False,
    with_paper: bool = False,
    html: Path | None = None,
    read_masks: ReadMasks | None = None,
) -> None:
    """Print a row per setting of the runs below `paths` that meet the conditions.

    `form` is TABLE, CSV, MARKDOWN or LATEX; `sort` a column, with '-' before it from large to
    small; `reference` the setting to show differences from, see `against`. With `each_run`: a row
    per run. With `with_paper`: the paper's rows too. `html`: also write a page with table and
    figures there, and with those of masks if `read_masks` reads them from a run's folder. Raise
    InputError if there is nothing to show.
    """
    store, runs = _read(paths, conditions, form)
    where = " ".join(map(str, paths))
    more = ["seed", "state"] if each_run else []
    rows = aggregate.by_setting(runs, more, among=store.runs)
    if reference:
        rows = against.with_differences(rows, runs, reference)
    if with_paper:
        rows = paper.with_published(rows)
        _note_unpublished(runs)
    if sort:
        rows = filters.sort_by_word(rows, sort)
    title = table.title(where, runs)
    if form == CSV:
        sys.stdout.write(table.csv(rows))
    elif form == TABLE:
        terminal.print_settings(title, rows)
        _print_methods(method_table.tables(rows), form)
    else:
        print(DOCUMENTS[form](table.sheet(rows, title * (form == LATEX))))
    if html:
        from dstrun.compare.figures.view import Source

        _write_page(html, title, rows, Source(store, runs, read_masks))
    print_notes(store.notes)


def report_methods(
    paths: Sequence[Path], conditions: str = "", form: str = TABLE, *, reference: str = ""
) -> None:
    """Print accuracies by method and density asked for, a table for each model and data.

    The arguments are those of `report_settings`. Raise InputError if there is nothing to show.
    """
    store, runs = _read(paths, conditions, form)
    named = list(method_table.tables(aggregate.by_setting(runs, among=store.runs)))
    if not named:
        raise InputError("methods: expected runs of two methods or more, at two densities or more")
    if reference:
        beside = against.with_differences_at_each_density
        named = [(name, beside(cells, runs, reference, name)) for name, cells in named]
    if form == CSV:
        sys.stdout.write(method_table.csv(named))
    else:
        _print_methods(named, form)
    print_notes(store.notes)


def _print_methods(named: Iterable[tuple[str, pd.DataFrame]], form: str) -> None:
    """Print the tables of methods, if there are any."""
    sheets = [method_table.sheet(name, cells) for name, cells in named]
    _print_sheets(sheets, form, fold=0, least=2)


def _print_sheets(sheets: Sequence[Sheet], form: str, **on_terminal: Any) -> None:
    """Print tables in a form, with a line between two of a document."""
    for place, shown in enumerate(sheets):
        if form == TABLE:
            terminal.print_sheet(shown, **on_terminal)
        else:
            print("\n" * (place > 0) + DOCUMENTS[form](shown))


def report_layers(paths: Sequence[Path], conditions: str = "", form: str = TABLE) -> None:
    """Print the density of every layer at the end, a table for each model and data.

    A row is a layer, a column a setting. The arguments are those of `report_settings`. Raise
    InputError if there is nothing to show.
    """
    store, runs = _read(paths, conditions, form)
    done = aggregate.finished_runs(runs)
    if done.empty:
        raise InputError(f"layers: none of {quantity(len(runs), 'run')} has done an epoch")
    tables: dict[str, pd.DataFrame] = {}
    for (model, data), some in done.groupby(["model.name", "data.name"], sort=False):
        rows = aggregate.by_layer(store.layers(some["run"]), with_labels(some))
        tables[f"{model} on {data}"] = rows
    if form == CSV:
        sys.stdout.write(layer_table.csv(tables))
    else:
        sheets = [layer_table.sheet(name, rows) for name, rows in tables.items()]
        _print_sheets(sheets, form, least=2, noun="setting")
    print_notes(store.notes)


def report_overlap(
    paths: Sequence[Path],
    conditions: str,
    form: str,
    read_masks: ReadMasks,
) -> None:
    """Print how much the masks of each two runs overlap, and how much they would by chance.

    Of several methods a matrix of settings for each density, and the pairs only of a few runs.
    `read_masks` reads those of a run's folder. The other arguments are those of `report_settings`.
    Raise InputError for runs of several models, without masks or without a checkpoint.
    """
    store, runs = _read(paths, conditions, form)
    overlap.refuse_other_models(runs)
    read = {name: read_masks(Path(runs.loc[name, "folder"])) for name in runs.index}
    masks = {name: own for name, own in read.items() if own}
    if form == CSV:
        sys.stdout.write(frame_csv(overlap.overlap(masks)))
    elif not _print_matrices(masks, runs, form) or len(masks) <= FEW_RUNS:
        _print_overlap(overlap.lines(overlap.overlap(masks), runs["label"]), form)
    if dense := len(read) - len(masks):
        print(f"dstrun: overlap: {quantity(dense, 'run')} without masks left out", file=sys.stderr)
    print_notes(store.notes)


def _print_matrices(masks: Mapping[str, Masks], runs: pd.DataFrame, form: str) -> bool:
    """Print the matrices of overlap, and return whether there are any."""
    found = list(overlap.matrices(masks, runs))
    sheets = [Sheet(lines, title=title) for title, lines in found]
    _print_sheets(sheets, form, least=3, noun="setting")
    return bool(found)


def _print_overlap(lines: Sequence[Sequence[str]], form: str) -> None:
    """Print the first lines of a table of overlap, and how many more there are."""
    shown = lines[: 1 + PAIRS]
    _print_sheets([Sheet(shown, words=2)], form, least=4, noun="layer")
    if more := len(lines) - len(shown):
        note = f"{quantity(more, 'pair')} more; --filter chooses runs, --csv has all"
        print(f"dstrun: overlap: {note}", file=sys.stderr)


def _read(paths: Sequence[Path], conditions: str, form: str) -> tuple[Store, pd.DataFrame]:
    """Return the store, and its runs that meet the conditions, with labels."""
    if form != TABLE:
        write_utf8_to_files()
    return read_runs(paths, conditions)


def _note_unpublished(runs: pd.DataFrame) -> None:
    """Print a note for each model and data that the paper has no results of."""
    for model, data in dict.fromkeys(zip(runs["model.name"], runs["data.name"], strict=True)):
        if paper.published_rows([(model, data)]).empty:
            note = f"dstrun: paper: it has no {printable(model)} on {printable(data)}"
            print(note, file=sys.stderr)


def _write_page(path: Path, title: str, rows: pd.DataFrame, source: "Source") -> None:
    """Write the page of a report; raise InputError if it cannot be written."""
    from dstrun.compare.report.html_page import page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = page(title, rows, source)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"html: {path}: {error.strerror}") from error
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
