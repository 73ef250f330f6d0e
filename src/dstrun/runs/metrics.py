"""metrics.csv and layers.csv: their columns, appending rows, and the same row under W&B's keys.

Rows are appended whole and flushed. These files are the source of truth for reports; W&B has a
copy.
"""

import csv
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dstrun.runs.tasks import CLASSES, TASKS, Task
from dstrun.system.files import crc32, csv_text, read_csv
from dstrun.system.run_files import LAYERS_FILE, METRICS_FILE

BEFORE = ("epoch", "step", "lr", "train_loss", "penalty")
AFTER = ("density", "density_model", "flops_fraction", "seconds", "images_per_second")


def columns_of(task: Task, has_validation: bool = False) -> tuple[str, ...]:
    """Return the columns of metrics.csv for a task, without those that a method adds."""
    train = tuple(name for name in task.columns("train") if name not in BEFORE)
    validation = task.columns("validation") if has_validation else ()
    return (*BEFORE, *train, *task.columns("test"), *AFTER, *validation)


METRICS = columns_of(CLASSES)
VALIDATION = CLASSES.columns("validation")
# losses and figures of all tasks, of which a file has those of its own task
SPLITS = ("train", "validation", "test")
OF_TASKS = tuple(
    dict.fromkeys(
        name for task in TASKS.values() for split in SPLITS for name in task.columns(split)
    )
)
STREAMED = ("data_wait",)
STEERED = ("alpha",)
ADDED = ("density_model",)  # columns that runs of earlier versions lack
ADDED_LAYERS = ("explored", "grown", "dropped", "gradient_norm")  # as ADDED, of layers.csv
QUANTILES = tuple(f"threshold_q{percent}" for percent in (10, 25, 50, 75, 90))  # added later still
LAYERS = (
    "epoch",
    "step",
    "layer",
    "kept",
    "total",
    "density",
    "threshold_mean",
    "threshold_min",
    "threshold_max",
    "churn",
    "dead_rows",
    *ADDED_LAYERS,
    *QUANTILES,
)


class Rows:
    """A CSV file that grows by whole rows; truncated to `keep` bytes when it is opened.

    With keep = 0 it begins with a header of `columns`; otherwise the file's own header holds, which
    an earlier version may have written.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int = 0) -> None:
        self._path, self._columns = path, _header(path) if keep else columns
        self._file = path.open("a", newline="", encoding="utf-8")
        self._file.truncate(keep)
        self._sum = crc32(path, keep)
        if keep == 0:
            self._write([list(columns)])

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row lacks stays empty."""
        self._write([[row.get(column) for column in self._columns] for row in rows])

    def read(self) -> Iterator[dict[str, str]]:
        """Yield all rows so far, as text by column."""
        return read_csv(self._path)

    def mark(self) -> dict[str, int]:
        """Flush the file to the disk and return its size and CRC-32, for `check_mark`."""
        os.fsync(self._file.fileno())
        return {"bytes": os.fstat(self._file.fileno()).st_size, "crc32": self._sum}

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a full disk was reported when the row was written
            self._file.close()

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = csv_text(rows)
        self._file.write(text)
        self._file.flush()
        self._sum = zlib.crc32(text.encode(), self._sum)


def check_mark(path: Path, mark: Mapping[str, int]) -> None:
    """Raise ValueError where a file no longer begins as it was when `Rows.mark` was called."""
    if crc32(path, mark["bytes"]) != mark["crc32"]:
        raise ValueError(f"{path} is not as it was written")


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def last_row(path: Path) -> dict[str, str]:
    """Return the last complete row of a CSV file that may be growing; {} where there is none."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, os.SEEK_END) - 4096))
            *lines, _ = file.read().decode(errors="replace").split("\n")
            names = next(csv.reader([header.decode().strip()]))
    except (OSError, ValueError, StopIteration):
        return {}
    cells = next(csv.reader(lines[-1:]), [])
    return dict(zip(names, cells, strict=True)) if len(names) == len(cells) else {}


def number(text: str) -> float | None:
    """Return the text of a cell as a number; None for an empty one."""
    if text == "":
        return None
    return int(text) if text.isdigit() else float(text)


WANDB_KEYS = {
    "epoch": "epoch",
    "density_model": "density/model",
    "density": "density/masked",
    "lr": "lr",
    "flops_fraction": "flops/model",
    "penalty": "penalty",
    "alpha": "alpha",
    "data_wait": "data_wait",
    **{column: "/".join(reversed(column.split("_", 1))) for column in OF_TASKS},
}
WANDB_LAYER_KEYS = {
    "density": "density",
    "churn": "churn",
    "threshold_mean": "threshold",
    **{column: column for column in ADDED_LAYERS},
}


def tracked_rows(folder: Path, epochs: int) -> Iterator[dict[str, float]]:
    """Yield the rows of a run's first epochs under W&B's keys, as the files have them."""
    metrics = []
    for row in read_csv(folder / METRICS_FILE) if epochs else ():
        if int(row["epoch"]) <= epochs:
            metrics.append(row)
    layers: dict[str, list[dict[str, Any]]] = {row["step"]: [] for row in metrics}
    for row in read_csv(folder / LAYERS_FILE) if epochs else ():
        if row["step"] in layers:
            figures = {column: number(row.get(column, "")) for column in WANDB_LAYER_KEYS}
            layers[row["step"]].append({"layer": row["layer"], **figures})
    for row in metrics:
        figures = {column: number(row[column]) for column in WANDB_KEYS if column in row}
        yield wandb_row(figures, layers[row["step"]])


def wandb_row(metrics: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a row of metrics.csv, with its rows of layers.csv, under W&B's keys.

    Layers are numbered from 00 on, so that W&B sorts their charts in the order of the model.
    """
    row: dict[str, float] = {}
    for column, value in metrics.items():
        if column in WANDB_KEYS and value is not None:
            row[WANDB_KEYS[column]] = value
    digits = max(2, len(str(len(layers) - 1)))
    for place, layer in enumerate(layers):
        label = f"{place:0{digits}}.{layer['layer']}"
        for column, key in WANDB_LAYER_KEYS.items():
            if layer[column] is not None:
                row[f"{key}/{label}"] = layer[column]
    return row
