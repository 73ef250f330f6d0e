"""Labels of runs in tables and figures, made from the options in which the runs vary."""

import zlib
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.headlines import examples_of_row
from dstrun.runs.identity import NAMED_BY_OTHERS, SETTINGS
from dstrun.runs.labels import NAMES, is_of_method, option_label, value_label
from dstrun.runs.tasks import TASKS

DENSE = "dense"  # the method without sparsity; its runs are the baselines
EPOCHS = "schedule.epochs"
LEAST_DIFFERENCE = 5e-7  # between the two densities of a network that is masked in part
DENSITIES = ("reg.density", "reg.target_density")  # words for the density asked for
COMPARABLE = (*NAMES, *NAMED_BY_OTHERS, "data.train_limit", "data.test_limit")  # where rows agree
METHOD_HUES = 1000  # hues from here on are those of methods, below those of settings
HUES = {  # of methods, the same in all figures
    name: METHOD_HUES + number
    for number, name in enumerate(
        (
            *("dst", "rigl", "set", "static", "gmp", "snfs", "imp", "dsr"),
            *("one_shot", "snip", "grasp", "synflow", "granet", "str", "acdc", "l1"),
        )
    )
}
OTHER_HUES = 64  # of methods of packages, whose looks are none of those above; by name


def cell_text(value: object, key: str = "") -> str:
    """Return the value of a cell in few characters; '' for None, NaN and pandas' NA.

    `key` is the option of the column, if it is one: α is written as a power of ten.
    """
    if value is pd.NA:
        return ""
    return value_label(value.item() if isinstance(value, np.generic) else value, key)


def is_dense(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether it is of the dense method."""
    return table["reg.method"] == DENSE


def sparse_methods(runs: pd.DataFrame) -> list[str]:
    """Return the methods of runs, or of settings, in the order of appearance, without dense."""
    return [str(name) for name in runs.loc[~is_dense(runs), "reg.method"].dropna().unique()]


def method_hue(method: str) -> int:
    """Return the hue of a method, which is the same wherever it is shown."""
    return HUES.get(method, METHOD_HUES + len(HUES) + zlib.crc32(method.encode()) % OTHER_HUES)


def is_partly_masked(figures: Any) -> Any:
    """Return whether some weights have no mask, so that the model is denser than its masked layers.

    `figures` is one run or setting (returns a bool) or a table of them (returns a Series). Runs of
    an earlier version have no density of the model: False.
    """
    return (figures["density_model"] - figures["density"]) > LEAST_DIFFERENCE


def varying_options(runs: pd.DataFrame, density: str = "") -> list[str]:
    """Return the options in which runs vary, in the order of the options.

    An option that applies to some of the runs only varies if its values among those vary, the
    density asked for also if some sparse runs were asked for none. An option that a model's or data
    set's name stands for counts only where it varies under one name, and one of a method, where
    there are several, where it varies within one. `density` is the word for the density asked for,
    `density_word` of the runs if it is not given.
    """
    pairs = len(runs[[*NAMES]].drop_duplicates())
    left_out = {*DENSITIES} - {density or density_word(runs)}
    keys = [key for key in SETTINGS if key in runs and key not in left_out]
    sparse, methods = runs[~is_dense(runs)], len(sparse_methods(runs))
    of_methods = [key for key in keys if is_of_method(key)] if methods > 1 else []
    counts = sparse.groupby("reg.method")[of_methods].nunique(dropna=False).max()
    return [
        key for key in keys if (counts[key] > 1 if key in counts else _varies(runs, key, pairs))
    ]


def density_word(runs: pd.DataFrame) -> str:
    """Return the option that has the density asked for: DST's own where all with one are of DST."""
    if DENSITIES[0] not in runs:
        return DENSITIES[1]
    others = sparse_methods(runs[runs[DENSITIES[0]].notna()]) != ["dst"]
    return DENSITIES[0] if others else DENSITIES[1]


def _varies(runs: pd.DataFrame, key: str, pairs: int) -> bool:
    """Return whether an option varies among runs that have so many pairs of model and data."""
    if key in DENSITIES:
        return has_several_values(runs, key)
    is_conditional = bool(SETTINGS[key].metadata["when"])
    if runs[key].nunique(dropna=is_conditional) <= 1:
        return False
    return key not in NAMED_BY_OTHERS or len(runs[[*NAMES, key]].drop_duplicates()) > pairs


def has_several_values(table: pd.DataFrame, key: str) -> bool:
    """Return whether rows differ in an option: in the density asked for, sparse ones alone.

    No density asked for is one more value; no value of another option is none.
    """
    if key in DENSITIES:
        return bool(table.loc[~is_dense(table), key].nunique(dropna=False) > 1)
    return bool(table[key].nunique() > 1)


def distinguishing_options(runs: pd.DataFrame) -> list[str]:
    """Return the options in which runs of one group, model and data vary, in their order.

    The names of model and data are among them where a group has several. The density asked for is
    one option, whatever a group calls it.
    """
    found: set[str] = set()
    density = density_word(runs)
    for _, block in runs.groupby(["group", *NAMES], sort=False, dropna=False):
        found.update(varying_options(block, density))
    for key in NAMES:
        if (runs.groupby("group")[key].nunique() > 1).any():
            found.add(key)
    return [key for key in SETTINGS if key in found]


def with_labels(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the columns label, setting_label, hover, series, repeat, hue and kind.

    Labels name the options in which the runs vary; `hover` is a list of lines about the run.
    `series` numbers the sparse settings from 0 up and the dense ones from −1 down, `repeat` the
    runs of a setting, both in the order in which the runs began: a later run changes neither.
    Where there are several methods, they come first in the labels, `hue` is a method's, and `kind`
    numbers its settings; otherwise `hue` and `kind` are series and repeat.
    """
    runs = _with_series(runs)
    keys = [key for key in distinguishing_options(runs) if key not in ("reg.method", "seed")]
    if runs["group"].nunique() > 1:
        keys.insert(0, "group")
    has_dense = bool(is_dense(runs).any())
    has_methods = len(sparse_methods(runs)) > 1
    labels, settings, hovers = [], [], []
    for row in runs.to_dict("records"):
        setting = _setting_label(row, keys, has_dense, has_methods)
        label = f"{setting}, seed {cell_text(row['seed'])}"
        settings.append(setting)
        labels.append(label)
        hovers.append([row["run"], label, *_figures(row)])
    hover = pd.Series(hovers, index=runs.index, dtype=object)
    return runs.assign(label=labels, setting_label=settings, hover=hover)


def _with_series(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the columns series and repeat."""
    by, dense = ["group", "setting"], is_dense(runs)
    sparse_numbers = runs[~dense].groupby(by, sort=False).ngroup()
    dense_numbers = -1 - runs[dense].groupby(by, sort=False).ngroup()
    series = pd.concat([sparse_numbers, dense_numbers]).astype(int)
    runs = runs.assign(series=series, repeat=runs.groupby(by, sort=False).cumcount())
    if len(sparse_methods(runs)) < 2:
        return runs.assign(hue=runs["series"], kind=runs["repeat"])
    places = runs.groupby("reg.method", sort=False)["series"].rank("dense")
    hues = runs["reg.method"].map(method_hue).astype(int)
    return runs.assign(
        hue=hues.where(~dense, runs["series"]),
        kind=(places.astype(int) - 1).where(~dense, runs["repeat"]),
    )


def _setting_label(row: dict[str, Any], keys: list[str], has_dense: bool, has_methods: bool) -> str:
    """Return the label of a run's setting: the given options, or model and data if it has none."""
    examples = examples_of_row(row)
    words = [option_label(key, row[key], examples) for key in keys if cell_text(row[key], key)]
    if row["reg.method"] == DENSE or has_methods or (not words and has_dense):
        words.insert(0, row["reg.method"])
    return ", ".join(words) or f"{row['model.name']} on {row['data.name']}"


def _figures(row: dict[str, Any]) -> list[str]:
    """Return the figures of a run's last epoch in words, and its state."""
    figures = []
    for figure in (figure for task in TASKS.values() for figure in task.figures):
        if not np.isnan(value := row[figure.column()]):
            figures.append(f"{figure.title} {figure.shown(value)}")
    words = {"remaining": "density", "multiply-adds": "flops_fraction"}
    if is_partly_masked(row):
        words["remaining of the whole model"] = "density_model"
    figures += [f"{word} {row[key]:.2%}" for word, key in words.items() if not np.isnan(row[key])]
    return [*figures, _progress(row)]


def _progress(row: dict[str, Any]) -> str:
    """Return state and epochs: 'finished, 1 of 2 epochs', or 'running' before the first epoch."""
    if np.isnan(row["epoch"]):
        return str(row["state"])
    asked = row[EPOCHS]
    epochs = "1 epoch" if asked == 1 else f"{cell_text(asked)} epochs"
    return f"{row['state']}, {row['epoch']:.0f} of {epochs}"
