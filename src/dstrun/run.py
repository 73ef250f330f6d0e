"""The composition root: a run from its config to its last file.

    is it there already?  →  can it be done at all?  →  its folder  →  train, a Record at a time  →  summary

Nothing is written before everything that can be checked has been. The only module that knows all the others.
"""

import csv
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor, nn

from dstrun import checkpoint
from dstrun.build import Prepared, make_autocast, make_batches, prepare, training_objects
from dstrun.composition import saved
from dstrun.config import Config, InputError, check
from dstrun.console import RunConsole
from dstrun.density import LayerFigures, model_density
from dstrun.evaluate import evaluate
from dstrun.flops import flops_fraction, positions
from dstrun.identity import run_hash, run_name, settings
from dstrun.machine import StopRequest, facts, set_threads, stop_request
from dstrun.methods import Method
from dstrun.optim import make_optimiser, make_rate
from dstrun.tracking import FINISHED, Busy, Rows, Status, Tracker, close_log, read_json, run_log, start_wandb, write_json, write_whole
from dstrun.train import Progress, Record, train

METRICS = (
    "epoch", "step", "lr", "train_loss", "penalty", "train_accuracy", "test_loss", "test_accuracy", "density",
    "flops_fraction", "seconds", "images_per_second",
)  # fmt: skip
VALIDATION = ("validation_loss", "validation_accuracy")
LAYERS = (
    "epoch", "step", "layer", "kept", "total", "density", "threshold_mean", "threshold_min", "threshold_max", "churn",
    "dead_rows",
)  # fmt: skip


class RunFailed(Exception):
    """A run that was under way has ended without its result; its folder says why. Exit code 1."""


def run(config: Config, default_group: str) -> Path:
    """Does the run that `config` describes, or what is left of it, and gives its folder.

    InputError before anything is written; RunFailed, with the story in the folder, after that; KeyboardInterrupt
    once a request to stop has been met with a checkpoint.
    """
    folder = Path(config.outputs) / (config.group or default_group) / run_name(config)
    state = _state_of(folder, config)
    if config.dry_run:
        print(f"{folder}: {state}")
        return folder
    if state == FINISHED and not config.overwrite:
        print(f"{folder}: finished already (overwrite=true starts over)")
        return folder
    prepared = prepare(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        status = Status(folder)
    except Busy as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    Session(folder, config, prepared, status).go()
    return folder


def _state_of(folder: Path, config: Config) -> str:
    """new, or what status.json says; InputError for a folder that holds something else."""
    if not (folder / "config.yaml").is_file():
        return "new"
    there = settings(check(saved(folder / "config.yaml")))
    if there != settings(config):
        differing = sorted(key for key in {**there, **settings(config)} if there.get(key) != settings(config).get(key))
        raise InputError(f"{folder}: holds another run, which differs in {', '.join(differing)}")
    return read_json(folder / "status.json").get("state", "unfinished")


class Session:
    """One process's work on one run: what is open while it trains, and what happens at each Record."""

    def __init__(self, folder: Path, config: Config, prepared: Prepared, status: Status) -> None:
        self._folder, self._config, self._prepared, self._status = folder, config, prepared, status
        self._log: logging.Logger = run_log(folder / "train.log")
        self._console = RunConsole(self._log)
        self._saved_at = time.monotonic()

    def go(self) -> None:
        """Trains to the end, or leaves the folder in a state that the same command goes on from."""
        write_whole(self._folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(self._config)))
        threads = set_threads(self._config.threads or self._status.content.get("threads", 0))
        self._status.begin(threads=threads, **facts(self._prepared.device))
        try:
            with stop_request() as stop:
                self._train(stop)
        except KeyboardInterrupt:
            self._status.end("interrupted")
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            self._log.error(traceback.format_exc())
            self._status.end("failed", error=line)
            self._console.stop()
            self._console.say(f"{self._folder}: failed, {line} (traceback in train.log)")
            raise RunFailed(line) from error
        finally:
            self._console.stop()
            close_log(self._log)

    def _train(self, stop: StopRequest) -> None:
        config, prepared = self._config, self._prepared
        model, method = training_objects(config, prepared)
        batches, splits = make_batches(config, prepared)
        schedule = config.schedule
        self._optimiser = make_optimiser(
            schedule.optimiser, model, method.thresholds(), lr=schedule.lr, momentum=schedule.momentum,
            nesterov=schedule.nesterov, betas=schedule.betas, weight_decay=schedule.weight_decay,
            threshold_decay=schedule.threshold_decay,
        )  # fmt: skip
        rate = make_rate(
            schedule.rate, lr=schedule.lr, epochs=schedule.epochs, steps_per_epoch=len(batches),
            milestones=schedule.milestones, gamma=schedule.gamma, warmup=schedule.warmup,
        )  # fmt: skip
        self._model, self._method, self._progress = model, method, Progress()
        self._used = positions(model, next(batches.in_order(1))[0])
        self._totals = {name: model.get_parameter(f"{name}.weight").numel() for name in self._used}
        kept_bytes = self._resume()
        self._metrics = Rows(self._folder / "metrics.csv", self._metric_columns(), kept_bytes.get("metrics.csv", 0))
        self._layers = Rows(self._folder / "layers.csv", LAYERS, kept_bytes.get("layers.csv", 0))
        self._console.say(f"{self._folder}: {self._opening()}")
        self._tracker = self._start_wandb()
        exit_code = 1
        try:
            self._console.start(schedule.epochs, len(batches), self._progress.step)
            for record in train(
                model, batches, method, self._optimiser, rate, splits, epochs=schedule.epochs,
                progress=self._progress, accumulate=schedule.accumulate, clip=schedule.clip,
                log_steps=config.log.steps, autocast=make_autocast(config, prepared.device),
                between_steps=lambda progress: self._between_steps(progress, stop),
            ):  # fmt: skip
                self._take(record, stop)
            self._finish(record)
            exit_code = 0
        finally:
            self._metrics.close()
            self._layers.close()
            self._tracker.finish(exit_code)

    def _metric_columns(self) -> tuple[str, ...]:
        return METRICS + (VALIDATION if self._prepared.validation else ())

    def _opening(self) -> str:
        device, threads = self._status.content["device"], self._status.content["threads"]
        where = f"on {device}, {threads} threads" if device == "cpu" else f"on {device}"
        begun = f"goes on at update {self._progress.step}" if self._progress.step else "begins"
        left = [f"{name} ({reason})" for name, reason in self._method.left_dense.items()]
        return f"{begun} {where}" + (f"; left dense: {', '.join(left)}" if left else "")

    def _resume(self) -> dict[str, int]:
        """Takes up the checkpoint where there is a usable one, and says how long each file was then."""
        path = self._folder / "checkpoint.pt"
        if self._config.overwrite:
            path.unlink(missing_ok=True)
        try:
            state = checkpoint.load(path)
            sizes = state["bytes"]
            if any((self._folder / name).stat().st_size < size for name, size in sizes.items()):
                raise ValueError(f"the rows that {path} was written after are not there")
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError) as error:
            self._console.say(f"{error}: starting over")
            return {}
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._method.load_state_dict(state["method"])
        self._progress = Progress(**state["progress"])
        checkpoint.set_generators(state["generators"])
        return sizes

    def _between_steps(self, progress: Progress, stop: StopRequest) -> bool:
        self._console.step(progress.step)
        return bool(stop) or self._checkpoint_due()

    def _checkpoint_due(self) -> bool:
        every = self._config.checkpoint.every
        return every > 0 and time.monotonic() - self._saved_at > every

    def _take(self, record: Record, stop: StopRequest) -> None:
        """Writes what a Record says; then saves where it is due, and stops where it is asked for."""
        self._layers.append([_layer_row(record, layer) for layer in record.layers])
        if record.kind == "epoch":
            figures = record.figures | {"epoch": record.epoch, "step": record.step}
            kept = {layer.layer: layer.kept for layer in record.layers}
            figures["flops_fraction"] = flops_fraction(self._totals, kept, self._used)
            self._metrics.append([figures])
            self._console.epoch(record.epoch, self._config.schedule.epochs, figures)
            self._tracker.log(_wandb_row(figures, record.layers))
        if stop or self._checkpoint_due() or self._config.checkpoint.every == 0:
            self._save()
        if stop:
            self._console.stop()
            self._console.say(f"{self._folder}: interrupted at update {record.step}; the same command goes on")
            raise KeyboardInterrupt

    def _save(self) -> None:
        state = {
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "method": self._method.state_dict(),
            "progress": self._progress.state_dict(),
            "generators": checkpoint.generators(),
            "bytes": {"metrics.csv": self._metrics.size(), "layers.csv": self._layers.size()},
        }
        checkpoint.save(self._folder / "checkpoint.pt", state)
        self._saved_at = time.monotonic()

    def _finish(self, record: Record) -> None:
        checkpoint.save(self._folder / "checkpoint.pt", {"model": self._model.state_dict()})
        write_json(self._folder / "summary.json", self._summary(record))
        self._console.stop()
        self._console.layers([asdict(layer) for layer in record.layers])
        self._console.say(str(self._folder))
        self._status.end(FINISHED)

    def _summary(self, record: Record) -> dict[str, Any]:
        """The last epoch's figures; the best by validation where there is one; what was kept of what there was."""
        with (self._folder / "metrics.csv").open() as file:
            rows = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]
        thresholds = sum(threshold.numel() for threshold in self._method.thresholds())
        parameters = sum(parameter.numel() for parameter in self._model.parameters()) - thresholds
        kept, total = (sum(getattr(layer, key) for layer in record.layers) for key in ("kept", "total"))
        summary: dict[str, Any] = {
            **rows[-1],
            "kept": kept,
            "total": total,
            "parameters": parameters,
            "parameters_kept": parameters - (total - kept),
            "thresholds": thresholds,
            "total_seconds": sum(row["seconds"] for row in rows),
        }
        if self._prepared.validation:
            summary["best_by_validation"] = max(rows, key=lambda row: (row["validation_accuracy"], -row["epoch"]))
        return summary

    def _start_wandb(self) -> Tracker:
        wandb = self._config.wandb
        config = asdict(self._config)
        return start_wandb(
            wandb.mode, self._log, dir=str(self._folder), project=wandb.project, entity=wandb.entity,
            tags=wandb.tags, group=self._folder.parent.name, id=run_hash(self._config),
            name=self._config.name or self._folder.name, config=config,
        )  # fmt: skip


def evaluate_run(folder: Path, config: Config) -> None:
    """Prints the test figures of a run's checkpoint, under the run's config with what eval may change in it."""
    original = settings(check(saved(folder / "config.yaml")))
    if changed := sorted(key for key, value in settings(config).items() if original.get(key) != value):
        raise InputError(f"{changed[0]}: eval leaves a run as it was trained; `dstrun rerun` changes it")
    prepared = prepare(config)
    set_threads(config.threads)
    model, method = training_objects(config, prepared)
    try:
        model.load_state_dict(checkpoint.load(folder / "checkpoint.pt")["model"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {str(error).splitlines()[0]}") from error
    model.to(prepared.device)
    _, splits = make_batches(config, prepared)
    layers = method.measure()
    words = [str(folder)]
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split(), make_autocast(config, prepared.device))
        words.append(f"{name} accuracy {accuracy:.2%}  {name} loss {loss:.4f}")
    print("  ".join([*words, f"density {model_density(layers):.2%}"]))


def _layer_row(record: Record, layer: LayerFigures) -> dict[str, Any]:
    return {"epoch": record.epoch, "step": record.step, **asdict(layer), "density": layer.density}


def _wandb_row(figures: Mapping[str, Any], layers: Sequence[LayerFigures]) -> dict[str, float]:
    """The figures of an epoch under W&B's keys; layers are numbered so that charts stand in the model's order."""
    names = {"density": "density/model", "lr": "lr", "penalty": "penalty", "flops_fraction": "flops/model"}
    names |= {f"{s}_{kind}": f"{kind}/{s}" for s in ("train", "validation", "test") for kind in ("loss", "accuracy")}
    row = {names[key]: value for key, value in figures.items() if key in names and value is not None}
    digits = len(str(len(layers) - 1))
    for number, layer in enumerate(layers):
        label = f"{number:0{max(digits, 2)}}.{layer.layer}"
        row[f"density/{label}"] = layer.density
        if layer.threshold_mean is not None:
            row[f"threshold/{label}"] = layer.threshold_mean
    return {"epoch": figures["epoch"], **row}


def _number(text: str) -> float | int | None:
    if text == "":
        return None
    with suppress(ValueError):
        return int(text)
    return float(text)
