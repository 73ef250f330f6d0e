"""Figure with its name, title and caption, and what it is made from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from dstrun.compare.aggregate import by_setting
from dstrun.compare.figures.panels import Figure
from dstrun.compare.masks import ReadMasks
from dstrun.compare.run_tables import Store


class View(NamedTuple):
    """A figure by its name in the catalogue, with a title, and a caption that says how to read it.

    Views of one name differ in their titles.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Source:
    """What figures are made from.

    `runs` are some of the store's runs, with labels. `read_masks` reads the masks in a run folder's
    checkpoint, booleans by layer, rows first; None: figures of masks are not made.
    """

    store: Store
    runs: pd.DataFrame
    read_masks: ReadMasks | None = None

    @cached_property
    def usable(self) -> pd.DataFrame:
        """The runs that have done an epoch."""
        return self.runs[self.runs["epoch"].notna()]

    @cached_property
    def settings(self) -> pd.DataFrame:
        """The usable runs as a table of `aggregate.by_setting`."""
        return by_setting(self.usable)

    def of(self, runs: pd.DataFrame) -> "Source":
        """Return the source of these runs alone."""
        return replace(self, runs=runs)


class Entry(NamedTuple):
    """What a figure shows, in a line, and the function that makes it.

    It yields nothing where runs have nothing to show, and several views where one is not enough,
    such as one for each model and data. `needs` says of which runs it shows something.
    """

    about: str
    make: Callable[[Source], Iterator[View]]
    needs: str = "runs that have done an epoch"


def share(some: pd.DataFrame, runs: pd.DataFrame, which: str) -> str:
    """Return '24 of 30 runs, …. ' for some of the runs; '' for all."""
    return "" if len(some) == len(runs) else f"{len(some)} of {len(runs)} runs, {which}. "


def by_network(source: Source) -> Iterator[tuple[Source, str]]:
    """Yield the usable runs of each model and data, with an ending for titles if there are more."""
    usable = source.usable
    for (model, data), some in usable.groupby(["model.name", "data.name"], sort=False):
        yield source.of(some), f", {model} on {data}" if len(some) < len(usable) else ""
