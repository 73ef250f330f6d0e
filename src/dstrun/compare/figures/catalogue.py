"""Catalogue of what a report and the dashboard show: figures, each with a title and a caption."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from dstrun.compare import aggregate, paper
from dstrun.compare.figures.alpha import against_alpha
from dstrun.compare.figures.curves import density_and_accuracy, learning_curves
from dstrun.compare.figures.layers import final_density, heat_map, layer_density
from dstrun.compare.figures.methods import against_density
from dstrun.compare.figures.panels import Figure
from dstrun.compare.figures.parallel import parallel_coordinates
from dstrun.compare.figures.pareto import accuracy_density, kept_against_accuracy
from dstrun.compare.headlines import headlines_of
from dstrun.compare.labels import is_dense, sparse_methods
from dstrun.compare.run_tables import Store

CURVES = 24  # runs in a figure with a line per run
LAYERED = 4  # runs in a figure of every layer
FRONT_CAPTION = (
    "Each mark is a run, open while it is not finished. The grey line is the Pareto front: no "
    "other run is both more accurate and sparser than those on it. Runs with a far lower accuracy "
    "are outside the range of the axis; double-click to show them."
)
OWN_FRONTS = " The coloured lines are the fronts of methods."
KEPT_CAPTION = (
    "Parameters include biases and norms, and are known once a run is finished. Multiply-adds are "
    "those of one image."
)
FINAL_CAPTION = (
    "Density of every layer at the end: a panel per setting, mean and standard deviation over its "
    "runs. The scales of the panels differ, so that their shapes can be compared."
)
METHODS_CAPTION = (
    "A line per method: means over seeds, and a band of one standard deviation. Grey, dashed: "
    "dense runs. Lines are moved sideways, each 2 % from the last, so that none hides another."
)
MAPS = {
    "density": ("Density, layer × epoch", "The scale of colours is logarithmic."),
    "threshold_mean": (
        "Mean threshold, layer × epoch",
        "In units of |w|: a weight below its threshold is masked.",
    ),
    "churn": (
        "Churn, layer × epoch",
        "The share of a layer's mask that changed since the previous row.",
    ),
    "explored": (
        "Explored, layer × epoch",
        "The share of a layer's weights that have taken part so far.",
    ),
}


class View(NamedTuple):
    """A figure with its title, and a caption that says how to read it."""

    title: str
    caption: str
    figure: Figure


def overview(runs: pd.DataFrame) -> Iterator[View]:
    """Yield figures of accuracy, density and cost of the runs, and of their options."""
    usable = runs[runs["epoch"].notna()]
    pairs = set(zip(runs["model.name"], runs["data.name"], strict=True))
    settings = aggregate.by_setting(usable)
    has_methods = len(sparse_methods(settings)) > 1
    headline = " or ".join(figure.title for figure in headlines_of(usable)).capitalize()
    caption = FRONT_CAPTION if headline == "Accuracy" else _of_any_figure(FRONT_CAPTION)
    yield View(
        f"{headline} against what remains",
        caption + OWN_FRONTS if has_methods else caption,
        accuracy_density(usable, paper.published_rows(pairs)),
    )
    if has_methods:
        yield View(
            f"{headline} against density, by method", METHODS_CAPTION, against_density(settings)
        )
    if (settings["reg.alpha"] > 0).any():
        yield View(
            f"{headline} and what remains against α",
            "Marks are means over seeds, bars standard deviations.",
            against_alpha(settings, paper.published_densities(pairs)),
        )
    yield View(
        f"{headline} against what is left to store and to compute",
        KEPT_CAPTION if headline == "Accuracy" else KEPT_CAPTION.replace("image", "example"),
        kept_against_accuracy(usable),
    )
    if len(usable) > 1:
        yield View(
            "Settings and what came of them",
            "Each line is a run, from its settings on the left to its figures on the right.",
            parallel_coordinates(usable),
        )


def _of_any_figure(caption: str) -> str:
    """Return the caption of a front in words for figures of which low values may be the better."""
    words = {"more accurate": "better", "a far lower accuracy": "a far worse figure"}
    for word, other in words.items():
        caption = caption.replace(word, other)
    return caption


def curves(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """Yield figures of training by epoch."""
    usable = runs[runs["epoch"].notna()]
    some = usable.head(CURVES)
    epochs, share = store.epochs(some["run"]), _share(some, usable, "the first to start")
    for figure in headlines_of(some):
        own = some[some[figure.column()].notna()] if len(headlines_of(some)) > 1 else some
        yield View(
            f"Density and {figure.title}",
            f"{share}Dashed: density, left axis. Solid: test {figure.title}, right axis.",
            density_and_accuracy(epochs, own),
        )
    yield View(
        "Learning curves",
        f"{share}Click a name in the legend to hide its run, double-click to see it alone.",
        learning_curves(epochs, some),
    )


def layers(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """Yield figures of every layer, for each model and data."""
    usable = runs[runs["epoch"].notna()]
    for (model, data), some in usable.groupby(["model.name", "data.name"], sort=False):
        suffix = f", {model} on {data}" if len(some) < len(usable) else ""
        yield _density_by_epoch(store, some, suffix)
        yield _final_density(store, some, suffix)


def _density_by_epoch(store: Store, runs: pd.DataFrame, suffix: str) -> View:
    """Return the density of every layer over epochs, of a few runs that are spread over density."""
    some = runs if len(runs) <= LAYERED else runs.loc[aggregate.choose_runs(runs, LAYERED)]
    share = _share(some, runs, which_layered(runs))
    return View(
        f"Density of every layer by epoch{suffix}",
        f"{share}A panel per layer, a line per run.",
        layer_density(store.layers(some["run"]), some),
    )


def which_layered(runs: pd.DataFrame) -> str:
    """Return in words which of the runs `aggregate.choose_runs` chooses."""
    if len(sparse_methods(runs)) > 1:
        return "one per method, at the lowest density that all of them reach"
    return "one per setting, spread over density"


def _final_density(store: Store, runs: pd.DataFrame, suffix: str) -> View:
    """Return the density of every layer at the end, of all runs of a few settings."""
    done = aggregate.finished_runs(runs)
    chosen = done.loc[aggregate.choose_runs(done, LAYERED), "series"]
    order = {series: place for place, series in enumerate(chosen)}
    some = done[done["series"].isin(order)]
    some = some.sort_values("series", key=lambda series: series.map(order), kind="stable")
    rows = store.layers(some["run"])
    agreement = aggregate.agreement(aggregate.by_layer(rows, some))
    return View(
        f"Which layers keep how much{suffix}",
        f"{FINAL_CAPTION} {agreement}." if agreement else FINAL_CAPTION,
        final_density(rows, some),
    )


def one_run(store: Store, runs: pd.DataFrame) -> Iterator[View]:
    """Yield figures of every layer of one run, the only row of `runs`.

    None before its first row of layers.csv.
    """
    rows = store.layers(runs["run"])
    if rows.empty:
        return
    yield View("Density of every layer", "Dashed: all layers together.", layer_density(rows, runs))
    if not is_dense(runs).iloc[0]:
        for quantity, (title, caption) in MAPS.items():
            is_whole = quantity == "explored" and rows[quantity].min() == 1
            if rows[quantity].notna().any() and not is_whole:
                yield View(title, caption, heat_map(rows, quantity))


def _share(some: pd.DataFrame, runs: pd.DataFrame, which: str) -> str:
    """Return '24 of 30 runs, …. ' for some of the runs; '' for all."""
    return "" if len(some) == len(runs) else f"{len(some)} of {len(runs)} runs, {which}. "
