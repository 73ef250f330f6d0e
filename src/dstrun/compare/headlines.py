"""Headline figures in tables of runs, whose columns begin with test_, and of settings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dstrun.runs.tasks import ACCURACY, TASKS, Figure

HEADLINES = tuple(task.headline for task in TASKS.values())
DIGITS = 4  # after the point, of a figure that is no share


def column_of(figure: Figure, columns: Any) -> str:
    """Return a figure's column: test_accuracy in a table of runs, accuracy in one of settings."""
    return figure.column() if figure.column() in columns else figure.name


def headlines_of(table: pd.DataFrame) -> list[Figure]:
    """Return the headlines that any row has a value of; accuracy if there is none."""
    found = []
    for figure in HEADLINES:
        column = column_of(figure, table)
        if column in table and table[column].notna().any():
            found.append(figure)
    return found or [ACCURACY]


def headline_of(table: pd.DataFrame) -> Figure:
    """Return the headline of rows of one task, such as those of one model and data."""
    return headlines_of(table)[0]


def headline_of_row(row: Mapping[str, Any]) -> Figure:
    """Return the headline of a run or a setting."""
    for figure in HEADLINES:
        value = row.get(column_of(figure, row))
        if value is not None and value == value:
            return figure
    return ACCURACY


def examples_of(table: pd.DataFrame) -> str:
    """Return what the data of the rows consist of: 'images', 'sequences', 'images or sequences'."""
    return " or ".join(_examples(figure) for figure in headlines_of(table))


def examples_of_row(row: Mapping[str, Any]) -> str:
    """Return what the data of a run or a setting consist of: images or sequences."""
    return _examples(headline_of_row(row))


def _examples(headline: Figure) -> str:
    return next(task.examples for task in TASKS.values() if task.headline == headline)


def headline_values(table: pd.DataFrame, ending: str = "") -> pd.Series:
    """Return each row's value of its headline; with the ending _std its deviation."""
    found = pd.Series(np.nan, table.index, dtype=float)
    for figure in HEADLINES:
        column = f"{column_of(figure, table)}{ending}"
        if column in table:
            found = found.fillna(table[column].astype(float))
    return found


def written(figure: Figure, mean: float, std: float | None = None) -> str:
    """Return a figure as a cell: '97.91 ± 0.06' in per cent, '2.1342 ± 0.0012' for others."""
    factor, digits = (100, 2) if figure.is_share else (1, DIGITS)
    words = f"{factor * mean:.{digits}f}"
    return words + (f" ± {factor * std:.{digits}f}" if std is not None and std == std else "")


def written_difference(figure: Figure, difference: float) -> str:
    """Return a difference of two values as a cell, with its sign."""
    return f"{100 * difference:+.2f}" if figure.is_share else f"{difference:+.{DIGITS}f}"


def written_size(figure: Figure, size: float) -> str:
    """Return the size of a difference in words: '0.30 points', '0.0120 bits per byte'."""
    return f"{100 * size:.2f} points" if figure.is_share else f"{size:.{DIGITS}f} {figure.title}"
