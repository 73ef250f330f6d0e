"""Labels of options, values, counts and runs in lines and tables: 'α 5e-4', 'seed 0', '3 runs'.

Plain Python, so that commands which need no table do not import pandas.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from dstrun.config.options import FREE, Config, value_of
from dstrun.runs.identity import SETTINGS, applies, run_hash
from dstrun.runs.target_density import as_asked
from dstrun.runs.tasks import CLASSES, NEXT_TOKEN
from dstrun.system.numbers import short

WORDS = {
    "reg.alpha": "α",
    "flops_fraction": "multiply-adds",
    "data.train_limit": "training images",
    "data.test_limit": "test images",
    "model.args": "model args",
    "model.builder": "model builder",
    "data.args": "data args",
    "data.builder": "data builder",
    "reg.args": "method args",
}
HEADINGS = {"reg.density": "density asked"}  # beside the density that came of it
WORD_FOR_ZERO = {
    "reg.density": "",
    "reg.target_density": "",
    "data.train_limit": "all",
    "data.test_limit": "all",
}
IMAGES = CLASSES.examples
NOTHING = ("none", "{}", "[]")  # values of options that are left out like a missing one
NAMES = ("model.name", "data.name")
ALWAYS = (*NAMES, "reg.alpha", "seed")  # in every label, wherever runs differ in them
COMMON = 0.75  # a value that more than this share of the runs have is left out of their labels


def quantity(number: int, noun: str) -> str:
    """Return a number and its noun: '1 run', '2 runs'."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def column_label(key: str, examples: str = IMAGES) -> str:
    """Return the label of a column in tables and figures: α, model, lr, test accuracy.

    `examples` is what the data consist of: images or sequences.
    """
    if key in NAMES:
        return key.partition(".")[0]
    words = WORDS.get(key, key.rpartition(".")[2].replace("_", " "))
    return words.replace(IMAGES, examples)


def heading(key: str, examples: str = IMAGES) -> str:
    """Return the heading of a column or an axis."""
    return HEADINGS.get(key) or column_label(key, examples)


def is_of_method(key: str) -> bool:
    """Return whether an option is of a sparse-training method; methods differ in them anyhow.

    The density asked for is one that methods share.
    """
    if key in ("reg.method", "reg.density"):
        return False
    return key.startswith("reg.") or "reg.method" in SETTINGS[key].metadata["when"]


def value_label(value: object, key: str = "") -> str:
    """Return a value in few characters; '' for None and NaN, which are no value.

    `key` is its option, if it is of one: α always has a power of ten, and 'none' or an empty list
    is no value.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Real):
        return _number_label(float(value), key)
    return "" if value is None or (key and str(value) in NOTHING) else str(value)


def _number_label(number: float, key: str) -> str:
    if math.isnan(number):
        return ""
    if math.isinf(number):
        return str(number)
    if number == 0 and key in WORD_FOR_ZERO:
        return WORD_FOR_ZERO[key]
    is_plain = key != "reg.alpha" and (number == 0 or 1e-2 <= abs(number) < 1e5)
    return f"{number:.6g}" if is_plain else short(number)


def option_label(key: str, value: object, examples: str = IMAGES) -> str:
    """Return an option and its value, or a name alone: 'α 5e-4', 'seed 0', 'vgg16', 'dense'."""
    words = value_label(value, key)
    is_name = key in (*NAMES, "group", "reg.method")
    return words if is_name else f"{column_label(key, examples)} {words}"


def run_labels(configs: Sequence[Config], keys: Sequence[str] = ()) -> list[str]:
    """Return a label for each run, by the options in which runs differ, or by those in `keys`.

    Runs of several methods are called by the method first. No two labels are the same: runs that
    would share one have their hash added.
    """
    rows = [_row(config) for config in configs]
    if not keys and _has_several_methods(rows):
        rows = [_with_one_density(row) for row in rows]
    common = {} if keys else _common_values(rows)
    keys = keys or _distinguishing_options(rows)
    labels = []
    for row in rows:
        own = [key for key in keys if repr(row.get(key)) != common.get(key)]
        labels.append(_label(row, own, _has_several_methods(rows)))
    times = Counter(labels)
    for place, config in enumerate(configs):
        if times[labels[place]] > 1:
            labels[place] += f" ({run_hash(config)})"
    return labels


def _has_several_methods(rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether runs are of several methods, beside the dense one."""
    return len({row["reg.method"] for row in rows} - {"dense"}) > 1


def _with_one_density(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with DST's target density under the name that other methods have for it."""
    rest = {key: value for key, value in row.items() if key != "reg.target_density"}
    target = row.get("reg.target_density")
    return rest | ({"reg.density": target} if target else {})


def _label(row: dict[str, Any], keys: Iterable[str], names_methods: bool) -> str:
    found = {key: row[key] for key in keys if value_label(row.get(key), key)}
    others = found.keys() - {"reg.method"}
    is_dst = found.get("reg.method") == "dst" and not names_methods
    if is_dst and any(key.startswith("reg.") for key in others):
        del found["reg.method"]  # its α tells it from a dense run
    task = NEXT_TOKEN if row.get("data.builder") == "text" else CLASSES
    words = [option_label(key, value, task.examples) for key, value in found.items()]
    return ", ".join(words) or f"{row['model.name']} on {row['data.name']}"


def _row(config: Config) -> dict[str, Any]:
    """Return the options that apply to a run, each argument of a builder under its own name."""
    config = as_asked(config)
    found: dict[str, Any] = {"group": config.group}
    for key in SETTINGS:
        value = value_of(config, key)
        if not applies(config, key) or (key == "reg.density" and not value):
            continue
        if key in FREE:
            for name, part in value.items():
                found[f"{key}.{name}"] = part
        else:
            found[key] = value
    return found


def _common_values(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the values that most runs share, as repr, by option: labels give the exceptions.

    So in an ablation the label of a run names what was changed in it.
    """
    counts: dict[str, Counter[str]] = {}
    named = {*ALWAYS, "reg.density", *(["reg.method"] if _has_several_methods(rows) else [])}
    for row in rows:
        for key in row.keys() - named:
            counts.setdefault(key, Counter())[repr(row[key])] += 1
    found = {}
    for key, values in counts.items():
        value, times = values.most_common(1)[0]
        if times > COMMON * len(rows):
            found[key] = value
    return found


def _distinguishing_options(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the options in which runs of the same model and data differ, and names that differ."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    by_method: dict[tuple, list[dict[str, Any]]] = {}
    keys: dict[str, None] = {}  # in the order in which they appear
    for row in rows:
        names = tuple(row[key] for key in NAMES)
        groups.setdefault(names, []).append(row)
        by_method.setdefault((*names, row["reg.method"]), []).append(row)
        keys |= dict.fromkeys(row)
    differing = []
    for key in keys:
        compared = [rows] if key in NAMES else groups.values()
        if _has_several_methods(rows) and key in SETTINGS and is_of_method(key):
            compared = by_method.values()
        if any(_differs(key, some) for some in compared):
            differing.append(key)
    return sorted(differing, key=_place)


def _place(key: str) -> float:
    """Return the place of an option in a label; arguments of builders come before the seed."""
    order = ["group", *SETTINGS]
    return order.index(key) if key in order else order.index("seed") - 0.5


def _differs(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether runs that an option applies to differ in it.

    An argument of a builder differs as well where only some runs have it.
    """
    values = [repr(row[key]) for row in rows if key in row]
    has_some = key not in SETTINGS and 0 < len(values) < len(rows)
    return len(set(values)) > 1 or has_some
