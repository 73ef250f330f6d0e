"""Views of training by epoch."""

from collections.abc import Iterator

from dstrun.compare.figures.curves import density_and_accuracy, learning_curves
from dstrun.compare.figures.view import Source, View, share
from dstrun.compare.headlines import headlines_of

CURVES = 24  # runs in a figure with a line per run


def density_curves_view(source: Source) -> Iterator[View]:
    """Yield density and headline by epoch, a view for each headline."""
    usable = source.usable
    some = usable.head(CURVES)
    epochs, which = source.store.epochs(some["run"]), share(some, usable, "the first to start")
    for figure in headlines_of(some):
        own = some[some[figure.column()].notna()] if len(headlines_of(some)) > 1 else some
        yield View(
            "density-curves",
            f"Density and {figure.title}",
            f"{which}Dashed: density, left axis. Solid: test {figure.title}, right axis.",
            density_and_accuracy(epochs, own),
        )


def curves_view(source: Source) -> Iterator[View]:
    """Yield loss and headline by epoch."""
    usable = source.usable
    some = usable.head(CURVES)
    which = share(some, usable, "the first to start")
    yield View(
        "curves",
        "Learning curves",
        f"{which}Click a name in the legend to hide its run, double-click to see it alone.",
        learning_curves(source.store.epochs(some["run"]), some),
    )
