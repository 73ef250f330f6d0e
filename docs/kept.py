"""Tables of the kept runs and exports: docs/runs and docs/inference.json.

`conditions` are those of `dstrun report --filter`. Accuracies, densities and their differences are
percentages unless a function says otherwise.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from dstrun.compare import aggregate, filters
from dstrun.compare.paper import published_rows
from dstrun.compare.run_tables import Store
from dstrun.models import BUILDERS

DOCS = Path(__file__).parent
RUNS = DOCS / "runs"
SHARES = ("accuracy", "validation", "density", "flops", "difference")
# A layer whose density rises by more points in an epoch has had a threshold reset.
RESET = 0.2
# LeNet-300-100 in sweeps/few_updates.yaml: the fixed α that ends near the same density as a run
# with a target density.
MATCHING_ALPHA = {
    "granularity=neuron epochs=3 target_density=0.05": 0.823,
    "granularity=neuron epochs=5 target_density=0.05": 0.01,
    "granularity=neuron epochs=5 target_density=0.5": 1.33e-3,
    "granularity=layer epochs=5 target_density=0.5": 0.523,
    "granularity=weight epochs=5 target_density=0.5": 6.11e-4,
    "granularity=layer epochs=10 target_density=0.5": 0.174,
    "granularity=weight epochs=10 target_density=0.5": 3.16e-4,
}


def sweeps() -> list[str]:
    """Return the names of the folders in docs/runs that hold runs, one or more."""
    return sorted({file.parents[1].name for file in RUNS.glob("*/*/status.json")})


@cache
def store(sweep: str) -> Store:
    """Return the runs of a sweep, which are read once."""
    return Store([RUNS / sweep])


@cache
def runs(sweep: str, conditions: str = "") -> pd.DataFrame:
    """Return one row per run; figures are fractions, as in its files."""
    return filters.where(store(sweep).runs.dropna(axis="columns", how="all"), conditions)


@cache
def fractions(sweep: str) -> pd.DataFrame:
    """Return one row per setting, as `dstrun report` does: means and deviations, in fractions."""
    return aggregate.by_setting(store(sweep).runs)


@cache
def settings(sweep: str) -> pd.DataFrame:
    """Return `fractions` as percentages, without columns that no run has."""
    table = fractions(sweep).dropna(axis="columns", how="all")
    table = table.drop(columns=["setting", "names", "values"])
    shares = [name for share in SHARES for name in (share, f"{share}_std") if name in table]
    return table.assign(**{name: 100 * table[name] for name in shares})


def one(sweep: str, conditions: str) -> Any:
    """Return the one setting that meets the conditions."""
    (row,) = filters.where(settings(sweep), conditions).to_dict("records")
    return SimpleNamespace(**row)


def published(model: str) -> Any:
    """Return the sparse network in table 1 of the paper."""
    table = published_rows([(model, "mnist")]).dropna(subset="difference")
    (row,) = table.assign(
        accuracy=100 * table["accuracy"], density=100 * table["density"]
    ).itertuples()
    return row


def epochs(sweep: str, conditions: str = "") -> pd.DataFrame:
    """Return one row per epoch of each run."""
    table = store(sweep).epochs(runs(sweep, conditions)["run"])
    return table.assign(density=100 * table["density"], test_accuracy=100 * table["test_accuracy"])


@cache
def layers(sweep: str, conditions: str) -> pd.DataFrame:
    """Return one row per run, record and layer.

    `rise` is the increase of its density since the record before, in points.
    """
    table = store(sweep).layers(runs(sweep, conditions)["run"])
    table = table.assign(
        density=100 * table["density"],
        layer=table["layer"].astype(str),
        run=table["run"].astype(str),
    )
    return table.assign(rise=table.groupby(["run", "layer"])["density"].diff())


def by_epoch(sweep: str, conditions: str) -> pd.DataFrame:
    """Return the density in one run: one row per epoch, one column per layer."""
    return layers(sweep, conditions).pivot(index="epoch", columns="layer", values="density")


def at_end(sweep: str, conditions: str) -> pd.DataFrame:
    """Return the density after the last epoch: one row per run, one column per layer."""
    table = layers(sweep, conditions)
    return table[table["epoch"] == table["epoch"].max()].pivot(
        index="run", columns="layer", values="density"
    )


def epochs_with_reset(table: pd.DataFrame) -> list[int]:
    """Return in how many epochs of each run the density of one of these layers has risen.

    Only threshold resets cause that. Runs without such an epoch are left out.
    """
    return table[table["rise"] > RESET].groupby("run")["epoch"].nunique().tolist()


def share(layer: str, table: pd.DataFrame) -> float:
    """Return the percentage of the weights of all layers that one layer holds."""
    totals = table.groupby("layer")["total"].first()
    return 100 * totals[layer] / totals.sum()


def dead_rows(sweep: str, conditions: str) -> int:
    """Return how many rows have no kept weight at the end of one run."""
    table = layers(sweep, conditions)
    return int(table[table["epoch"] == table["epoch"].max()]["dead_rows"].sum())


@cache
def rows_of_wide_resnet(width: int) -> int:
    """Return the number of filters and output neurons of WideResNet-16-`width` on CIFAR-10."""
    model = BUILDERS["wide_resnet"]((3, 32, 32), 10, depth=16, width=width)
    return sum(
        len(part.weight) for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)
    )


def within_seeds(first: Any, second: Any, figure: str = "accuracy") -> bool:
    """Return whether two settings differ by no more than the larger standard deviation."""
    most = max(getattr(first, f"{figure}_std"), getattr(second, f"{figure}_std"))
    return abs(getattr(first, figure) - getattr(second, figure)) <= most


def points_above_line(sweep: str, conditions: str) -> dict[float, float]:
    """Return by target density how many points a run is above the line through the fixed α.

    Between two fixed α, accuracy is linear in log density; the line is extended by a tenth at most.
    Runs that a threshold reset has returned to more than half of their weights are left out.
    """
    table = filters.where(settings(sweep), f"method=dst {conditions}").sort_values("density")
    fixed = table[table["reg.alpha"].notna() & (table["density"] < 50)]
    at, accuracy = np.log(fixed["density"].to_numpy()), fixed["accuracy"].to_numpy()
    found = {}
    for target, x, y in zip(
        table["reg.target_density"], np.log(table["density"]), table["accuracy"], strict=True
    ):
        if target > 0 and at[0] - 0.11 < x < at[-1] + 0.1:
            right = np.searchsorted(at, x).clip(1, len(at) - 1)
            slope = (accuracy[right] - accuracy[right - 1]) / (at[right] - at[right - 1])
            found[target] = float(y - accuracy[right] - slope * (x - at[right]))
    return found


def between_versions() -> tuple[float, float]:
    """Return the largest difference in accuracy between sweeps with the same runs, in points.

    Of single runs, and of means of three.
    """
    everything = pd.concat([store(sweep).runs.assign(sweep=sweep) for sweep in sweeps()])
    table = everything.pivot(index=["setting", "run"], columns="sweep", values="test_accuracy").mul(
        100
    )
    both = table[table.notna().sum(axis=1) > 1].groupby("setting")
    apart = (table, both.mean()[both.count() == 3])
    return tuple(float((some.max(axis=1) - some.min(axis=1)).max()) for some in apart)


@cache
def exports() -> dict[str, dict]:
    """Return what `dstrun export` has recorded, by file."""
    return json.loads((DOCS / "inference.json").read_text())


@cache
def bench() -> pd.DataFrame:
    """Return medians in ms: one row per file, threads and batch size, one column per network."""
    timed = [
        pd.DataFrame(found["bench"]).assign(file=file)
        for file, found in exports().items()
        if "bench" in found
    ]
    by = ["file", "threads", "batch"]
    return pd.concat(timed).pivot_table(index=by, columns="network", values="median", sort=False)


def speeds(images: int, *files: str) -> pd.DataFrame:
    """Return how many times as fast as the dense network each is, at this batch size."""
    times = (
        bench()
        .xs(images, level="batch")
        .loc[[f"{file}.safetensors" for file in files] or slice(None)]
    )
    return times.rdiv(times["dense"], axis=0).drop(columns="dense")


def share_left(file: str) -> float:
    """Return the parameters of a network after shrinking, as a percentage of those before."""
    return 100 * exports()[file]["parameters_shrunk"] / exports()[file]["parameters"]


def bounds(figures: Iterable[float]) -> tuple[float, float]:
    """Return the smallest and the largest figure."""
    return float(np.min(figures)), float(np.max(figures))
