"""Filters and order of tables of runs and settings, as `--filter` and `--sort` write them."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dstrun.compare.labels import cell_text
from dstrun.config.messages import near
from dstrun.runs.metrics import SPLITS
from dstrun.runs.tasks import FIGURES
from dstrun.system.errors import InputError

SHORT_NAMES = {  # what people type, beside the columns themselves
    **{figure.name: figure.column() for figure in FIGURES},
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
NAMES_IN_SETTINGS = {  # where a table of settings calls a column otherwise than one of runs
    "remaining": "density",
    "multiply_adds": "flops",
    "time": "seconds",
    "Δ": "difference",
}
INTERNAL = (
    "series",
    "repeat",
    "hue",
    "kind",
    "setting",
    "names",
    "values",
    "hover",
    "label",
    "setting_label",
)
TYPICAL = (  # columns that a message names if they are there and have a value
    "model",
    "data",
    "method",
    "alpha",
    "seed",
    "state",
    "epoch",
    "epochs",
    *(figure.name for figure in FIGURES),
    *(figure.column("validation") for figure in FIGURES),
    "difference",
    "density",
    "flops",
    "time",
)
FRACTIONS = (
    "density",
    "density_model",
    "flops_fraction",
    *(figure.column(split) for figure in FIGURES if figure.is_share for split in SPLITS),
)
HALF_SHOWN = 0.5e-4  # half of the last digit of a fraction in per cent
COMPARISONS = {"<=": "le", ">=": "ge", "!=": "ne", "==": "eq", "=": "eq", "<": "lt", ">": "gt"}
QUOTES = "\"'“”"
VALUE = r"""("[^"]*"|'[^']*'|“[^”]*”|\[[^\]]*\]|[^\s,"'“\[][^\s,]*(?:\s+%)?)"""
CONDITION = re.compile(rf"\s*([\w.]+)\s*(<=|>=|!=|==|=|<|>)\s*{VALUE}\s*(?:,|and\b|$)?\s*")
EXAMPLES = 'alpha>1e-6 or model="my net, v2"'


class Condition(NamedTuple):
    """One condition of a filter: a column, a comparison and a value, as they were typed."""

    word: str
    comparison: str
    value: str
    is_quoted: bool

    def __str__(self) -> str:
        return f"{self.word}{self.comparison}{self.value}"


def column(word: str, table: pd.DataFrame) -> str:
    """Return the column that a word means: its name, a short name or the last part of an option's.

    Raise InputError if there is no such column.
    """
    key = SHORT_NAMES.get(word, word)
    if key in table:
        return key
    keys = _columns_ending_in(word, table)
    if len(keys) == 1:
        return keys[0]
    known = [name for name in (*TYPICAL, *SHORT_NAMES, *table) if _is_known(name, table)]
    hint = near(word, known)
    if not hint:
        hint = f"; there are {', '.join(_columns_with_values(table))}"
    raise InputError(f"{word}: there is no such column{hint}")


def _columns_with_values(table: pd.DataFrame) -> list[str]:
    """Return the words for typical columns that have a value in any row, of runs or settings."""
    found = []
    for word in TYPICAL:
        names = (SHORT_NAMES.get(word, word), word, NAMES_IN_SETTINGS.get(word, word))
        for key in (*names, *_columns_ending_in(word, table)):
            if key in table and table[key].notna().any():
                found.append(word)
                break
    return found


def _columns_ending_in(word: str, table: pd.DataFrame) -> list[str]:
    """Return the columns whose last part, after the dot, is a word."""
    return [key for key in table if key.rpartition(".")[2] == word]


def _is_known(word: str, table: pd.DataFrame) -> bool:
    """Return whether a word means one column of the table that people filter or sort by."""
    key = SHORT_NAMES.get(word, word)
    if key in INTERNAL:
        return False
    return word in table or key in table or len(_columns_ending_in(key, table)) == 1


def where(runs: pd.DataFrame, conditions: str, option: str = "filter") -> pd.DataFrame:
    """Return the runs that meet all conditions, such as 'alpha>1e-6 density<5% model="my net, v2"'.

    Numbers are compared as numbers, words as text, a value in quotes exactly as it is written. A
    run without a value meets only !=. Raise InputError, which begins with `option`, for an unknown
    column, for text that is no condition, and for a value that the column cannot have.
    """
    all_runs = runs
    try:
        for condition in _parse(conditions, _columns_with_values(runs)):
            key = column(condition.word, all_runs)
            number = _number_of(condition, key, pd.api.types.is_numeric_dtype(runs[key]))
            runs = runs[_meets(runs[key], condition, number, key in FRACTIONS)]
    except InputError as error:
        raise InputError(f"{option}: {error}") from None
    return runs


def _parse(conditions: str, columns: Sequence[str]) -> Iterator[Condition]:
    """Yield the conditions in a text; raise InputError, with near columns, at one that is none."""
    rest = conditions.strip()
    while rest:
        match = CONDITION.match(rest)
        if not match:
            word = "_".join(re.findall(r"\w+", re.split("[<>=!]", rest)[0]))
            hint = "" if word in rest else near(word, columns)
            raise InputError(f"got {rest!r}, expected a condition such as {EXAMPLES}{hint}")
        word, comparison, value = match.groups()
        is_quoted = value[0] in QUOTES
        yield Condition(word, comparison, value[1:-1] if is_quoted else value, is_quoted)
        rest = rest[match.end() :]


def _number_of(condition: Condition, key: str, is_numeric: bool) -> float | None:
    """Return the number that a condition compares with; None for a word.

    Raise InputError for a word where the column has numbers, and for a fraction above 1.
    """
    number = None if condition.is_quoted and not is_numeric else _parse_number(condition.value)
    if number is None and is_numeric:
        raise InputError(f"got {condition}, expected a number there")
    if key in FRACTIONS and number is not None and number > 1:
        raise InputError(
            f"got {condition}, expected a fraction or a percentage: {condition.value}%"
        )
    return number


def _parse_number(text: str) -> float | None:
    """Return the number in a text, 0.05 for '5%'; None for a word.

    That of '0.07%' is 0.0007, as a share of 10,000 is, which a float divided by 100 is above.
    """
    try:
        number = float(text.removesuffix("%"))
        return float(Decimal(text[:-1].strip()).scaleb(-2)) if text.endswith("%") else number
    except (ValueError, ArithmeticError):
        return None


def _meets(
    cells: pd.Series, condition: Condition, number: float | None, is_fraction: bool
) -> pd.Series:
    """Return for each cell whether it meets a condition; fractions shown alike are equal."""
    comparison, close = COMPARISONS[condition.comparison], HALF_SHOWN if is_fraction else 0.0
    if number is not None:
        numbers = pd.to_numeric(cells, errors="coerce")
        if numbers.notna().any() or not cells.notna().any():
            return _compare_numbers(numbers, comparison, number, close)
    words = cells.map(cell_text).map(_normalize)
    met = getattr(words, comparison)(_normalize(condition.value))
    return met & (cells.notna() | (comparison == "ne"))


def _compare_numbers(cells: pd.Series, comparison: str, number: float, close: float) -> pd.Series:
    """Return for each cell whether it compares with a number; equal means to nine digits, or within
    `close`.
    """
    if comparison not in ("eq", "ne"):
        return getattr(cells, comparison)(number)
    equal = pd.Series(np.isclose(cells, number, rtol=1e-9, atol=close), index=cells.index)
    return equal if comparison == "eq" else ~equal


def _normalize(text: str) -> str:
    """Return text without differences of case, composition of accents and spaces in a list."""
    text = unicodedata.normalize("NFC", text).casefold()
    return text.replace(", ", ",") if text.startswith("[") else text


def sort_by_word(settings: pd.DataFrame, word: str) -> pd.DataFrame:
    """Return the settings sorted by a column from small to large; with '-' before it, reversed.

    Raise InputError if there is no such column.
    """
    is_descending, word = word.startswith("-"), word.removeprefix("-")
    key = NAMES_IN_SETTINGS.get(word, word)
    if key not in settings:
        key = column(word, settings)
    return sort_rows(settings, [key], ascending=not is_descending)


def sort_rows(table: pd.DataFrame, by: Sequence[str], ascending: bool = True) -> pd.DataFrame:
    """Return the table sorted by columns of numbers and words; equal rows keep their order."""
    return table.sort_values(list(by), ascending=ascending, kind="stable", key=_sort_key)


def _sort_key(cells: pd.Series) -> pd.Series:
    """Return numbers to sort cells by: themselves, or ranks of words if not all are numbers."""
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().sum() == cells.notna().sum():
        return numbers
    ranks: dict[Any, int] = {}
    for word in sorted(set(cells.map(str))):
        ranks[word] = len(ranks)
    return cells.map(str).map(ranks)
