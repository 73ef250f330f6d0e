"""Overlap of masks A and B of two runs: |A ∩ B| / |A ∪ B| (Jaccard's index), 1 for equal masks.

Masks of these densities a and b in every layer l of N weights that know nothing of each other have

    chance = Σ a b N / Σ (a + b − a b) N
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from dstrun.compare.labels import sparse_methods, with_labels
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError

Masks = Mapping[str, np.ndarray]  # booleans by layer
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
    rows = []
    for run, other in combinations(masks, 2):
        layers = pd.DataFrame(
            [_counts(mask, masks[other][layer]) for layer, mask in masks[run].items()],
            columns=COUNTS,
            index=[*masks[run]],
        )
        layers.loc[""] = layers.sum()
        rows.append(layers.rename_axis("layer").reset_index().assign(run=run, other=other))
    table = pd.concat(rows, ignore_index=True)
    kept = table["kept"] + table["other_kept"]
    table["overlap"] = table["both"] / (kept - table["both"])
    table["chance"] = table["by_chance"] / (kept - table["by_chance"])
    return table[["run", "other", "layer", *COUNTS, "overlap", "chance"]]


def _counts(one: np.ndarray, other: np.ndarray) -> tuple[float, ...]:
    """Return the COUNTS of two masks of a layer."""
    kept, other_kept = int(one.sum()), int(other.sum())
    both = int((one & other).sum())
    return one.size, kept, other_kept, both, kept * other_kept / one.size


def _refuse_other_layers(masks: Mapping[str, Masks]) -> None:
    """Raise InputError where not all runs have masks in the same layers."""
    first, *others = masks
    for run in others:
        if _shapes(masks[run]) != _shapes(masks[first]):
            raise InputError(f"overlap: {first} and {run} have masks in different layers")


def _shapes(masks: Masks) -> dict[str, tuple[int, ...]]:
    return {layer: mask.shape for layer, mask in masks.items()}


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


def matrices(
    masks: Mapping[str, Masks], runs: pd.DataFrame
) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
    """Yield for each density asked for a title and the lines of a matrix of settings.

    A cell is the mean overlap in percent of the pairs of runs of two settings, on the diagonal of
    one. Nothing for runs of one method.
    """
    runs = runs.loc[[*masks]]
    if len(sparse_methods(runs)) < 2:
        return
    for density, some in runs.groupby("reg.density", dropna=False):
        names = with_labels(some)["setting_label"]
        if names.nunique() > 1:
            table = overlap({name: masks[name] for name in some.index})
            whole = table[table["layer"] == ""]
            asked = "no density" if density != density else f"{100 * density:g} %"
            chance = f"{100 * whole['chance'].min():.1f} to {100 * whole['chance'].max():.1f}"
            title = f"{asked} asked for: mean overlap % of pairs of runs, by chance {chance}"
            yield title, _matrix(whole, names)


def _matrix(pairs: pd.DataFrame, names: pd.Series) -> list[list[str]]:
    """Return a header and a line per setting, with its number of runs, up to the diagonal."""
    settings = list(dict.fromkeys(names))
    one, other = (pairs[key].map(names).map(settings.index) for key in ("run", "other"))
    places = [np.maximum(one, other), np.minimum(one, other)]
    means = pairs["overlap"].groupby(places).mean().dropna().to_dict()
    numbers = range(len(settings))
    found = [["setting", "runs", *(str(1 + number) for number in numbers)]]
    for row, name in enumerate(settings):
        cells = [f"{100 * means[row, to]:.1f}" if (row, to) in means else "" for to in numbers]
        found.append([f"{1 + row} {name}", str((names == name).sum()), *cells])
    return found
