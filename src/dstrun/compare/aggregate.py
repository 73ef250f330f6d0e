"""What runs say together: functions from tables to tables.

    runs  →  settings: a row for all seeds of one setting, mean and standard deviation over its finished runs

A setting is all that makes a run's figures but its seed. Figures are fractions in [0, 1]; standard
deviations are those of a sample (n − 1), absent for one run. Knows config and identity (which
options there are, and their words), errors, status (the words for states) and paper."""

import json
import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.paper import FIGURE_3, TABLES, Published
from dstrun.config.messages import near
from dstrun.runs import labels
from dstrun.runs.identity import NAMED_BY_OTHERS, SETTINGS
from dstrun.runs.labels import said
from dstrun.runs.labels import shown as shown  # a word of the tables, for those who draw them
from dstrun.runs.status import FAILED, FINISHED, RUNNING
from dstrun.system.errors import InputError

AVERAGED = {
    "accuracy": "test_accuracy",
    "validation": "validation_accuracy",
    "density": "density",
    "density_model": "density_model",
    "flops": "flops_fraction",
    "parameters": "parameters_kept",
    "epochs": "epoch",
    "seconds": "total_seconds",
}
NAMES = {  # what people type, beside the columns themselves
    "accuracy": "test_accuracy",
    "remaining": "density",
    "multiply_adds": "flops_fraction",
    "flops": "flops_fraction",
    "model": "model.name",
    "data": "data.name",
    "time": "total_seconds",
    "α": "reg.alpha",
    "epochs": "schedule.epochs",
    "lr": "schedule.lr",
}
OWN = {
    key
    for key, option in SETTINGS.items()
    if key.startswith("reg.") or "reg.method" in option.metadata["when"]
}
COMPARISONS = {"<=": "le", ">=": "ge", "!=": "ne", "==": "eq", "=": "eq", "<": "lt", ">": "gt"}
FRONT = "on the Pareto front: no other run here is both more accurate and sparser"
QUOTES = "\"'“”"
QUOTED = 'model=vgg16; a name with spaces or commas is written in quotes: model="my net, v2"'
VALUE = r"""("[^"]*"|'[^']*'|“[^”]*”|\[[^\]]*\]|[^\s,"'“\[][^\s,]*(?:\s+%)?)"""
CONDITION = re.compile(rf"\s*([\w.]+)\s*(<=|>=|!=|==|=|<|>)\s*{VALUE}\s*(?:,|and\b|$)?\s*")
FRACTIONS = (
    "density",
    "density_model",
    "flops_fraction",
    "test_accuracy",
    "train_accuracy",
    "validation_accuracy",
)
TYPED = (
    "model",
    "data",
    "method",
    "alpha",
    "seed",
    "state",
    "epoch",
    "epochs",
    "accuracy",
    "density",
    "time",
)


def column(word: str, table: pd.DataFrame) -> str:
    """The column that a word means: its name, a short name, or the last part of an option's;
    InputError for none."""
    if NAMES.get(word, word) in table:
        return NAMES.get(word, word)
    last = [key for key in table if key.rpartition(".")[2] == word]
    if len(last) == 1:
        return last[0]
    known = [name for name in (*TYPED, *NAMES, *table) if _means_something(name, table)]
    there = ", ".join(name for name in TYPED if name in known)
    raise InputError(
        f"{word}: there is no such column{near(word, known) or f'; there are {there}'}"
    )


def _means_something(word: str, table: pd.DataFrame) -> bool:
    key = NAMES.get(word, word)
    inner = ("series", "repeat", "setting", "names", "asked", "hover", "label", "setting_label")
    return key not in inner and (
        word in table or key in table or sum(name.rpartition(".")[2] == key for name in table) == 1
    )


def where(runs: pd.DataFrame, conditions: str) -> pd.DataFrame:
    """Return the runs that meet all of the conditions, such as 'alpha>1e-6 density<5% model="my
    net, v2"'.

    A word is compared as text, a number as a number, and what is in quotes as it stands; what a run
    does not have meets no condition but !=. InputError for a column that is not there, for what is
    no condition, and for a value that the column cannot have."""
    rest = conditions.strip()
    while rest:
        match = CONDITION.match(rest)
        if not match:
            raise InputError(
                f"filter: got {rest!r}, expected a condition such as alpha>1e-6 or {QUOTED}"
            )
        word, comparison, value = match.groups()
        key = column(word, runs)
        is_number = pd.api.types.is_numeric_dtype(runs[key])
        if quoted := value[0] in QUOTES:
            value = value[1:-1]
        number = None if quoted and not is_number else _number(value)
        if number is None and is_number:
            raise InputError(f"filter: got {word}{comparison}{value}, expected a number there")
        if key in FRACTIONS and number is not None and number > 1:
            raise InputError(
                f"filter: got {word}{comparison}{value}, expected a fraction or a percentage: {value}%"
            )
        runs = runs[_meets(runs[key], COMPARISONS[comparison], value, number)]
        rest = rest[match.end() :]
    return runs


def _meets(cells: pd.Series, comparison: str, value: str, number: float | None) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce") if number is not None else cells
    if number is not None and (numbers.notna().any() or not cells.notna().any()):
        if comparison in ("eq", "ne"):
            equal = pd.Series(np.isclose(numbers, number, rtol=1e-9, atol=0), index=cells.index)
            return equal if comparison == "eq" else ~equal
        return getattr(numbers, comparison)(number)
    words = cells.map(value_shown).map(_folded)
    return getattr(words, comparison)(_folded(value)) & (cells.notna() | (comparison == "ne"))


def _folded(text: str) -> str:
    """Text without regard to case, to how an accent is put together, and to spaces in a list."""
    text = unicodedata.normalize("NFC", text).casefold()
    return text.replace(", ", ",") if text.startswith("[") else text


def _number(text: str) -> float | None:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def differing(runs: pd.DataFrame) -> list[str]:
    """The options in which runs differ, in the order of the options.

    An option that applies to some of the runs only differs if it does among those; what a name
    stands for counts only where the name does not tell it."""
    found = [
        key
        for key in SETTINGS
        if key in runs and runs[key].nunique(dropna=bool(SETTINGS[key].metadata["when"])) > 1
    ]
    told = ["model.name", "data.name"]
    pairs = len(runs[told].drop_duplicates())
    return [
        key
        for key in found
        if key not in NAMED_BY_OTHERS or len(runs[[*told, key]].drop_duplicates()) > pairs
    ]


def telling(runs: pd.DataFrame) -> list[str]:
    """The options in which runs of one group, model and data differ, and the names that a group has
    several of."""
    blocks = runs.groupby(["group", "model.name", "data.name"], sort=False, dropna=False)
    found = {key for _, block in blocks for key in differing(block)}
    found |= {
        key
        for key in ("model.name", "data.name")
        if (runs.groupby("group")[key].nunique() > 1).any()
    }
    return [key for key in SETTINGS if key in found]


def value_shown(value: object, key: str = "") -> str:
    """Return a setting's value in few characters; '' for what a run does not have, however the
    table says so."""
    if value is pd.NA:
        return ""
    return labels.value_shown(value.item() if isinstance(value, np.generic) else value, key)


def labelled(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with `label` and `setting_label`, by what they differ in, and `hover`, what there is
    to say of each.

    `series` counts the sparse settings from 0 up and the dense ones from −1 down, `repeat` the runs
    of one, all in the order in which they were begun, so that a run that comes later changes
    neither of any other."""
    by = ["group", "setting"]
    dense = runs["reg.method"] == "dense"
    series = (
        runs[~dense].groupby(by, sort=False).ngroup(),
        -1 - runs[dense].groupby(by, sort=False).ngroup(),
    )
    runs = runs.assign(
        series=pd.concat(series).astype(int), repeat=runs.groupby(by, sort=False).cumcount()
    )
    keys = [key for key in telling(runs) if key not in ("reg.method", "seed")]
    if runs["group"].nunique() > 1:
        keys.insert(0, "group")
    names, settings, hovers = [], [], []
    for row in runs.to_dict("records"):
        words = [said(key, row[key]) for key in keys if value_shown(row[key], key)]
        if row["reg.method"] == "dense" or (not words and dense.any()):
            words.insert(0, row["reg.method"])
        settings.append(", ".join(words) or f"{row['model.name']} on {row['data.name']}")
        names.append(f"{settings[-1]}, seed {value_shown(row['seed'])}")
        hovers.append([row["run"], names[-1], *_figures(row)])
    return runs.assign(
        label=names, setting_label=settings, hover=pd.Series(hovers, index=runs.index, dtype=object)
    )


def _figures(row: dict) -> list[str]:
    words = {"accuracy": "test_accuracy", "remaining": "density", "multiply-adds": "flops_fraction"}
    words |= {"remaining of the whole model": "density_model"} if partly_masked(row) else {}
    said = [f"{word} {row[key]:.2%}" for word, key in words.items() if not np.isnan(row[key])]
    epochs = "" if np.isnan(row["epoch"]) else f"{row['epoch']:.0f} of {_epochs(row)}"
    return [*said, ", ".join(filter(None, [str(row["state"]), epochs]))]


def _epochs(row: dict) -> str:
    asked = row["schedule.epochs"]
    return "1 epoch" if asked == 1 else f"{value_shown(asked)} epochs"


def partly_masked(figures: Any) -> Any:
    """Whether weights were left dense, so that the density of the model is not that of its masked
    layers.

    Of one run or setting, or of each of a table; a run of an earlier version does not say.
    """
    return (figures["density_model"] - figures["density"]) > 5e-7


def by_setting(
    runs: pd.DataFrame, more: Sequence[str] = (), among: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A row for each setting of each group, and with `more` columns for each of their values too.

    Means are over finished runs; where there are none, over those that have a figure, and
    `finished` is 0. Columns: group, model, data, method, α and what differs; setting, names, runs,
    finished, running, failed, asked (epochs); of each figure in AVERAGED its mean and
    `<figure>_std`; difference, in accuracy, from the dense runs `among` all whose settings are
    otherwise the same, of the same group where it has some. Dense settings come first."""
    first = ["group", "model.name", "data.name", "reg.method", "reg.alpha"]
    differ = [key for key in (*telling(runs), *differing(runs)) if key != "seed"]
    keys = list(dict.fromkeys([*first, *differ, *more]))
    by = ["group", "setting", *more]
    states = {"finished": FINISHED, "running": RUNNING, "failed": FAILED}
    runs = runs.assign(names=runs["run"], asked=runs["schedule.epochs"], runs=1)
    runs = runs.assign(
        **{word: (runs["state"] == state).astype(int) for word, state in states.items()}
    )
    groups = runs.groupby(by, sort=False, dropna=False)
    none_finished = groups["finished"].transform("sum") == 0
    counted = runs[(runs["finished"] == 1) | (none_finished & runs["epoch"].notna())]
    averages = counted.groupby(by, sort=False, dropna=False)
    figures = averages[list(AVERAGED.values())].agg(["mean", "std"])
    figures.columns = [name for figure in AVERAGED for name in (figure, f"{figure}_std")]
    figures = figures.assign(count=averages["test_accuracy"].count())
    told = (
        groups[[*(key for key in keys if key not in by), "asked"]]
        .first()
        .assign(names=groups["names"].agg(list))
    )
    table = told.join(groups[["runs", *states]].sum()).join(figures).reset_index()
    return _arranged(
        table.assign(difference=_difference(table, runs if among is None else among)), keys
    )


def _arranged(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Settings in order, dense ones first; `keys` in front, as is what follows them in the table's
    order."""
    rest = ["setting", *(column for column in table if column not in (*keys, "setting"))]
    order = table.assign(sparse=table["reg.method"] != "dense")
    by = [
        "model.name",
        "data.name",
        "sparse",
        *(key for key in keys if key not in ("model.name", "data.name")),
    ]
    return table.loc[_sorted(order, by).index, [*keys, *rest]].reset_index(drop=True)


def _difference(table: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    """Of the accuracy of each sparse setting that has finished runs from that of the dense runs to
    compare it with."""
    dense = _dense_accuracies(runs)
    shared = [_without_sparsity(setting) for setting in table["setting"]]
    base = [
        dense.get(place, dense.get(("", place[1])))
        for place in zip(table["group"], shared, strict=True)
    ]
    wanted = (table["reg.method"] != "dense") & (table["finished"] > 0)
    return (table["accuracy"] - pd.Series(base, dtype=float)).where(wanted)


def _sorted(table: pd.DataFrame, by: Sequence[str], ascending: bool = True) -> pd.DataFrame:
    """By the columns, of which one may hold numbers and words alike; rows of one value stay as they
    were."""
    return table.sort_values(list(by), ascending=ascending, kind="stable", key=_orderly)


def _orderly(cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().sum() == cells.notna().sum():
        return numbers
    ranks = {word: rank for rank, word in enumerate(sorted({str(cell) for cell in cells}))}
    return cells.map(lambda cell: ranks[str(cell)])


def ordered(settings: pd.DataFrame, word: str) -> pd.DataFrame:
    """The table sorted by a column, from small to large, or with a '-' before it from large to
    small."""
    descending, word = word.startswith("-"), word.removeprefix("-")
    names = {"remaining": "density", "multiply_adds": "flops", "time": "seconds", "Δ": "difference"}
    wanted = names.get(word, word)
    return _sorted(
        settings,
        [wanted if wanted in settings else column(word, settings)],
        ascending=not descending,
    )


def _without_sparsity(setting: str) -> str:
    """What a run shares with its dense baseline: every setting that is not the method's own."""
    return json.dumps(
        {key: value for key, value in json.loads(setting).items() if key not in OWN}, sort_keys=True
    )


def _dense_accuracies(runs: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Mean accuracy of finished dense runs by (group, what they share with sparse ones); with ''
    over all groups."""
    dense = runs[
        (runs["reg.method"] == "dense")
        & (runs["state"] == FINISHED)
        & runs["test_accuracy"].notna()
    ]
    found: dict[tuple[str, str], list[float]] = {}
    for group, setting, accuracy in zip(
        dense["group"], dense["setting"], dense["test_accuracy"], strict=True
    ):
        for place in (group, ""):
            found.setdefault((place, _without_sparsity(setting)), []).append(accuracy)
    return {place: float(np.mean(accuracies)) for place, accuracies in found.items()}


def front(table: pd.DataFrame, accuracy: str = "accuracy", density: str = "density") -> pd.Series:
    """Which rows no other beats: none is as accurate and sparser, nor as sparse and more
    accurate."""
    figures = (
        table[[accuracy, density]]
        .dropna()
        .sort_values([density, accuracy], ascending=[True, False])
    )
    best = figures[accuracy].cummax().shift(fill_value=-np.inf)
    on = figures[figures[accuracy] > best]
    points = set(zip(on[accuracy], on[density], strict=True))
    return pd.Series(
        [point in points for point in zip(table[accuracy], table[density], strict=True)],
        table.index,
    )


def choice(runs: pd.DataFrame, count: int) -> list[str]:
    """At most so many runs to show layer by layer: one a setting, spread evenly over density, in
    order of settings."""
    able = runs[runs["epoch"].notna() & (runs["reg.method"] != "dense")]
    able = able if len(able) else runs[runs["epoch"].notna()]
    able = able.assign(open=able["state"] != FINISHED).sort_values(["open", "seed"], kind="stable")
    ones = able.drop_duplicates(["group", "setting"]).sort_values("density")
    at = np.unique(np.linspace(0, len(ones) - 1, min(count, len(ones))).round().astype(int))
    chosen = ones.iloc[at]
    return [
        str(name)
        for name in _sorted(chosen, ["model.name", "data.name", *differing(chosen)])["run"]
    ]


def by_layer(layers: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Density of every layer at the end: a row per setting of `labelled` runs and layer, both in
    their order.

    `layers` is the store's, of those runs. Columns: series, setting_label, layer, mean, std, count;
    over a setting's runs. The layer '' is all of them together."""
    last = layers[layers["step"] == layers.groupby("run", observed=True)["step"].transform("max")]
    whole = last.groupby("run", observed=True, sort=False)[["kept", "total"]].sum().reset_index()
    whole = whole.assign(layer="", density=whole["kept"] / whole["total"])
    rows = pd.concat([last.astype({"layer": str}), whole])[["run", "layer", "density"]].astype(
        {"run": str}
    )
    told = runs[["run", "series", "setting_label"]].reset_index(drop=True)
    by = ["series", "setting_label", "layer"]
    return (
        told.merge(rows, on="run")
        .groupby(by, sort=False)["density"]
        .agg(["mean", "std", "count"])
        .reset_index()
    )


def agreement(by_layer: pd.DataFrame) -> str:
    """How alike settings order their layers by density, in words; '' for fewer than two sparse
    settings or four layers.

    Spearman's rank correlation between each two; at 1 the order is the same (the paper's consistent
    sparse pattern, figure 7)."""
    single = by_layer[(by_layer["layer"] != "") & (by_layer["series"] >= 0)]
    table = single.pivot_table(index="layer", columns="series", values="mean", sort=False).corr(
        method="spearman"
    )
    found = table.to_numpy()[np.triu_indices(len(table), 1)]
    if single["layer"].nunique() < 4 or not np.isfinite(found).any():
        return ""
    low, high = (f"{bound(found):.2f}" for bound in (np.nanmin, np.nanmax))
    return f"Rank correlation of layers between settings (Spearman): {low}" + (
        f" to {high}" if high != low else ""
    )


def published_by_alpha(pairs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """The paper's figure 3 for pairs of model and data: alpha and density, read off by eye."""
    rows = [
        (*pair, alpha, density)
        for pair, points in FIGURE_3.items()
        if pair in pairs
        for alpha, density in points
    ]
    return pd.DataFrame(rows, columns=["model.name", "data.name", "reg.alpha", "density"])


def published(pairs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """The paper's rows for pairs of model and data, under the names that `by_setting` uses."""
    rows = [row for row in TABLES if (row.model, row.data) in pairs]
    table = pd.DataFrame(rows, columns=Published._fields)
    return table.rename(columns={"model": "model.name", "data": "data.name"})


def with_published(settings: pd.DataFrame) -> pd.DataFrame:
    """The settings, and under those of each model and data the paper's rows; `reg.method` says
    whose a row is."""
    blocks: list[dict] = []
    for pair, ours in settings.groupby(["model.name", "data.name"], sort=False, dropna=False):
        rows = published([pair])
        theirs = rows.assign(**{"reg.method": "paper: " + rows["method"]})
        blocks += ours.to_dict("records") + theirs.to_dict("records")
    return pd.DataFrame(blocks, columns=settings.columns)


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs; where there are none, those that have a figure at all."""
    done = runs[(runs["state"] == FINISHED) & runs["epoch"].notna()]
    return done if len(done) else runs[runs["epoch"].notna()]
