"""Rows of metrics.csv and layers.csv that another training loop gives: check, and resume."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dstrun.config.messages import near
from dstrun.runs.metrics import Rows, columns_of
from dstrun.runs.tasks import TASKS, task_of

OF_TASKS = [name for task in TASKS.values() for name in columns_of(task, has_validation=True)]
OF_METHOD = ("epoch", "step", "penalty", "density", "density_model", "flops_fraction")
FIGURES = tuple(dict.fromkeys(name for name in OF_TASKS if name not in OF_METHOD))


def checked_figures(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return figures as numbers, of tensors too.

    Raises ValueError, with near names, for a figure that is no column or no number.
    """
    found = {}
    for name, value in figures.items():
        if name not in FIGURES:
            known = ", ".join(FIGURES)
            raise ValueError(
                f"{name}: there is no such figure (known: {known}){near(name, FIGURES)}"
            )
        try:
            found[name] = float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: got {value!r}, expected a number") from error
    return found


def columns_for(row: Mapping[str, Any], of_method: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of metrics.csv for a run by its first row: those of its task, and others.

    of_method: columns that the method adds.
    """
    return tuple(dict.fromkeys((*columns_of(task_of(row)), *row, *of_method)))


def refuse_new(figures: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError for a figure without a column in a metrics.csv that is there."""
    with path.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    for name in figures:
        if name not in columns:
            raise ValueError(f"{name}: the first row has no such figure, and {path} no column")


def open_rows(path: Path, columns: Sequence[str], resumed_at: int) -> Rows:
    """Return a CSV file without its rows after the step `resumed_at`; 0 keeps none."""
    return Rows(path, columns, _size_until(path, resumed_at) if resumed_at else 0)


def _size_until(path: Path, step: int) -> int:
    """Return the size, in bytes, of a CSV file up to the last row of a step; 0 without a file."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        size = len(header := file.readline())
        place = next(csv.reader([header.decode()])).index("step")
        for line in file:
            if not line.endswith(b"\n") or int(next(csv.reader([line.decode()]))[place]) > step:
                break
            size += len(line)
    return size
