"""Table of settings in words: its title, columns, cells and rows on the Pareto front."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare import against
from dstrun.compare.aggregate import FRONT, PAIR, front
from dstrun.compare.headlines import (
    examples_of,
    examples_of_row,
    headline_of_row,
    written,
    written_difference,
)
from dstrun.compare.labels import (
    COMPARABLE,
    DENSITIES,
    EPOCHS,
    cell_text,
    has_several_values,
    is_partly_masked,
)
from dstrun.compare.report.sheet import Sheet
from dstrun.runs.labels import heading, option_label, quantity
from dstrun.runs.tasks import ACCURACY, BITS_PER_BYTE, PERPLEXITY
from dstrun.system.errors import printable
from dstrun.system.files import csv_text
from dstrun.system.terminal import duration

NAMES = ("group", "model.name", "data.name", "reg.method")  # shown if there are several
OF_TASKS = {  # figures of held-out data
    "validation": (ACCURACY, "validation %"),
    "accuracy": (ACCURACY, "accuracy %"),
    "validation_bits_per_byte": (BITS_PER_BYTE, "validation bits per byte"),
    "bits_per_byte": (BITS_PER_BYTE, "bits per byte"),
    "perplexity": (PERPLEXITY, "perplexity"),
}
FIGURES = {
    **{key: words for key, (_, words) in OF_TASKS.items()},
    "density": "remaining %",
    "density_model": "whole model %",
    "difference": "Δ dense",
    against.MEAN: "Δ",
    "flops": "multiply-adds %",
}
SETTINGS = "settings"  # the column of `with_settings`
HEADERS = FIGURES | dict.fromkeys(DENSITIES, "asked %") | {"seconds": "time", "epochs": "epoch"}
INTERNAL = ["setting", "names", "values", against.FOUND]  # columns that are not shown


def title(where: str, runs: pd.DataFrame) -> str:
    """Return one line on the runs: folder, model and data, and how many are in each state."""
    pairs = runs[["model.name", "data.name"]].drop_duplicates()
    what = f", {pairs.iloc[0, 0]} on {pairs.iloc[0, 1]}" if len(pairs) == 1 else ""
    counts = ", ".join(f"{count} {state}" for state, count in runs["state"].value_counts().items())
    return printable(f"{where}{what}{_images(runs)}: {quantity(len(runs), 'run')}, {counts}")


def _images(runs: pd.DataFrame) -> str:
    """Return ' (300, 1,000 or all training images)' for runs of limited data; '' for others.

    Of texts it is sequences; of both, 'training images or sequences'.
    """
    limits = sorted({*runs["data.train_limit"].dropna()}, key=lambda limit: (limit == 0, limit))
    if not any(limits):
        return ""
    *first, last = ("all" if limit == 0 else f"{limit:,.0f}" for limit in limits)
    words = f"{', '.join(first)} or {last}" if first else last
    texts = runs.loc[runs["data.builder"] == "text", "data.train_limit"]
    nouns = ["image"] * (len(texts) < len(runs)) + ["sequence"] * (len(texts) > 0)
    ending = "s" * (limits != [1])
    return f" ({words} training {' or '.join(noun + ending for noun in nouns)})"


def columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns to show: names and options that vary, counts, figures, epochs and time."""
    names = [key for key in NAMES if rows[key].nunique() > 1]
    shown_keys = [*names, *_options(rows)]
    counts = [] if "state" in shown_keys else _counts(rows)
    return [*shown_keys, *counts, *_figures(rows), "epochs", "seconds"]


def _options(rows: pd.DataFrame) -> list[str]:
    """Return the options that any setting has and that vary for one model and data; α always.

    Not the epochs, which have a column anyhow.
    """
    pairs = [some for _, some in rows.groupby(["model.name", "data.name"], dropna=False)]
    found = []
    for key in rows.columns[: rows.columns.get_loc("setting")]:
        varies = key == "reg.alpha" or len(pairs) == 1
        varies = varies or any(has_several_values(some, key) for some in pairs)
        if key not in (*NAMES, EPOCHS) and varies and rows[key].notna().any():
            found.append(key)
    return found


def with_settings(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the rows with one column in which the options `keys` are words."""
    told = []
    for row in rows.to_dict("records"):
        examples = examples_of_row(row)
        known = [key for key in keys if cell_text(row[key], key)]
        told.append(", ".join(option_label(key, row[key], examples) for key in known))
    return rows.assign(**{SETTINGS: told})


def _counts(rows: pd.DataFrame) -> list[str]:
    """Return the columns that count runs: all, and those running or failed if there are any."""
    return ["runs", *(key for key in ("running", "failed") if rows[key].any())]


def _figures(rows: pd.DataFrame) -> list[str]:
    """Return the columns of figures that say something.

    Multiply-adds do not where they are the same share as weights, each of which is used once.
    """
    known = rows[rows["flops"].notna()]
    left_out = set()
    if np.allclose(known["flops"], known["density"], rtol=0):
        left_out.add("flops")
    if not is_partly_masked(rows).any():
        left_out.add("density_model")
    for key in ("difference", against.MEAN, *(key for key in OF_TASKS if key != "accuracy")):
        if key not in rows or not rows[key].notna().any():
            left_out.add(key)
    return [key for key in FIGURES if key in rows and key not in left_out]


def header(key: str, rows: pd.DataFrame) -> str:
    """Return the header of a column of these rows."""
    if key == against.MEAN:
        return f"Δ {rows[against.SETTING].iloc[0]}"
    return HEADERS.get(key) or heading(key, examples_of(rows))


def lines(rows: pd.DataFrame, keys: Sequence[str]) -> list[list[str]]:
    """Return the header and the rows of a table with those columns, in printable words."""
    head = [header(key, rows) for key in keys]
    if "density_model" in keys and "density" in keys:
        head[keys.index("density")] = "masked layers %"
    table = [head]
    for row in rows.to_dict("records"):
        table.append([printable(_cell(key, row)) for key in keys])
    return table


def _cell(key: str, row: dict[str, Any]) -> str:
    """Return a cell in words; '' for a missing value."""
    value = row[key]
    if value is None or value != value:
        return ""
    if key == against.MEAN:
        return against.cell(row)
    if key == "difference":
        return written_difference(headline_of_row(row), value)
    if key in FIGURES:
        figure, _ = OF_TASKS.get(key, (ACCURACY, ""))  # densities are shares, too
        return written(figure, value, row[f"{key}_std"])
    if key in ("runs", "running", "failed", "epochs"):
        return _count(key, row)
    if key in DENSITIES:
        return cell_text(100 * value) if value else ""
    return duration(value) if key == "seconds" else cell_text(value, key)


def _count(key: str, row: dict[str, Any]) -> str:
    """Return a number of runs or epochs: '2', '1 of 2', or '' for none running or failed."""
    value = row[key]
    if key == "runs":
        finished = row["finished"]
        return cell_text(value) if finished == value else f"{finished:.0f} of {value:.0f}"
    if key == "epochs":
        return f"{value:.0f}" if value == row[EPOCHS] else f"{value:.0f} of {row[EPOCHS]:.0f}"
    return cell_text(value) if value else ""


def is_on_front(rows: pd.DataFrame) -> list[bool]:
    """Return for each row whether it is on the Pareto front of its model and data.

    Rows of other arguments of the model, or of other numbers of images, have fronts of their own.
    Only settings with finished runs count; a single one has no front.
    """
    finished, on = rows[rows["finished"] > 0], pd.Series(False, index=rows.index)
    for _, some in finished.groupby([key for key in COMPARABLE if key in rows], dropna=False):
        on[some.index] = front(some) & (len(some) > 1)
    return on.tolist()


def sheet(rows: pd.DataFrame, title: str = "", keys: Sequence[str] = ()) -> Sheet:
    """Return the table of settings, with the headlines of the front in bold.

    `keys` are the columns, by default all of `columns`.
    """
    keys = keys or columns(rows)
    places = [keys.index(headline_of_row(row).name) for row in rows.to_dict("records")]
    on_front = is_on_front(rows)
    best = {(1 + row, column) for row, column in enumerate(places) if on_front[row]}
    pairs = rows[[*PAIR]].agg(tuple, axis=1)
    starts = pairs.ne(pairs.shift())
    are_together = starts.sum() == pairs.nunique()
    return Sheet(
        lines(rows, keys),
        sum(key in (*NAMES, SETTINGS) for key in keys),
        title,
        frozenset(best),
        FRONT,
        against.notes(rows),
        frozenset(1 + np.flatnonzero(starts)[1:] if are_together else ()),
    )


def csv(rows: pd.DataFrame) -> str:
    """Return settings as CSV: fractions, seconds, and standard deviations of the means."""
    return frame_csv(rows.drop(columns=INTERNAL, errors="ignore"))


def frame_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, an empty cell for a missing value."""
    cells = table.astype(object)
    return csv_text([list(table), *cells.where(cells.notna(), None).to_numpy().tolist()])
