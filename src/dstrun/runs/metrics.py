"""Files that a run leaves: the CSV rows, summary.json, train.log; and a row's names in Weights &
Biases.

Rows are appended whole and flushed; JSON is written beside and moved into place. These files are
the source of truth."""

import csv
import io
import json
import logging
import math
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dstrun.system.files import crc32, whole

METRICS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "penalty",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "density",
    "density_model",
    "flops_fraction",
    "seconds",
    "images_per_second",
)
RESULTS = (
    "config.yaml",
    "metrics.csv",
    "layers.csv",
    "summary.json",
)  # of which a finished run leaves the digests
VALIDATION = ("validation_loss", "validation_accuracy")
STEERED = ("alpha",)
ADDED = ("density_model",)  # columns that runs of earlier versions lack
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
)


def write_whole(path: Path, text: str) -> None:
    """Writes beside and moves into place, so that a reader sees the old file or the new one."""
    with whole(path) as file:
        file.write(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The object as a whole file, indented for people; what is not finite becomes null, which JSON
    has."""
    write_whole(
        path, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def read_json(path: Path) -> dict[str, Any]:
    """The file's object; an empty one for a file that is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class Rows:
    """A CSV file that grows by whole rows. Cut to `keep` bytes when opened; with 0 it begins with
    its header.

    One that is kept keeps its columns, which an earlier version may have written.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int = 0) -> None:
        self._path, self._columns = path, _header(path) if keep else columns
        self._file = path.open("a", newline="", encoding="utf-8")
        self._file.truncate(keep)
        self._sum = crc32(path, keep)
        if keep == 0:
            self._write([list(columns)])

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows; a column that a row lacks stays empty."""
        self._write([[row.get(column) for column in self._columns] for row in rows])

    def read(self) -> Iterator[dict[str, str]]:
        """All rows so far, as they stand in the file."""
        return read_csv(self._path)

    def mark(self) -> dict[str, int]:
        """How many bytes the file has, all of them on the disk, and their sum: what `check_marked`
        asks for."""
        os.fsync(self._file.fileno())
        return {"bytes": os.fstat(self._file.fileno()).st_size, "crc32": self._sum}

    def close(self) -> None:
        with suppress(
            OSError
        ):  # what a full disk has not taken has been told of when it was written
            self._file.close()

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = csv_text(rows)
        self._file.write(text)
        self._file.flush()
        self._sum = zlib.crc32(text.encode(), self._sum)


def check_marked(path: Path, mark: Mapping[str, int]) -> None:
    """ValueError where a file does not begin any more as it was when its rows were marked."""
    if crc32(path, mark["bytes"]) != mark["crc32"]:
        raise ValueError(f"{path} is not as it was written")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file, a line each; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, as text by column."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def last_row(path: Path) -> dict[str, str]:
    """The last whole row of a CSV file that may be growing; an empty one where there is none
    yet."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            file.seek(max(len(header), file.seek(0, os.SEEK_END) - 4096))
            *lines, _ = file.read().decode(errors="replace").split("\n")
    except (OSError, ValueError):
        return {}
    names, cells = (
        next(csv.reader([line])) for line in (header.decode().strip(), lines[-1] if lines else ",")
    )
    return dict(zip(names, cells, strict=True)) if lines and len(names) == len(cells) else {}


def number(text: str) -> float | None:
    """A column's text as a number; an empty one is None."""
    if text == "":
        return None
    return int(text) if text.isdigit() else float(text)


class _LogFile(logging.FileHandler):
    """A log that a full disk leaves with a gap, and neither the run nor the screen with a
    traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def run_log(path: Path) -> logging.Logger:
    """A logger that writes lines with their time to train.log, and nowhere else."""
    log = logging.Logger("dstrun.training.run")
    handler = _LogFile(
        path, encoding="utf-8", errors="backslashreplace"
    )  # names of files may be no text
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    return log


def close_log(log: logging.Logger) -> None:
    for handler in log.handlers:
        handler.close()


def wandb_row(metrics: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A row of metrics.csv and its rows of layers.csv under W&B's keys.

    Layers are numbered, from 00 on, so that charts stand in the order of the model.
    """
    names = {
        "epoch": "epoch",
        "density_model": "density/model",
        "density": "density/masked",
        "lr": "lr",
    }
    names |= {"flops_fraction": "flops/model"}
    names |= {"penalty": "penalty", "alpha": "alpha"}
    names |= {
        f"{s}_{kind}": f"{kind}/{s}"
        for s in ("train", "validation", "test")
        for kind in ("loss", "accuracy")
    }
    row = {
        names[key]: value for key, value in metrics.items() if key in names and value is not None
    }
    digits = max(2, len(str(len(layers) - 1)))
    for number, layer in enumerate(layers):
        label = f"{number:0{digits}}.{layer['layer']}"
        row[f"density/{label}"] = layer["density"]
        row[f"churn/{label}"] = layer["churn"]
        if layer["threshold_mean"] is not None:
            row[f"threshold/{label}"] = layer["threshold_mean"]
    return row
