"""Views of accuracy, density and cost of runs, and of their options."""

from collections.abc import Iterator

import pandas as pd

from dstrun.compare import paper
from dstrun.compare.figures.alpha import against_alpha
from dstrun.compare.figures.methods import against
from dstrun.compare.figures.parallel import parallel_coordinates
from dstrun.compare.figures.pareto import accuracy_density, kept_against_accuracy
from dstrun.compare.figures.view import Source, View
from dstrun.compare.headlines import headlines_of
from dstrun.compare.labels import sparse_methods

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
METHODS_CAPTION = (
    "A line per method: means over seeds, and a band of one standard deviation over seeds on both "
    "sides. Grey, dashed: dense runs."
)
SIDEWAYS = " Lines are moved sideways, by 3 % of the density at most, so that none hides another."


def front_view(source: Source) -> Iterator[View]:
    """Yield accuracy against density, a mark per run."""
    usable, headline = source.usable, _headline(source)
    caption = FRONT_CAPTION if headline == "Accuracy" else _of_any_figure(FRONT_CAPTION)
    yield View(
        "accuracy-density",
        f"{headline} against what remains",
        caption + OWN_FRONTS if len(sparse_methods(usable)) > 1 else caption,
        accuracy_density(usable, paper.published_rows(_pairs(usable))),
    )


def methods_view(source: Source) -> Iterator[View]:
    """Yield accuracy against density with a line per method, if there are several."""
    settings = source.settings
    if len(sparse_methods(settings)) > 1:
        title = f"{_headline(source)} against density, by method"
        yield View("methods", title, METHODS_CAPTION + SIDEWAYS, against(settings))


def methods_flops_view(source: Source) -> Iterator[View]:
    """Yield accuracy against multiply-adds with a line per method, if there are several."""
    settings = source.settings
    if len(sparse_methods(settings)) > 1 and settings["flops"].notna().any():
        title = f"{_headline(source)} against multiply-adds, by method"
        yield View("methods-flops", title, METHODS_CAPTION, against(settings, "flops"))


def alpha_view(source: Source) -> Iterator[View]:
    """Yield accuracy and density against α, if any run has one."""
    settings = source.settings
    if (settings["reg.alpha"] > 0).any():
        yield View(
            "alpha",
            f"{_headline(source)} and what remains against α",
            "Marks are means over seeds, bars standard deviations.",
            against_alpha(settings, paper.published_densities(_pairs(source.usable))),
        )


def kept_view(source: Source) -> Iterator[View]:
    """Yield accuracy against the parameters and multiply-adds that are kept, a mark per run."""
    headline = _headline(source)
    yield View(
        "kept",
        f"{headline} against what is left to store and to compute",
        KEPT_CAPTION if headline == "Accuracy" else KEPT_CAPTION.replace("image", "example"),
        kept_against_accuracy(source.usable),
    )


def parallel_view(source: Source) -> Iterator[View]:
    """Yield the options and figures of runs as parallel coordinates, of two runs or more."""
    if len(source.usable) > 1:
        yield View(
            "parallel",
            "Settings and what came of them",
            "Each line is a run, from its settings on the left to its figures on the right.",
            parallel_coordinates(source.usable),
        )


def _headline(source: Source) -> str:
    """Return 'Accuracy', 'Bits per byte', or both."""
    return " or ".join(figure.title for figure in headlines_of(source.usable)).capitalize()


def _pairs(runs: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the pairs of model and data."""
    return set(zip(runs["model.name"], runs["data.name"], strict=True))


def _of_any_figure(caption: str) -> str:
    """Return the caption of a front in words for figures of which low values may be the better."""
    words = {"more accurate": "better", "a far lower accuracy": "a far worse figure"}
    for word, other in words.items():
        caption = caption.replace(word, other)
    return caption
