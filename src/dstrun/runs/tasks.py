"""Tasks, and the figures by which a network is judged in each: the one table that all others read.

    classes      accuracy: share of images classified right
    next_token   bits per byte: loss / ln 2, and perplexity: e^loss, of the loss in nats per byte

A figure has a column for each held-out split, such as test_accuracy. The first figure of a task is
its headline: what a console line, a figure and a Pareto front show.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any

LARGEST_EXPONENT = 709.0  # of e that a float can hold


def _perplexity(loss: float) -> float:
    return inf if loss > LARGEST_EXPONENT else exp(loss)


@dataclass(frozen=True)
class Figure:
    """A figure of held-out data.

    name: end of its columns. of: the figure by (mean loss in nats, share right). is_share: in
    [0, 1], and shown in per cent. is_lower_better: whether 0 is the best there could be.
    in_training: whether training has the figure, too, of all its batches.
    """

    name: str
    of: Callable[[float, float], float]
    is_share: bool = False
    is_lower_better: bool = False
    in_training: bool = False

    @property
    def title(self) -> str:
        """The figure in words: 'bits per byte'."""
        return self.name.replace("_", " ")

    def column(self, split: str = "test") -> str:
        """Return the figure's column of metrics.csv for a split: test_accuracy."""
        return f"{split}_{self.name}"

    def shown(self, value: float, width: int = 0) -> str:
        """Return a value in words: '97.66%', '2.1342'."""
        return f"{value:{width}.2%}" if self.is_share else f"{value:{width}.4f}"

    def score(self, value: float) -> float:
        """Return a value such that more is better."""
        return -value if self.is_lower_better else value

    def error(self, value: float) -> float:
        """Return a value such that less is better, and 0 the best."""
        return value if self.is_lower_better else 1 - value


@dataclass(frozen=True)
class Task:
    """What is learned. examples: what a batch consists of. figures: the headline comes first."""

    name: str
    examples: str
    figures: tuple[Figure, ...]

    @property
    def headline(self) -> Figure:
        """The figure that runs are compared by."""
        return self.figures[0]

    def held_out(self, split: str, loss: float, right: float) -> dict[str, float]:
        """Return the columns of a split by its mean loss and the share of labels met."""
        found = {f"{split}_loss": loss}
        return found | {figure.column(split): figure.of(loss, right) for figure in self.figures}

    def in_training(self, loss: float, right: float) -> dict[str, float]:
        """Return the columns of the training data, of loss and share right of all its batches."""
        own = (figure for figure in self.figures if figure.in_training)
        return {"train_loss": loss} | {one.column("train"): one.of(loss, right) for one in own}

    def columns(self, split: str) -> tuple[str, ...]:
        """Return the columns of a split, training included."""
        known = self.in_training(0, 0) if split == "train" else self.held_out(split, 0, 0)
        return tuple(known)


ACCURACY = Figure("accuracy", lambda loss, right: right, is_share=True, in_training=True)
BITS_PER_BYTE = Figure("bits_per_byte", lambda loss, right: loss / log(2), is_lower_better=True)
PERPLEXITY = Figure("perplexity", lambda loss, right: _perplexity(loss), is_lower_better=True)

CLASSES = Task("classes", "images", (ACCURACY,))
NEXT_TOKEN = Task("next_token", "sequences", (BITS_PER_BYTE, PERPLEXITY))
TASKS = {task.name: task for task in (CLASSES, NEXT_TOKEN)}
FIGURES = tuple(figure for task in TASKS.values() for figure in task.figures)


def task_of(columns: Iterable[str] | Mapping[str, Any]) -> Task:
    """Return the task of a run by the columns of its metrics.csv; without a headline: classes.

    columns: names, or values by name, of which None and NaN are none.
    """
    for task in TASKS.values():
        column = task.headline.column()
        if column in columns:
            value = columns[column] if isinstance(columns, Mapping) else 0
            if value is not None and value == value:
                return task
    return CLASSES
