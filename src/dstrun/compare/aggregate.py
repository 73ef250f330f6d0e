"""Means over seeds, the Pareto front, and figures of every layer, from tables of runs.

    runs  →  settings: a row for all seeds of one setting, mean and standard deviation over its
             finished runs

A setting is every option that can change a run's figures, except its seed. Figures are fractions in
[0, 1]; a standard deviation is that of a sample (n − 1), and missing for one run.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dstrun.compare import headlines
from dstrun.compare.filters import sort_rows
from dstrun.compare.labels import (
    EPOCHS,
    distinguishing_options,
    is_dense,
    sparse_methods,
    varying_options,
)
from dstrun.compare.statistics import values_with_seeds
from dstrun.runs.front import on_front
from dstrun.runs.identity import SETTINGS
from dstrun.runs.status import FAILED, FINISHED, RUNNING
from dstrun.runs.tasks import ACCURACY, BITS_PER_BYTE, NEXT_TOKEN

OF_TASKS = {  # columns of settings and of runs, by the headline of the runs that have them
    ACCURACY: {"accuracy": "test_accuracy", "validation": "validation_accuracy"},
    BITS_PER_BYTE: {
        **{one.name: one.column() for one in NEXT_TOKEN.figures},
        BITS_PER_BYTE.column("validation"): BITS_PER_BYTE.column("validation"),
    },
}
AVERAGED = {
    **OF_TASKS[ACCURACY],
    **OF_TASKS[BITS_PER_BYTE],
    "density": "density",
    "density_model": "density_model",
    "flops": "flops_fraction",
    "parameters": "parameters_kept",
    "epochs": "epoch",
    "seconds": "total_seconds",
}
COUNTED = {"finished": FINISHED, "running": RUNNING, "failed": FAILED}
FIRST = ("group", "model.name", "data.name", "reg.method", "reg.alpha")
PAIR = ["model.name", "data.name"]
SPARSITY_OPTIONS = {  # of a method alone: a dense run has none of them
    key
    for key, option in SETTINGS.items()
    if key.startswith("reg.") or "reg.method" in option.metadata["when"]
}
FRONT = "on the Pareto front: no other row is as accurate and sparser"
BASELINE = ("group", "setting", EPOCHS)  # what a dense baseline is found by
LEAST_LAYERS = 4  # fewer have no order worth a correlation


def by_setting(
    runs: pd.DataFrame, more: Sequence[str] = (), among: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return a row for each setting of each group, and for each value of the columns `more`.

    Means are over finished runs; without one they are over the runs that have figures, and
    `finished` is 0. Columns: group, model, data, method, α and the options that vary; setting,
    names, values (see `statistics.by_seed`), runs, finished, running, failed; for each figure in
    AVERAGED its mean and `<figure>_std`; difference, of the headline, from the mean of the dense
    runs `among` all that trained for as many epochs in all and have the same setting otherwise,
    those of the same group if there are any. Dense settings come first.
    """
    varying = (*distinguishing_options(runs), *varying_options(runs))
    keys = list(dict.fromkeys([*FIRST, *(key for key in varying if key != "seed"), *more, EPOCHS]))
    by = ["group", "setting", *more]
    runs_by_state = _with_counts(runs)
    groups = runs_by_state.groupby(by, sort=False, dropna=False)
    table = groups[[key for key in keys if key not in by]].first()
    table = table.assign(names=groups["names"].agg(list), values=groups["values"].agg(list))
    table = table.join(groups[["runs", *COUNTED]].sum()).join(_figures(runs_by_state, by))
    table = table.reset_index()
    table = table.assign(difference=_difference(table, runs if among is None else among))
    return _in_order(table, keys)


def _with_counts(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with columns to count or to list: runs, each state, names and values."""
    runs = runs.assign(names=runs["run"], values=values_with_seeds(runs), runs=1)
    for word, state in COUNTED.items():
        runs[word] = (runs["state"] == state).astype(int)
    return runs


def _figures(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation of every figure, and how many headlines there are.

    Of the figures of tasks, those that a run has; accuracies if there are none.
    """
    groups = runs.groupby(list(by), sort=False, dropna=False)
    none_finished = groups["finished"].transform("sum") == 0
    counted = runs[(runs["finished"] == 1) | (none_finished & runs["epoch"].notna())]
    averages = counted.groupby(list(by), sort=False, dropna=False)
    figures = averages[list(AVERAGED.values())].agg(["mean", "std"])
    figures.columns = [name for figure in AVERAGED for name in (figure, f"{figure}_std")]
    shown = headlines.headlines_of(runs)
    absent = [name for one in OF_TASKS if one not in shown for name in OF_TASKS[one]]
    figures = figures.drop(columns=[f"{name}{end}" for name in absent for end in ("", "_std")])
    counts = [averages[figure.column()].count() for figure in headlines.HEADLINES]
    return figures.assign(count=sum(counts))


def _in_order(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the settings sorted by `keys`, dense ones first, with `keys` as the first columns."""
    rest = [column for column in table if column not in (*keys, "setting")]
    others = [key for key in keys if key not in PAIR]
    order = sort_rows(table.assign(sparse=~is_dense(table)), [*PAIR, "sparse", *others]).index
    return table.loc[order, [*keys, "setting", *rest]].reset_index(drop=True)


def _difference(table: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    """Return each sparse setting's headline, an accuracy say, minus that of its dense baseline.

    NaN without a baseline or without a finished run.
    """
    dense, baselines = _dense_headlines(runs), []
    for group, setting, epochs in zip(*(table[key] for key in BASELINE), strict=True):
        shared = _without_sparsity(setting, epochs)
        baselines.append(dense.get((group, shared), dense.get(("", shared))))
    wanted = ~is_dense(table) & (table["finished"] > 0)
    return (headlines.headline_values(table) - pd.Series(baselines, dtype=float)).where(wanted)


def _dense_headlines(runs: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the mean headline of finished dense runs by (group, setting).

    Settings are without the options of sparsity. The group '' is all groups together.
    """
    reached = headlines.headline_values(runs)
    dense = runs[is_dense(runs) & (runs["state"] == FINISHED) & reached.notna()]
    found: dict[tuple[str, str], list[float]] = {}
    columns = [*(dense[key] for key in BASELINE), reached[dense.index]]
    for group, setting, epochs, value in zip(*columns, strict=True):
        shared = _without_sparsity(setting, epochs)
        found.setdefault((group, shared), []).append(value)
        found.setdefault(("", shared), []).append(value)
    return {place: float(np.mean(reached)) for place, reached in found.items()}


def _without_sparsity(setting: str, epochs: float) -> str:
    """Return the part of a setting that a sparse run shares with its dense baseline.

    `epochs` are those of all rounds.
    """
    options = json.loads(setting)
    shared = {key: options[key] for key in options if key not in SPARSITY_OPTIONS}
    shared[EPOCHS] = str(epochs)
    return json.dumps(shared, sort_keys=True)


def front(table: pd.DataFrame) -> pd.Series:
    """Return for each row of one task, of runs or of settings, whether it is on the Pareto front.

    That is, no other row is as accurate and sparser, or as sparse and more accurate. In other tasks
    the headline is in the place of accuracy, and lower is better where it says so. Densities that
    are shown alike are equal.
    """
    scores = headlines.headline_values(table) * headlines.headline_of(table).score(1.0)
    densities = table["density"].astype(float)
    return pd.Series(on_front(scores.tolist(), densities.tolist()), table.index, dtype=bool)


def finished_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the finished runs; if there are none, those that have figures."""
    with_figures = runs[runs["epoch"].notna()]
    finished = with_figures[with_figures["state"] == FINISHED]
    return finished if len(finished) else with_figures


def choose_runs(runs: pd.DataFrame, count: int) -> list[str]:
    """Return the names of some runs to show layer by layer, in the order of settings.

    Of one method at most `count`, one a setting, spread evenly over density; of several one each,
    at the lowest density that all of them reach. Sparse runs are preferred to dense ones, finished
    runs to others.
    """
    with_figures = runs[runs["epoch"].notna()]
    sparse = with_figures[~is_dense(with_figures)]
    able = sparse if len(sparse) else with_figures
    able = able.assign(open=able["state"] != FINISHED).sort_values(["open", "seed"], kind="stable")
    ones = able.drop_duplicates(["group", "setting"]).sort_values("density")
    if len(sparse_methods(ones)) > 1:
        chosen = _one_per_method(ones[~ones["open"]] if not ones["open"].all() else ones)
    else:
        places = np.linspace(0, len(ones) - 1, min(count, len(ones)))
        chosen = ones.iloc[np.unique(places.round().astype(int))]
    return [str(name) for name in sort_rows(chosen, [*PAIR, *varying_options(chosen)])["run"]]


def _one_per_method(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the run of each method, of each model and data, next to the density all reach."""
    chosen = []
    for _, some in runs[runs["density"] > 0].groupby(PAIR, sort=False):
        densities = np.log(some["density"]).groupby(some["reg.method"])
        reached = densities.min().max()
        chosen += [(own - reached).abs().idxmin() for _, own in densities]
    return runs.loc[chosen]


def last_rows(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each run's last step, of the store's table of layers."""
    return layers[layers["step"] == layers.groupby("run", observed=True)["step"].transform("max")]


def by_layer(layers: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the density of every layer at the end: a row per setting and layer, both in order.

    `runs` have labels, and `layers` is the store's table of them. Columns: series, setting_label,
    layer, mean, std, count, over the runs of a setting. The layer '' is all layers together.
    """
    last = last_rows(layers)
    whole = last.groupby("run", observed=True, sort=False)[["kept", "total"]].sum().reset_index()
    whole = whole.assign(layer="", density=whole["kept"] / whole["total"])
    rows = pd.concat([last.astype({"layer": str}), whole])[["run", "layer", "density"]]
    labels = runs[["run", "series", "setting_label"]].reset_index(drop=True)
    table = labels.merge(rows.astype({"run": str}), on="run")
    densities = table.groupby(["series", "setting_label", "layer"], sort=False)["density"]
    return densities.agg(["mean", "std", "count"]).reset_index()


def agreement(by_layer: pd.DataFrame) -> str:
    """Return in words how similarly settings order their layers by density.

    Spearman's rank correlation of each two settings; 1 means the same order (the paper's consistent
    sparse pattern, figure 7). '' for fewer than two sparse settings or four layers.
    """
    single = by_layer[(by_layer["layer"] != "") & (by_layer["series"] >= 0)]
    table = single.pivot_table(index="layer", columns="series", values="mean", sort=False)
    correlations = table.corr(method="spearman").to_numpy()
    found = correlations[np.triu_indices(len(correlations), 1)]
    if single["layer"].nunique() < LEAST_LAYERS or not np.isfinite(found).any():
        return ""
    low, high = f"{np.nanmin(found):.2f}", f"{np.nanmax(found):.2f}"
    spread = low if low == high else f"{low} to {high}"
    return f"Rank correlation of layers between settings (Spearman): {spread}"
