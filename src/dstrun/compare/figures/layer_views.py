"""Views of every layer: over epochs, at the end, and maps of layers × epochs of one run."""

from collections.abc import Callable, Iterator

import pandas as pd

from dstrun.compare import aggregate
from dstrun.compare.figures.layers import final_density, heat_map, layer_density
from dstrun.compare.figures.thresholds import LAYERS as THRESHOLD_LAYERS
from dstrun.compare.figures.thresholds import has_quantiles, threshold_distribution
from dstrun.compare.figures.view import Source, View, by_network, share
from dstrun.compare.labels import is_dense, sparse_methods, with_labels

LAYERED = 4  # runs in a figure of every layer
FINAL_CAPTION = (
    "Density of every layer at the end: a panel per setting, mean and standard deviation over its "
    "runs. The scales of the panels differ, so that their shapes can be compared."
)
UNIT = "In units of |w|: a weight below its threshold is masked."
BANDS_OF_ONE = (
    "Line: median of a layer's thresholds. Bands, from the darkest: their middle half, 10 to 90 %, "
    "all of them."
)
BANDS = "Lines: median of a layer's thresholds. Bands: 10 to 90 % of them."
EARLIER_BANDS = (
    "Lines: mean of a layer's thresholds. Bands: all of them. Quantiles were not recorded."
)
MAPS = {  # quantity, title and caption, by name
    "density-map": (
        "density",
        "Density, layer × epoch",
        "The scale of colours is logarithmic.",
    ),
    "threshold-map": (
        "threshold_mean",
        "Mean threshold, layer × epoch",
        UNIT,
    ),
    "churn-map": (
        "churn",
        "Churn, layer × epoch",
        "The share of a layer's mask that changed since the previous row.",
    ),
    "explored-map": (
        "explored",
        "Explored, layer × epoch",
        "The share of a layer's weights that have taken part so far.",
    ),
}


def layers_view(source: Source) -> Iterator[View]:
    """Yield the density of every layer over epochs, of a few runs of each model and data."""
    for own, suffix in by_network(source):
        some = a_few(own.runs)
        rows = source.store.layers(some["run"])
        if rows.empty:
            continue
        if len(own.runs) == 1:
            title, caption = "Density of every layer", "Dashed: all layers together."
        else:
            title = "Density of every layer by epoch"
            which = share(some, own.runs, which_layered(own.runs))
            caption = f"{which}A panel per layer, a line per run."
        yield View("layers", f"{title}{suffix}", caption, layer_density(rows, some))


def final_layers_view(source: Source) -> Iterator[View]:
    """Yield the density of every layer at the end, of all runs of a few settings."""
    for own, suffix in by_network(source):
        done = aggregate.finished_runs(own.runs)
        chosen = done.loc[aggregate.choose_runs(done, LAYERED), "series"]
        order = {series: place for place, series in enumerate(chosen)}
        some = done[done["series"].isin(order)]
        some = some.sort_values("series", key=lambda series: series.map(order), kind="stable")
        rows = source.store.layers(some["run"])
        if rows.empty:
            continue
        agreement = aggregate.agreement(aggregate.by_layer(rows, some))
        yield View(
            "layers-final",
            f"Which layers keep how much{suffix}",
            f"{FINAL_CAPTION} {agreement}." if agreement else FINAL_CAPTION,
            final_density(rows, some),
        )


def thresholds_view(source: Source) -> Iterator[View]:
    """Yield the distribution of every layer's thresholds over epochs, of a few runs."""
    for own, suffix in by_network(source):
        with_some = _with_thresholds(own)
        if with_some.empty:
            continue
        some = a_few(with_some)
        rows = source.store.thresholds(some["run"])
        if rows["step"].nunique() < 2:
            continue
        if not has_quantiles(rows):
            bands = EARLIER_BANDS
        else:
            bands = BANDS_OF_ONE if len(some) == 1 else BANDS
        title = f"Thresholds over epochs{suffix}"
        which = share(some, with_some, which_layered(with_some))
        some = some.assign(label=with_labels(some)["label"])  # by what these few differ in
        figure, count = threshold_distribution(rows, some), rows["layer"].nunique()
        more = f" {THRESHOLD_LAYERS} of {count} layers." if count > THRESHOLD_LAYERS else ""
        yield View("thresholds", title, f"{which}{bands} {UNIT}{more}", figure)


def _with_thresholds(source: Source) -> pd.DataFrame:
    """Return the runs of methods with thresholds, of which a few runs are read to know."""
    sparse = source.runs[~is_dense(source.runs)]
    few = a_few(sparse)
    rows = source.store.layers(few["run"])
    names = rows.loc[rows["threshold_mean"].notna(), "run"].unique()
    return sparse[sparse["reg.method"].isin(few.loc[[*names], "reg.method"])]


def map_of(name: str) -> Callable[[Source], Iterator[View]]:
    """Return the function that yields one of MAPS, for each of a few runs."""

    def make(source: Source) -> Iterator[View]:
        quantity, title, caption = MAPS[name]
        for own, suffix in each_run(source):
            rows = source.store.layers(own.runs["run"])
            if says_something(rows, quantity):
                yield View(name, f"{title}{suffix}", caption, heat_map(rows, quantity))

    return make


def each_run(source: Source) -> Iterator[tuple[Source, str]]:
    """Yield each of a few sparse runs, with an ending for titles if there are more than one."""
    usable = source.usable
    some = a_few(usable)
    for name in some.index[~is_dense(some)]:
        yield source.of(some.loc[[name]]), f", {some.loc[name, 'label']}" if len(usable) > 1 else ""


def which_layered(runs: pd.DataFrame) -> str:
    """Return in words which of the runs `aggregate.choose_runs` chooses."""
    if len(sparse_methods(runs)) > 1:
        return "one per method, at the lowest density that all of them reach"
    return "one per setting, spread over density"


def a_few(runs: pd.DataFrame) -> pd.DataFrame:
    """Return all of few runs, or some that are spread over density or methods."""
    return runs if len(runs) <= LAYERED else runs.loc[aggregate.choose_runs(runs, LAYERED)]


def says_something(rows: pd.DataFrame, quantity: str) -> bool:
    """Return whether a quantity is known, and is not all weights explored."""
    is_whole = quantity == "explored" and rows[quantity].min() == 1
    return bool(rows[quantity].notna().any()) and not is_whole
