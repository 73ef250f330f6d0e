"""One process's work on one run: what is open while it trains, and what happens at each Record.

    take up the checkpoint, if any  →  train  →  at each Record: rows, console, W&B, checkpoint  →  summary

Ends with the run finished, or with its folder in a state that the same command goes on from. Knows
config, what `build` makes of it, the loop, and the writers of files."""

import logging
import signal
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dstrun.config.options import Config
from dstrun.methods.flops import multiply_adds
from dstrun.methods.mask_stats import LayerFigures, model_density, weights_left_dense
from dstrun.runs import checkpoint
from dstrun.runs.folder import write_config
from dstrun.runs.metrics import (
    LAYERS,
    METRICS,
    RESULTS,
    STEERED,
    VALIDATION,
    Rows,
    check_marked,
    close_log,
    last_row,
    number,
    run_log,
    wandb_row,
    write_json,
)
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, Status
from dstrun.runs.wandb_logger import remove_local_copies, start_wandb, wandb_init, wandb_options
from dstrun.system.errors import (
    BusyError,
    DivergedError,
    InputError,
    Interrupted,
    RunFailedError,
    StoppedByFile,
    described,
)
from dstrun.system.files import sha256
from dstrun.system.machine import facts, keep_freed_memory, out_of_memory, set_threads
from dstrun.system.signals import StopRequest, stop_request
from dstrun.system.terminal import duration
from dstrun.training import describe
from dstrun.training.build import Prepared
from dstrun.training.console import RunConsole
from dstrun.training.evaluate import not_finite
from dstrun.training.loop import Progress, Record
from dstrun.training.notes import changed_from_recipe, recipe_of
from dstrun.training.trainer import Training, where_it_began

STOP = "stop"  # a file of this name in a run's folder stops the run at the next epoch's end, from whatever machine


class Session:
    """One process's work on one run: what is open while it trains, and what happens at each
    Record."""

    def __init__(self, folder: Path, config: Config, prepared: Prepared, status: Status) -> None:
        self._config = config
        self._folder, self._prepared, self._status = folder, prepared, status
        self._stop_file = folder / STOP
        self._log: logging.Logger = run_log(folder / "train.log")
        self._console = RunConsole(self._log)
        self._saved_at = time.monotonic()
        self._compiling_since: float | None = None

    def go(self) -> None:
        """Trains to the end, or raises Interrupted or RunFailedError with the folder ready to go on
        from.

        InputError where the folder cannot be written, BusyError where another process has taken the
        run."""
        keep_freed_memory()
        try:
            threads = set_threads(self._config.threads or self._status.content.get("threads", 0))
            self._config = write_config(self._folder, self._config)
            self._status.begin(
                threads=threads, data=self._prepared.data, **facts(self._prepared.device)
            )
            self._stop_file.unlink(missing_ok=True)
            with stop_request() as stop:
                self._go(stop)
        except OSError as error:
            raise InputError(f"outputs: {error}") from error
        finally:
            self._console.stop()
            close_log(self._log)

    def _go(self, stop: StopRequest) -> None:
        try:
            self._set_up()
            self._train(stop)
            self._finish()
        except BusyError:
            raise
        except KeyboardInterrupt:
            self._status.end(INTERRUPTED)
            raise
        except Exception as error:
            line = self._described(error)
            self._log.error(traceback.format_exc())
            self._console.stop()
            self._console.say(
                f"{self._folder}: failed, {line} (traceback in train.log)", style="red"
            )
            with suppress(
                OSError
            ):  # on a full disk the state stays running, of a process that is no more
                self._status.end(FAILED, error=line)
            raise RunFailedError(line) from error
        else:
            self._status.end(
                FINISHED, files={name: sha256(self._folder / name) for name in RESULTS}
            )
            with suppress(OSError):  # the full one serves as well
                checkpoint.save_last(
                    self._folder,
                    {"model": self._training.model.state_dict(), **self._prepared.images},
                )
            if stop.signal:  # came too late for this run, but not for those after it
                raise Interrupted(stop.signal)

    def _set_up(self) -> None:
        config, prepared = self._config, self._prepared
        if config.overwrite:
            checkpoint.remove(self._folder)
            (self._folder / "summary.json").unlink(missing_ok=True)
        state = self._checkpoint()
        self._training = Training(config, prepared, state)
        if state and state["device"] != prepared.device.type:
            self._console.say(
                f"begun on {state['device']}: the figures to come may differ in their last digits"
            )
        model, method = self._training.model, self._training.method
        self._work = multiply_adds(model, torch.zeros(1, *prepared.shape, device=prepared.device))
        self._left_dense = weights_left_dense(model, method.left_dense)
        self._status.confirm()
        if not state and last_row(self._folder / "metrics.csv"):
            self._begin_over()
        kept = {name: mark["bytes"] for name, mark in state["files"].items()} if state else {}
        metrics = (
            METRICS
            + (VALIDATION if prepared.validation else ())
            + (STEERED if config.reg.steered else ())
        )
        self._metrics = Rows(self._folder / "metrics.csv", metrics, kept.get("metrics.csv", 0))
        self._layers = Rows(self._folder / "layers.csv", LAYERS, kept.get("layers.csv", 0))
        self._console.say(str(self._folder), style="bold")
        self._console.facts(self._facts())
        for note in [
            *(f"data.root: {note}" for note in prepared.splits.notes),
            *prepared.trial.notes,
        ]:
            self._console.say(f"note: {note}", style="yellow")

    def _begin_over(self) -> None:
        """Count that rows which the run has logged will be logged again: W&B keeps them apart by
        the run's id."""
        self._status.write(begun_over=self._begun_over + 1)
        remove_local_copies(self._config, self._folder)

    @property
    def _begun_over(self) -> int:
        return int(self._status.content.get("begun_over", 0))

    def _train(self, stop: StopRequest) -> None:
        schedule = self._config.schedule
        mode, init = (
            wandb_options(self._config).mode,
            wandb_init(self._config, self._folder, self._begun_over),
        )
        self._tracker = start_wandb(mode, self._log, self._console.say, **init)
        exit_code = 1
        try:
            if schedule.compile != "off" and schedule.epochs:
                self._compiling_since = time.monotonic()
                self._console.say(
                    "compiling: seconds where torch has kept it from an earlier run, else up to minutes"
                )
            steps = schedule.epochs * len(self._training.batches)
            self._console.start(
                steps, self._training.progress.step, schedule.batch_size, schedule.epochs
            )
            for record in self._training.records(
                lambda progress: self._between_steps(progress, stop)
            ):
                self._take(record, stop)
            self._save()
            exit_code = 0
        finally:
            self._metrics.close()
            self._layers.close()
            self._tracker.finish(exit_code)

    def _facts(self) -> dict[str, str]:
        """What is about to be trained, and on what."""
        config, prepared, training, status = (
            self._config,
            self._prepared,
            self._training,
            self._status.content,
        )
        size = self._size()
        step, steps = training.progress.step, config.schedule.epochs * len(training.batches)
        dense = describe.dense_line(self._left_dense, training.method.left_dense, size.masked)
        return {
            "data": describe.data_line(config.data.name, prepared.data),
            "model": describe.model_line(config, size),
            "left dense": dense if size.thresholds else "",
            "method": describe.method_line(config, size, bool(dense)),
            "schedule": describe.schedule_line(
                config, len(training.batches), recipe_of(config), changed_from_recipe(config)
            ),
            "device": describe.device_line(
                status["device"], status["device_name"], status["threads"]
            ),
            "resuming": f"at step {step:,} of {steps:,}" if step else "",
        }

    def _size(self) -> describe.Size:
        """Trained parameters and weights of the model, from its tensors' shapes."""
        thresholds = {id(threshold) for threshold in self._training.method.thresholds()}
        trained = [p for p in self._training.model.parameters() if id(p) not in thresholds]
        weights = sum(parameter.numel() for parameter in trained if parameter.dim() > 1)
        return describe.Size(
            parameters=sum(parameter.numel() for parameter in trained),
            masked=weights - sum(self._left_dense.values()),
            thresholds=sum(threshold.numel() for threshold in self._training.method.thresholds()),
        )

    def _checkpoint(self) -> dict[str, Any] | None:
        """The state to go on from, the newest that can be used; None where there is none.

        LaterFormatError, rather than starting over, for one that a later dstrun can use.
        """
        paths = checkpoint.there(self._folder)
        for at, path in enumerate(paths):
            then = "starting over" if at + 1 == len(paths) else f"trying {paths[at + 1].name}"
            try:
                state = checkpoint.load(path)
                for name, mark in state["files"].items():
                    check_marked(self._folder / name, mark)
            except checkpoint.LaterFormatError:
                raise
            except KeyError:
                self._console.say(f"{path} is not one that a run can go on from: {then}")
            except (OSError, ValueError) as error:
                self._console.say(f"{error}: {then}")
            else:
                return state
        return None

    def _between_steps(self, progress: Progress, stop: StopRequest) -> bool:
        self._console.step(progress.step, self._figures_so_far)
        if self._status.lost:
            self._status.confirm()
        if self._compiling_since is not None:
            self._console.say(
                f"compiled: first step after {time.monotonic() - self._compiling_since:.1f} s"
            )
            self._compiling_since = None
        return bool(stop) or self._checkpoint_due()

    def _figures_so_far(self) -> dict[str, float]:
        """Epoch under way, its mean loss and accuracy so far, and the density now; waits for the
        device."""
        progress, kept, total = (
            self._training.progress,
            int(self._training.method.kept()),
            self._size().masked,
        )
        dense = sum(self._left_dense.values())
        return {
            "epoch": progress.epoch + 1,
            "loss": float(progress.loss_sum) / progress.images,
            "accuracy": float(progress.right) / progress.images,
            "density": kept / total,
            "density_model": (kept + dense) / (total + dense),
        }

    def _checkpoint_due(self) -> bool:
        every = self._config.checkpoint.every
        return every > 0 and time.monotonic() - self._saved_at > every

    def _take(self, record: Record, stop: StopRequest) -> None:
        """Writes what a Record says; then saves where it is due, and stops where it is asked
        for."""
        layers = [_layer_row(record, layer) for layer in record.layers]
        self._layers.append(layers)
        if record.kind == "epoch":
            figures = record.figures | {"epoch": record.epoch, "step": record.step}
            figures["flops_fraction"] = self._work.fraction(record.layers)
            self._metrics.append([figures])
            self._console.epoch(record.epoch, self._config.schedule.epochs, figures)
            self._tracker.log(wandb_row(figures, layers))
            self._check_finite(stop)
        if self._training.progress.epoch == self._config.schedule.epochs:
            return
        asked = record.kind == "epoch" and self._stop_file.exists()
        if asked:
            stop.signal = signal.SIGTERM
        if stop or self._checkpoint_due() or self._config.checkpoint.every == 0:
            if record.kind != "epoch":
                self._check_finite(stop)
            self._save()
        if stop.signal:
            self._console.stop()
            self._console.say(
                f"{self._folder}: interrupted at step {record.step}; run the same command to resume",
                style="yellow",
            )
            raise (StoppedByFile if asked else Interrupted)(stop.signal)

    def _check_finite(self, stop: StopRequest) -> None:
        """DivergedError, before anything is saved, where a parameter is NaN or infinite: which was
        first, and when.

        The search trains again from the last checkpoint, which is at most `checkpoint.every` and an
        epoch old."""
        broken = not_finite(self._training.model)
        if not broken:
            return
        progress = self._training.progress
        state = self._checkpoint()
        kept = (
            f"the checkpoint of step {state['progress']['step']} is kept"
            if state
            else "there is no checkpoint yet"
        )
        self._console.say(
            f"NaN or infinite by step {progress.step}; {kept}; repeating the steps since then to find the first bad one"
        )
        step, first = where_it_began(
            self._config, self._prepared, state, progress.step, lambda: bool(stop)
        )
        if first:
            epoch = (step - 1) // len(self._training.batches) + 1
            when, names = f"from step {step}, in epoch {epoch}", first
        else:
            when, names = f"by step {progress.step}", broken
        where = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        raise DivergedError(
            f"NaN or infinite {when}: {where}; {kept}; a lower schedule.lr may help"
        )

    def _described(self, error: Exception) -> str:
        if not out_of_memory(error):
            return described(error)
        schedule = self._config.schedule
        pieces = f" in {schedule.accumulate} pieces" if schedule.accumulate > 1 else ""
        return (
            f"out of memory at schedule.batch_size={schedule.batch_size}{pieces} on {self._prepared.device}: "
            f"schedule.accumulate={2 * schedule.accumulate} computes the same batches in smaller pieces"
        )

    def _save(self) -> None:
        files = {"metrics.csv": self._metrics.mark(), "layers.csv": self._layers.mark()}
        checkpoint.save(
            self._folder, {**self._training.state_dict(), **self._prepared.images, "files": files}
        )
        self._saved_at = time.monotonic()

    def _finish(self) -> None:
        self._stop_file.unlink(missing_ok=True)
        layers = self._training.method.measure()
        summary = self._summary(layers)
        write_json(self._folder / "summary.json", summary)
        self._console.stop()
        kept: dict[str, list[int]] = {}
        courses: dict[str, list[float]] = {}
        for row in self._layers.read():
            courses.setdefault(row["layer"], []).append(float(row["density"]))
            kept.setdefault(row["step"], []).append(int(row["kept"]))
        courses |= {"model": [sum(counts) / summary["total"] for counts in kept.values()]}
        self._console.layers(
            [asdict(layer) for layer in layers], courses, sum(self._left_dense.values())
        )
        self._console.say(
            describe.result_line(summary, duration(summary["total_seconds"])), style="bold green"
        )
        self._console.facts(
            describe.next_commands(self._folder, sparse=bool(summary["thresholds"]))
        )
        self._console.say(str(self._folder))

    def _summary(self, layers: Sequence[LayerFigures]) -> dict[str, Any]:
        """The last epoch's figures; the best by validation where there is one; what was kept of
        what there was.

        `total` and `kept` are weights of masked layers, `weights` and `weights_kept` those of the
        whole model."""
        rows = [
            {column: number(text) for column, text in row.items()} for row in self._metrics.read()
        ]
        reasons, size = self._training.method.left_dense, self._size()
        kept, total = (sum(getattr(layer, key) for layer in layers) for key in ("kept", "total"))
        weights = total + sum(self._left_dense.values())
        summary: dict[str, Any] = {
            **rows[-1],
            "density_model": model_density(layers, weights - total),
            "kept": kept,
            "total": total,
            "weights": weights,
            "weights_kept": weights - (total - kept),
            "parameters": size.parameters,
            "parameters_kept": size.parameters - (total - kept),
            "thresholds": size.thresholds,
            "multiply_adds": self._work.total,
            "multiply_adds_kept": self._work.kept(layers),
            "left_dense": {
                name: {"weights": count, "reason": reasons[name]}
                for name, count in self._left_dense.items()
            },
            "total_seconds": sum(row["seconds"] or 0 for row in rows),
        }
        if self._prepared.validation:
            at_target = [row for row in rows if self._config.reg.steered and row["alpha"] == 0]
            summary["best_by_validation"] = max(
                at_target or rows, key=lambda row: row["validation_accuracy"] or 0
            )
        return summary


def _layer_row(record: Record, layer: LayerFigures) -> dict[str, Any]:
    return {"epoch": record.epoch, "step": record.step, **asdict(layer), "density": layer.density}
