"""What a report and a dashboard show of some runs: figures with a title and a line that says how to
read them.

Knows store, compare, figures and drawing.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from dstrun.compare import aggregate
from dstrun.compare.figures import figures
from dstrun.compare.figures.panels import Figure
from dstrun.compare.run_tables import Store

CURVES = 24  # runs in a figure with a line a run
LAYERED = 4  # runs in a figure of every layer


class View(NamedTuple):
    title: str
    caption: str
    figure: Figure


def overview(runs: pd.DataFrame) -> Iterator[View]:
    """How accurate and how sparse, and by which settings."""
    usable = runs[runs["epoch"].notna()]
    pairs = set(zip(runs["model.name"], runs["data.name"], strict=True))
    settings = aggregate.by_setting(usable)
    yield View(
        "Accuracy against what remains",
        "A mark is a run, open while it is not finished. No other run beats those on the grey line, the Pareto front. "
        "Runs far below the others are out of sight: a double click shows them.",
        figures.accuracy_density(usable, aggregate.published(pairs)),
    )
    if (settings["reg.alpha"] > 0).any():
        yield View(
            "Accuracy and what remains against α",
            "Means over seeds; bars are a standard deviation.",
            figures.against_alpha(settings, aggregate.published_by_alpha(pairs)),
        )
    yield View(
        "Accuracy against what is left to store and to compute",
        "Parameters count biases and norms, known once a run is finished; multiply-adds are those of one image.",
        figures.kept_against_accuracy(usable),
    )
    if len(usable) > 1:
        yield View(
            "Settings and what came of them",
            "A line is a run, from its settings to what it came to.",
            figures.parallel_coordinates(usable),
        )


def curves(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """How training went."""
    usable = runs[runs["epoch"].notna()]
    some = usable.head(CURVES)
    epochs, which = store.epochs(some["run"]), _share(some, usable, "the first of them")
    yield View(
        "Density and accuracy",
        f"{which}Dashed: density, left axis. Solid: test accuracy, right axis.",
        figures.density_and_accuracy(epochs, some),
    )
    yield View(
        "Learning curves",
        f"{which}Click a name in the legend to hide its run, twice to see it alone.",
        figures.learning_curves(epochs, some),
    )


def layers(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """Which layers give way, and when."""
    usable = runs[runs["epoch"].notna()]
    for (model, data), runs in usable.groupby(["model.name", "data.name"], sort=False):
        several = f", {model} on {data}" if len(runs) < len(usable) else ""
        yield from _layers(store, runs, several)


def _layers(store: Store, runs: pd.DataFrame, several: str) -> Iterator[View]:
    some = runs if len(runs) <= LAYERED else runs.loc[aggregate.choice(runs, LAYERED)]
    yield View(
        f"Density of every layer by epoch{several}",
        f"{_share(some, runs, 'one a setting, spread over density')}A panel a layer, a line a run.",
        figures.layer_density(store.layers(some["run"]), some),
    )
    done = aggregate.finished(runs)
    order = {
        series: at for at, series in enumerate(done.loc[aggregate.choice(done, LAYERED), "series"])
    }
    members = done[done["series"].isin(order)].sort_values(
        "series", key=lambda series: series.map(order), kind="stable"
    )
    rows = store.layers(members["run"])
    alike = aggregate.agreement(aggregate.by_layer(rows, members))
    yield View(
        f"Which layers keep how much{several}",
        "Density of every layer at the end, a panel a setting, mean and standard deviation over its runs. Each panel "
        f"has a scale of its own, so that shapes can be compared.{f' {alike}.' if alike else ''}",
        figures.final_density(rows, members),
    )


def one_run(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """One run layer by layer; nothing of one that has no row yet."""
    rows = store.layers(runs["run"])
    if rows.empty:
        return
    yield View(
        "Density of every layer", "Dashed: the whole model.", figures.layer_density(rows, runs)
    )
    maps = {
        "density": ("Density, layer × epoch", "On a logarithmic scale of colours."),
        "threshold_mean": (
            "Mean threshold, layer × epoch",
            "In units of |w|: a weight below its threshold takes no part.",
        ),
        "churn": (
            "Churn, layer × epoch",
            "The share of a layer's mask that changed since the row before.",
        ),
    }
    for quantity, (title, caption) in maps.items():
        if rows[quantity].notna().any() and runs["reg.method"].iloc[0] != "dense":
            yield View(title, caption, figures.heat_map(rows, quantity))


def _share(some: pd.DataFrame, all_: pd.DataFrame, which: str) -> str:
    return "" if len(some) == len(all_) else f"{len(some)} of {len(all_)} runs, {which}. "
