"""Catalogue of figures by name, and which of them the views of reports and dashboard show."""

from collections.abc import Iterator

from dstrun.compare.figures import (
    layer_views,
    mask_views,
    method_views,
    overview_views,
    training_views,
)
from dstrun.compare.figures.view import Entry, Source, View

FIGURES: dict[str, Entry] = {
    "accuracy-density": Entry(
        "accuracy against density, a mark per run, with the Pareto front",
        overview_views.front_view,
    ),
    "methods": Entry(
        "accuracy against density, a line and a band per method",
        overview_views.methods_view,
        needs="runs of two sparse methods or more",
    ),
    "alpha": Entry(
        "accuracy and density against α", overview_views.alpha_view, needs="runs with α > 0"
    ),
    "methods-flops": Entry(
        "accuracy against multiply-adds, a line and a band per method",
        overview_views.methods_flops_view,
        needs="runs of two sparse methods or more",
    ),
    "kept": Entry(
        "accuracy against the parameters and multiply-adds that are kept", overview_views.kept_view
    ),
    "parallel": Entry(
        "settings and figures of runs as parallel coordinates",
        overview_views.parallel_view,
        needs="two runs or more",
    ),
    "layers": Entry(
        "density of every layer over epochs",
        layer_views.layers_view,
        needs="runs with rows in layers.csv",
    ),
    "layers-final": Entry(
        "density of every layer at the end, a panel per setting",
        layer_views.final_layers_view,
        needs="runs with rows in layers.csv",
    ),
    "density-map": Entry(
        "density of one run, layer × epoch", layer_views.map_of("density-map"), needs="sparse runs"
    ),
    "layers-methods": Entry(
        "density of every layer at equal density of all, method × layer",
        method_views.layers_methods_view,
        needs="runs of two sparse methods or more at one reg.density",
    ),
    "thresholds": Entry(
        "distribution of every layer's thresholds over epochs",
        layer_views.thresholds_view,
        needs="runs of a method with thresholds",
    ),
    "mask-pattern": Entry(
        "masks as images: every layer of one run, or one layer of several",
        mask_views.pattern_view,
        needs="sparse runs with a checkpoint",
    ),
    "mask-pixels": Entry(
        "weights that the first layer keeps per pixel of the data",
        mask_views.pixels_view,
        needs="sparse runs with a checkpoint, whose first layer reads the pixels of images",
    ),
    "overlap": Entry(
        "overlap of masks between methods, or settings, and seeds",
        mask_views.overlap_view,
        needs="two sparse runs or more with a checkpoint",
    ),
    "threshold-map": Entry(
        "mean threshold of one run, layer × epoch",
        layer_views.map_of("threshold-map"),
        needs="runs of a method with thresholds",
    ),
    "churn-map": Entry(
        "changes of one run's masks, layer × epoch",
        layer_views.map_of("churn-map"),
        needs="sparse runs",
    ),
    "explored-map": Entry(
        "weights of one run that have taken part so far, layer × epoch",
        layer_views.map_of("explored-map"),
        needs="runs whose masks move",
    ),
    "density-curves": Entry("density and accuracy over epochs", training_views.density_curves_view),
    "explored": Entry(
        "weights that have taken part so far, over epochs",
        method_views.course_of("explored"),
        needs="runs whose masks move",
    ),
    "gradient-flow": Entry(
        "norm of the gradient of kept weights over epochs",
        method_views.course_of("gradient-flow"),
        needs="sparse runs whose gradients are recorded",
    ),
    "churn": Entry(
        "changes of masks over epochs", method_views.course_of("churn"), needs="sparse runs"
    ),
    "curves": Entry("loss and accuracy over epochs", training_views.curves_view),
}
OVERVIEW = ("accuracy-density", "methods", "methods-flops", "alpha", "kept", "parallel")
LAYERS = ("thresholds", "mask-pattern", "mask-pixels")
CURVES = ("density-curves", "curves", "explored", "gradient-flow", "churn")
RUN = ("layers", *layer_views.MAPS, "thresholds", "mask-pattern", "mask-pixels")


def overview(source: Source) -> Iterator[View]:
    """Yield figures of accuracy, density and cost of the runs, and of their options."""
    return _made(OVERVIEW, source)


def layers(source: Source) -> Iterator[View]:
    """Yield figures of every layer, for each model and data.

    The density at the end is one map of several methods, and otherwise bars of each setting.
    """
    yield from FIGURES["layers"].make(source)
    by_method = list(FIGURES["layers-methods"].make(source))
    yield from by_method or FIGURES["layers-final"].make(source)
    yield from _made(LAYERS, source)


def overlap(source: Source) -> Iterator[View]:
    """Yield the overlap of masks, which are read of many runs: seconds, at first."""
    return FIGURES["overlap"].make(source)


def curves(source: Source) -> Iterator[View]:
    """Yield figures of training by epoch."""
    return _made(CURVES, source)


def one_run(source: Source) -> Iterator[View]:
    """Yield figures of every layer of one run, the only row of the source's runs.

    None before its first row of layers.csv.
    """
    return _made(RUN, source)


def listing() -> str:
    """Return a line for each figure: its name, and what it shows."""
    width = max(map(len, FIGURES)) + 2
    return "\n".join(f"  {name:<{width}}{entry.about}" for name, entry in FIGURES.items())


def _made(names: tuple[str, ...], source: Source) -> Iterator[View]:
    """Yield the figures of these names."""
    for name in names:
        yield from FIGURES[name].make(source)
