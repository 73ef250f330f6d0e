"""Record of a run in another training loop than dstrun's: the files of a run folder."""

import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from dstrun.callbacks.rows import checked_figures, columns_for, open_rows, refuse_new
from dstrun.callbacks.settings import Settings
from dstrun.methods.base import Method
from dstrun.methods.flops import MultiplyAdds, multiply_adds
from dstrun.methods.mask_stats import (
    LayerFigures,
    masked_density,
    model_density,
    weights_left_dense,
)
from dstrun.runs.log import close_log, open_log
from dstrun.runs.metrics import LAYERS, Rows, number
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, Status
from dstrun.runs.summary import summarise
from dstrun.system.errors import error_line
from dstrun.system.files import read_csv, sha256, write_json
from dstrun.system.machine import facts
from dstrun.system.run_files import LAYERS_FILE, METRICS_FILE, RESULT_FILES, SUMMARY_FILE


def record(
    model: nn.Module,
    method: Method,
    settings: Mapping[str, Any],
    *,
    loop: str = "own",
    name: str | None = None,
    group: str = "own",
    outputs: str | Path = "outputs",
    example: Any = None,
    overwrite: bool = False,
) -> "Recording":
    """Return the recording of a run, which is a context: `with dstrun.record(…) as run`.

    model, method: after `method.prepare(model)`. settings: options of dstrun by their key, at least
    `model` and `data`, the names that tables show; the method's own are known. What is left out
    counts as not known. loop: a word for the training loop, such as the package it is of. The
    folder is outputs/group/name, where `name` follows from the settings as for a run of dstrun's.
    example: a batch of one, by which multiply-adds are counted. overwrite: whether to start over a
    run that is finished. Raises ValueError for settings that a run of dstrun's refuses.
    """
    known = Settings.of(settings, method, loop)
    folder = Path(outputs) / group / (name or known.name)
    return Recording(folder, model, method, known, example, overwrite)


class Recording:
    """A run that is being recorded; `folder` is its run folder.

    The state is running inside the context and finished, failed or interrupted after it. A run that
    did not finish is begun over, unless `resume` is called before the first row.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        method: Method,
        settings: Settings,
        example: Any,
        overwrite: bool,
    ) -> None:
        self.folder, self._model, self._method = folder, model, method
        self._settings, self._example, self._overwrite = settings, example, overwrite
        self._work: MultiplyAdds | None = None
        self._metrics: Rows | None = None  # opened at the first row
        self._layers: Rows | None = None
        self._resumed_at = 0
        self._since = time.perf_counter()

    def __enter__(self) -> Self:
        """Make the folder and own it.

        Raises FileExistsError for a finished run and for another one, BusyError for one that
        another process writes.
        """
        self._settings.refuse_folder(self.folder, self._overwrite)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._status = Status(self.folder)
        self._log = open_log(self.folder)
        device = next(self._model.parameters()).device
        if self._example is not None:
            self._work = multiply_adds(self._model, self._example)
        (self.folder / SUMMARY_FILE).unlink(missing_ok=True)
        self._settings.write(self.folder)
        known = facts(device)
        with suppress(PackageNotFoundError):
            known["versions"][self._settings.loop] = version(self._settings.loop)
        self._status.begin(threads=torch.get_num_threads(), **known)
        self._log.info(f"{self.folder}: {self._method.describe()}, loop {self._settings.loop}")
        self._since = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
            elif isinstance(error, Exception):
                self._log.error("".join(traceback.format_exception(error)))
                self._status.end(FAILED, error=error_line(error))
            else:
                self._status.end(INTERRUPTED)
        finally:
            for rows in (self._metrics, self._layers):
                if rows:
                    rows.close()
            close_log(self._log)
            self._status.release()

    def resume(self, step: int) -> None:
        """Keep the rows up to a step, from which training goes on; call it before the first row."""
        if self._layers:
            raise RuntimeError("resume(step) belongs before the first row of a run")
        self._resumed_at = step
        self._log.info(f"resuming at step {step}")

    def log(self, *, epoch: float, step: int, **figures: Any) -> list[LayerFigures]:
        """Write a row of metrics.csv, and one for each layer of layers.csv; return the latter.

        epoch, step: how many are done. figures: columns of metrics.csv: lr, train_loss,
        train_accuracy, test_loss, test_accuracy, the same of validation, those of other tasks such
        as test_bits_per_byte, seconds (default: since the row before) and images_per_second;
        accuracies in [0, 1]. Density, multiply-adds and the method's columns are added. Waits for
        the device. Raises ValueError for another column, and for one that the first row lacks.
        """
        row: dict[str, float | None] = {"epoch": _whole(epoch), "step": step}
        row |= checked_figures(figures)
        if self._metrics:
            refuse_new(row, self._metrics_file)
        layers = self.log_layers(epoch=epoch, step=step)
        row["density"] = masked_density(layers)
        row["density_model"] = model_density(layers, sum(self._left_dense().values()))
        row["flops_fraction"] = self._work.fraction(layers) if self._work else None
        row.setdefault("seconds", time.perf_counter() - self._since)
        self._since = time.perf_counter()
        if not self._metrics:
            columns = columns_for(row, self._method.metric_columns)
            self._metrics = open_rows(self._metrics_file, columns, self._resumed_at)
        self._metrics.append([self._method.metrics() | row])
        words = [f"{key} {value:.6g}" for key, value in row.items() if value is not None]
        self._log.info("  ".join(words))
        return layers

    def log_layers(self, *, epoch: float, step: int) -> list[LayerFigures]:
        """Write rows of layers.csv alone, between epochs; return them."""
        if self._status.lost:
            self._status.confirm()
        if not self._layers:
            self._layers = open_rows(self.folder / LAYERS_FILE, LAYERS, self._resumed_at)
        layers = self._method.measure()
        place = {"epoch": _whole(epoch), "step": step}
        self._layers.append(
            [place | asdict(layer) | {"density": layer.density} for layer in layers]
        )
        return layers

    @property
    def _metrics_file(self) -> Path:
        return self.folder / METRICS_FILE

    def _left_dense(self) -> dict[str, int]:
        return weights_left_dense(self._model, self._method.left_dense)

    def _finish(self) -> None:
        """Write summary.json and the state finished. Raises RuntimeError without a row."""
        rows = []
        is_resumed = self._resumed_at and self._metrics_file.is_file()
        if self._metrics or is_resumed:
            for row in read_csv(self._metrics_file):
                rows.append({column: number(text) for column, text in row.items()})
        if not rows:
            error = "nothing was recorded: call log(epoch=…, step=…) at the end of an epoch"
            self._status.end(FAILED, error=error)
            raise RuntimeError(error)
        added = sum(one.numel() for one in self._method.added_parameters())
        summary = summarise(
            rows,
            self._method.measure(),
            left_dense=self._left_dense(),
            reasons=self._method.left_dense,
            parameters=sum(one.numel() for one in self._model.parameters()) - added,
            thresholds=added,
            work=self._work,
        )
        write_json(self.folder / SUMMARY_FILE, summary)
        digests = {name: sha256(self.folder / name) for name in RESULT_FILES}
        self._status.end(FINISHED, files=digests)


def _whole(epoch: float) -> float:
    """Return an epoch as a whole number where it is one."""
    return int(epoch) if epoch == int(epoch) else round(epoch, 4)
