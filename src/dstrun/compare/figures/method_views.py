"""Views of methods, or settings of one, side by side at equal density: by layer and over epochs."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from dstrun.compare import aggregate
from dstrun.compare.figures.grids import WHOLE, layers_by_method
from dstrun.compare.figures.layer_views import says_something
from dstrun.compare.figures.method_curves import Course, of_network, over_epochs
from dstrun.compare.figures.methods import styles
from dstrun.compare.figures.style import look
from dstrun.compare.figures.view import Source, View, by_network
from dstrun.compare.labels import is_dense, sparse_methods, with_labels
from dstrun.compare.methods import ASKED, lines_of_methods

DENSITIES = 3  # panels of densities asked for at most
SETTINGS = 8  # lines of settings of one method at most
LAYERS_CAPTION = (
    "Density of every layer at the end, in percent, at equal density of all layers together: means "
    "over seeds, five at most."
)
SEEDS = 5  # runs of a setting whose layers.csv are read at most
BAND = "Means over seeds, five at most, and a band of one standard deviation on both sides."
LOGARITHMS = f"{BAND[:-1]}, both of logarithms."
COURSES = {  # quantity of `of_network`, title, title of the axis and caption, by name
    "explored": (
        "explored",
        "Explored weights over epochs",
        "explored weights (%, log scale)",
        "The share of the masked weights that have taken part so far: 100 % of methods that begin "
        f"with every weight, the density of those whose masks stay. {LOGARITHMS}",
    ),
    "gradient-flow": (
        "gradient_norm",
        "Gradient flow over epochs",
        "norm of the gradient (log scale)",
        "Norm of the gradient of all kept weights in the last step of an epoch, and every log.steps"
        f" steps if these are given. {LOGARITHMS}",
    ),
    "churn": (
        "churn",
        "Churn over epochs",
        "changed masks (%)",
        "The share of all masks that changed since the epoch before; with log.steps the sum of the "
        f"changes that its rows show, of which one mask may have several. {BAND}",
    ),
}


def layers_methods_view(source: Source) -> Iterator[View]:
    """Yield the density of every layer at the end, methods × layers, at each density asked for.

    Of the finished runs; if no sparse run is finished, of those that have figures.
    """
    for all_runs, suffix in by_network(source):
        own = all_runs.of(aggregate.finished_runs(all_runs.runs[~is_dense(all_runs.runs)]))
        if len(sparse_methods(own.runs)) < 2:
            continue
        blocks = courses_of(own)
        rows = aggregate.last_rows(source.store.layers(_names(blocks)))
        tables = {title: _by_layer(rows, courses) for title, courses in blocks.items()}
        if tables and not rows.empty:
            title = f"Density of every layer, by method{suffix}"
            yield View("layers-methods", title, LAYERS_CAPTION, layers_by_method(tables))


def course_of(name: str) -> Callable[[Source], Iterator[View]]:
    """Return the function that yields one of COURSES for each model and data."""

    def make(source: Source) -> Iterator[View]:
        quantity, title, axis, caption = COURSES[name]
        for own, suffix in by_network(source):
            blocks = courses_of(own)
            network = of_network(source.store.layers(_names(blocks)))
            known = network[network[quantity].notna()]
            if known["step"].nunique() > 1 and says_something(known, quantity):
                yield View(
                    name,
                    f"{title}{suffix}",
                    caption,
                    over_epochs(network, blocks, quantity, axis),
                )

    return make


def courses_of(source: Source) -> dict[str, list[Course]]:
    """Return the lines of one network's figures, by the title of their panel.

    Of several methods a panel for each density asked for, of one a line for each of its settings.
    """
    settings = source.settings[~is_dense(source.settings)]
    if len(sparse_methods(settings)) < 2:
        runs = source.usable[~is_dense(source.usable)]
        if runs.empty:
            return {}
        chosen = runs.loc[aggregate.choose_runs(runs, SETTINGS)]
        labels = with_labels(chosen)["setting_label"]  # by what these few differ in
        lines = []
        for run in chosen.itertuples():
            names = runs.index[runs["series"] == run.series][:SEEDS]
            lines.append(Course(labels[run.run], look(int(run.hue), 0), list(names)))
        return {"": lines}
    found = {}
    first = [names[0] for names in settings["names"]]
    settings = settings.assign(**{ASKED: source.runs.loc[first, ASKED].to_numpy()})
    for density in _asked(settings):
        named = list(lines_of_methods(settings[settings[ASKED] == density]))
        looks = styles(named)
        found[f"{100 * density:g} % asked for"] = [
            Course(name, own, [run for names in rows["names"] for run in names[:SEEDS]])
            for (name, rows), own in zip(named, looks, strict=True)
        ]
    return found


def _asked(settings: pd.DataFrame) -> list[float]:
    """Return a few of the densities that two methods or more were asked for, the lowest first."""
    methods = settings.groupby(ASKED)["reg.method"].nunique()
    shared = sorted(methods.index[methods > 1])
    places = np.linspace(0, len(shared) - 1, min(DENSITIES, len(shared))).round().astype(int)
    return [float(shared[place]) for place in places]


def _names(blocks: Mapping[str, Sequence[Course]]) -> list[str]:
    """Return the names of the runs of all lines."""
    return [run for courses in blocks.values() for course in courses for run in course.runs]


def _by_layer(last: pd.DataFrame, courses: Sequence[Course]) -> pd.DataFrame:
    """Return the mean density at the end, a row a line and a column a layer, WHOLE first.

    `last` has the rows of each run's last step.
    """
    found = {}
    for course in courses:
        mine = last[last["run"].isin(course.runs)].astype({"layer": str})
        if len(mine):
            by_layer = mine.groupby("layer", sort=False)
            whole = pd.Series({WHOLE: mine["kept"].sum() / mine["total"].sum()})
            found[course.name] = pd.concat([whole, by_layer["density"].mean()])
    return pd.DataFrame(found).T
