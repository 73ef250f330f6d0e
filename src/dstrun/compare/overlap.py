"""Overlap of masks A and B of two runs: |A ∩ B| / |A ∪ B| (Jaccard's index), 1 for equal masks.

Masks of these densities a and b in every layer l of N weights that know nothing of each other have

    chance = Σ a b N / Σ (a + b − a b) N
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dstrun.compare.labels import sparse_methods, with_labels
from dstrun.compare.masks import Masks, shapes
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError

AT_ONCE = 1 << 18  # weights of each mask that are multiplied at a time, which bounds the memory
COUNTS = ["total", "kept", "other_kept", "both", "by_chance"]


def overlap(masks: Mapping[str, Masks]) -> pd.DataFrame:
    """Return the overlap of each two runs' masks: a row per layer, and one, '', of all together.

    Columns: run, other, layer; weights in total, kept by either, by both, and by both if it were by
    chance; overlap and chance, NaN where neither keeps a weight. Raise InputError for fewer than
    two runs, and for runs whose masked layers differ.
    """
    if len(masks) < 2:
        raise InputError(
            f"overlap: got {quantity(len(masks), 'run')} with masks, expected two or more"
        )
    _refuse_other_layers(masks)
    one, other = np.triu_indices(len(masks), 1)
    layers = next(iter(masks.values()))
    found: dict[str, list[np.ndarray]] = {name: [] for name in COUNTS}
    for layer, first in layers.items():
        both = _both([own[layer] for own in masks.values()])
        kept = both.diagonal()
        counts = (np.full(len(one), first.size), kept[one], kept[other], both[one, other])
        for name, values in zip(
            COUNTS, (*counts, kept[one] * kept[other] / first.size), strict=True
        ):
            found[name].append(values)
    names, places = np.array([*masks], dtype=object), np.repeat(range(len(one)), len(layers) + 1)
    table = pd.DataFrame({"run": names[one[places]], "other": names[other[places]]})
    table["layer"] = [*layers, ""] * len(one)
    for name, values in found.items():
        table[name] = np.column_stack([*values, sum(values)]).ravel()
    kept = table["kept"] + table["other_kept"]
    table["overlap"] = table["both"] / (kept - table["both"])
    table["chance"] = table["by_chance"] / (kept - table["by_chance"])
    return table


def _both(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many weights each two masks of a layer keep both; on the diagonal those of one."""
    flat = [mask.ravel() for mask in masks]
    found = np.zeros((len(flat), len(flat)))
    for start in range(0, flat[0].size, AT_ONCE):
        part = np.stack([mask[start : start + AT_ONCE] for mask in flat]).astype(np.float32)
        found += part @ part.T  # exact, since sums of so few ones are
    return found.astype(np.int64)


def _refuse_other_layers(masks: Mapping[str, Masks]) -> None:
    """Raise InputError where not all runs have masks in the same layers."""
    first, *others = masks
    for run in others:
        if shapes(masks[run]) != shapes(masks[first]):
            raise InputError(f"overlap: {first} and {run} have masks in different layers")


def refuse_other_models(runs: pd.DataFrame) -> None:
    """Raise InputError for runs of several models."""
    models = runs["model.name"].unique()
    if len(models) > 1:
        raise InputError(
            f"overlap: got runs of {', '.join(models)}, expected those of one model; "
            f"--filter model={models[0]} chooses"
        )


def lines(table: pd.DataFrame, labels: Mapping[str, str]) -> Sequence[Sequence[str]]:
    """Return a header and a line for each two runs: overlap and chance of all layers, then each."""
    layers = [layer for layer in table["layer"].unique() if layer]
    found = [["run", "other run", "overlap %", "by chance %", *layers]]
    for (run, other), rows in table.groupby(["run", "other"], sort=False):
        by_layer = rows.set_index("layer")
        cells = [by_layer.loc["", "overlap"], by_layer.loc["", "chance"]]
        cells += [by_layer.loc[layer, "overlap"] for layer in layers]
        words = ["" if cell != cell else f"{100 * cell:.2f}" for cell in cells]
        found.append([labels[run], labels[other], *words])
    return found


class Matrix(NamedTuple):
    """Mean overlap of the pairs of runs of each two settings, on the diagonal of one.

    density: what was asked for, NaN for none; names, runs: of the settings; means, and `chances`
    of masks that are drawn at random: NaN where there is no pair, and above the diagonal; chance:
    the least and the most of all pairs.
    """

    density: float
    names: list[str]
    runs: list[int]
    means: np.ndarray
    chances: np.ndarray
    chance: tuple[float, float]

    @property
    def asked(self) -> str:
        """The density asked for in words: '5 % asked for'."""
        missing = self.density != self.density
        return "no density asked for" if missing else f"{100 * self.density:g} % asked for"


def mean_overlaps(masks: Mapping[str, Masks], runs: pd.DataFrame) -> Iterator[Matrix]:
    """Yield a matrix for each density asked for of several methods, or one of all settings."""
    runs = runs.loc[[*masks]]
    has_methods = len(sparse_methods(runs)) > 1
    groups = runs.groupby("reg.density", dropna=False) if has_methods else [(np.nan, runs)]
    for density, some in groups:
        names = with_labels(some)["setting_label"]
        if len(some) < 2:
            continue
        table = overlap({name: masks[name] for name in some.index})
        whole = table[table["layer"] == ""]
        settings = list(dict.fromkeys(names))
        counts = [int((names == name).sum()) for name in settings]
        chance = (float(whole["chance"].min()), float(whole["chance"].max()))
        means = _means(whole, "overlap", names, settings)
        chances = _means(whole, "chance", names, settings)
        yield Matrix(density, settings, counts, means, chances, chance)


def _means(pairs: pd.DataFrame, key: str, names: pd.Series, settings: Sequence[str]) -> np.ndarray:
    """Return the mean of a column over the pairs of each two settings, up to the diagonal."""
    one, other = (pairs[run].map(names).map(settings.index) for run in ("run", "other"))
    places = [np.maximum(one, other), np.minimum(one, other)]
    found = np.full((len(settings), len(settings)), np.nan)
    for (row, column), mean in pairs[key].groupby(places).mean().items():
        found[row, column] = mean
    return found


def matrices(
    masks: Mapping[str, Masks], runs: pd.DataFrame
) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
    """Yield for each density asked for a title and the lines of a matrix of settings.

    A cell is the mean overlap in percent. Nothing for runs of one method.
    """
    if len(sparse_methods(runs.loc[[*masks]])) < 2:
        return
    for matrix in mean_overlaps(masks, runs):
        if len(matrix.names) > 1:
            chance = " to ".join(f"{100 * share:.1f}" for share in matrix.chance)
            title = f"{matrix.asked}: mean overlap % of pairs of runs, by chance {chance}"
            yield title, _lines_of(matrix)


def _lines_of(matrix: Matrix) -> list[list[str]]:
    """Return a header and a line per setting, with its number of runs, up to the diagonal."""
    numbers = (str(1 + number) for number in range(len(matrix.names)))
    found = [["setting", "runs", *numbers]]
    for row, name in enumerate(matrix.names):
        cells = [f"{100 * mean:.1f}" if mean == mean else "" for mean in matrix.means[row]]
        found.append([f"{1 + row} {name}", str(matrix.runs[row]), *cells])
    return found
