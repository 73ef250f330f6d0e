"""What lines and tables call options, values, counts, and runs by what they differ in: α 5e-4, seed
0.

Plain Python, for those who cannot wait for pandas to be imported.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from dstrun.config.options import FREE, Config, value_of
from dstrun.runs.identity import SETTINGS, applies, run_hash
from dstrun.system.numbers import short

WORDS = {
    "reg.alpha": "α",
    "flops_fraction": "multiply-adds",
    "data.train_limit": "training images",
    "data.test_limit": "test images",
}
WORD_FOR_ZERO = {"reg.target_density": "", "data.train_limit": "all", "data.test_limit": "all"}
NAMES = ("model.name", "data.name")
ALWAYS = (*NAMES, "reg.alpha", "seed")  # said wherever runs differ in them


def counted(number: int, noun: str) -> str:
    """Return '1 run', '2 runs'."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def shown(key: str) -> str:
    """Return the word for a column in tables and figures: α, model, lr, test accuracy."""
    if key in NAMES:
        return key.partition(".")[0]
    return WORDS.get(key, key.rpartition(".")[2].replace("_", " "))


def value_shown(value: object, key: str = "") -> str:
    """Return a setting's value in few characters, α always by its power of ten; '' for what a run
    does not have."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Real):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return ""
    if math.isinf(number):
        return str(number)
    if number == 0 and key in WORD_FOR_ZERO:
        return WORD_FOR_ZERO[key]
    plain = key != "reg.alpha" and (number == 0 or 1e-2 <= abs(number) < 1e5)
    return f"{number:.6g}" if plain else short(number)


def said(key: str, value: object) -> str:
    """Return an option and its value, or a name alone: 'α 5e-4', 'seed 0', 'vgg16', 'dense'."""
    words = value_shown(value, key)
    return words if key in (*NAMES, "group", "reg.method") else f"{shown(key)} {words}"


def run_labels(configs: Sequence[Config], keys: Sequence[str] = ()) -> list[str]:
    """Return a name for each run by the options in which they differ, or by those of `keys`; no two
    are the same."""
    rows = [_row(config) for config in configs]
    usual = {} if keys else _usual_values(rows)
    keys = keys or _distinguishing(rows)
    labels = [
        _label(row, [key for key in keys if repr(row.get(key)) != usual.get(key)]) for row in rows
    ]
    times = Counter(labels)
    return [
        label if times[label] == 1 else f"{label} ({run_hash(config)})"
        for label, config in zip(labels, configs, strict=True)
    ]


def _label(row: dict[str, Any], keys: Iterable[str]) -> str:
    found = {key: row[key] for key in keys if value_shown(row.get(key), key)}
    if found.get("reg.method") == "dst" and any(
        key.startswith("reg.") for key in found if key != "reg.method"
    ):
        del found["reg.method"]  # its α tells it from a dense run
    return (
        ", ".join(said(key, value) for key, value in found.items())
        or f"{row['model.name']} on {row['data.name']}"
    )


def _row(config: Config) -> dict[str, Any]:
    """The options of a run that apply, a builder's arguments each by its own name."""
    found: dict[str, Any] = {"group": config.group}
    for key in SETTINGS:
        value = value_of(config, key)
        if key in FREE:
            found |= {f"{key}.{name}": part for name, part in value.items()}
        elif applies(config, key):
            found[key] = value
    return found


def _usual_values(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What three quarters of the runs share, which only says what the others do otherwise, as in an
    ablation."""
    found = {}
    for key in {key for row in rows for key in row}.difference(ALWAYS):
        value, times = Counter(repr(row[key]) for row in rows if key in row).most_common(1)[0]
        if times > 0.75 * len(rows):
            found[key] = value
    return found


def _distinguishing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The options in which runs of one model and data differ, and the names of which there are
    several."""
    blocks: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        blocks.setdefault(tuple(row[key] for key in NAMES), []).append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    differing = {key for block in blocks.values() for key in keys if _differs(key, block)}
    differing |= {key for key in NAMES if _differs(key, rows)}
    order = {key: place for place, key in enumerate(["group", *SETTINGS])}
    return sorted(
        filter(differing.__contains__, keys), key=lambda key: order.get(key, order["seed"] - 0.5)
    )


def _differs(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether runs differ in an option among those it applies to, or in an argument that only some
    have."""
    values = {repr(row[key]) for row in rows if key in row}
    return len(values) > 1 or (
        key not in SETTINGS and 0 < sum(key in row for row in rows) < len(rows)
    )
