"""Rows of metrics.csv and layers.csv that another training loop gives: check, and resume."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dstrun.config.messages import near
from dstrun.runs.metrics import METRICS, VALIDATION, Rows

METRIC_COLUMNS = (*METRICS, *VALIDATION)
OF_METHOD = ("epoch", "step", "penalty", "density", "density_model", "flops_fraction")
FIGURES = tuple(column for column in METRIC_COLUMNS if column not in OF_METHOD)


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
