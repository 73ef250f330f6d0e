"""Run folders without training: the files of a few epochs with figures that are easy to check."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from dstrun.config.check import check
from dstrun.runs.identity import run_name
from dstrun.runs.metrics import LAYERS, METRICS, Rows
from dstrun.system.files import write_json
from dstrun.system.run_files import CONFIG_FILE

BASE = {
    "model.name": "lenet_300_100",
    "model.builder": "lenet_300_100",
    "data.name": "mnist",
    "data.builder": "mnist",
    "schedule.epochs": 2,
}
LAYER_TOTALS = {"fc1": 300, "fc2": 100}


def leave(
    folder: Path = Path("outputs/made"),
    accuracies: Sequence[float] = (0.9, 0.95),
    densities: Sequence[float] = (0.5, 0.25),
    state: str = "finished",
    created: int = 0,
    **options: Any,
) -> Path:
    """Write a run folder with one epoch per accuracy, and return it.

    `options` has `__` for the dots: reg__alpha=1e-3. fc1, of 300 weights, has the density of the
    model; so has fc2, of 100. An epoch is 10 steps and 2 seconds.
    """
    config = check(BASE | {key.replace("__", "."): value for key, value in options.items()})
    run = folder / run_name(config)
    run.mkdir(parents=True)
    text = yaml.dump(asdict(config), Dumper=yaml.CSafeDumper, sort_keys=False)
    (run / CONFIG_FILE).write_text(text)  # `write_config` takes 9 ms
    epochs = list(enumerate(zip(accuracies, densities, strict=True), start=1))
    figures: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "lr": 0.01,
            "train_loss": 1 / epoch,
            "penalty": 400.0,
            "train_accuracy": accuracy / 2,
            "test_loss": 2 / epoch,
            "test_accuracy": accuracy,
            "density": density,
            "density_model": density,
            "flops_fraction": density / 2,
            "seconds": 2.0,
            "images_per_second": 320.0,
        }
        for epoch, (accuracy, density) in epochs
    ]
    layers = [
        layer_row(epoch, 10 * epoch, layer, density)
        for epoch, (_, density) in epochs
        for layer in LAYER_TOTALS
    ]
    rows(run / "metrics.csv", METRICS, figures)
    rows(run / "layers.csv", LAYERS, layers)
    (run / "train.log").write_text("2026-11-23 12:00:00 begins\n")
    status(run, state=state, created=f"2026-11-23T12:00:{created:02}+00:00")
    if state == "finished" and epochs:
        kept = int(400 * densities[-1])
        totals = {
            "kept": kept,
            "total": 400,
            "parameters": 410,
            "parameters_kept": kept + 10,
            "total_seconds": 4.0,
        }
        write_json(run / "summary.json", figures[-1] | totals)
    return run


BY_METHOD = {"rigl": (0.96, 0.92), "set": (0.94, 0.9), "dst": (0.95, 0.94)}  # at 10 and 5 %


def leave_methods(seeds: int = 1) -> None:
    """Leave runs of RigL and SET, with their own ΔT, and of steered DST at 10 and 5 %, and dense.

    Accuracies are those of BY_METHOD, one percent less for each further seed.
    """
    made = 0
    for seed in range(seeds):
        less = 0.01 * seed
        leave(accuracies=[0.98 - less], densities=[1.0], seed=seed, reg__method="dense")
        for place, density in enumerate((0.1, 0.05)):
            for method, accuracies in BY_METHOD.items():
                made += 1
                options = {"reg__method": method, "reg__density": density, "seed": seed}
                options["reg__every"] = 100 if method == "rigl" else 0
                leave(
                    accuracies=[accuracies[place] - less],
                    densities=[density],
                    created=made,
                    **options,
                )


def layer_row(epoch: int, step: int, layer: str, density: float) -> dict[str, Any]:
    total = LAYER_TOTALS[layer]
    return {
        "epoch": epoch,
        "step": step,
        "layer": layer,
        "kept": int(density * total),
        "total": total,
        "density": density,
        "threshold_mean": 0.1 * epoch,
        "threshold_min": -0.1,
        "threshold_max": 0.2,
        "churn": 0.01,
        "dead_rows": 0,
        "explored": 1.0,
        "grown": 0,
        "dropped": 0,
        "gradient_norm": 0.5,
    }


def rows(path: Path, columns: Sequence[str], content: Sequence[Mapping[str, Any]]) -> None:
    file = Rows(path, columns)
    file.append(content)
    file.close()


def status(run: Path, **content: Any) -> None:
    file = run / "status.json"
    there = json.loads(file.read_text()) if file.exists() else {}
    write_json(file, there | content)
