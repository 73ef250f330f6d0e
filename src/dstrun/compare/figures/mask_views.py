"""Views of masks, which are read from checkpoints: their overlap and their patterns."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.figures.grids import overlap_matrices
from dstrun.compare.figures.layer_views import a_few, which_layered
from dstrun.compare.figures.mask_images import CELLS, patterns, pixels
from dstrun.compare.figures.view import Source, View, by_network, share
from dstrun.compare.labels import is_dense, with_labels
from dstrun.compare.masks import Masks, read_some
from dstrun.compare.overlap import mean_overlaps

IMAGE = 3  # numbers in the shape of an image: channels, height, width
PANELS = 16  # images in a figure at most
OVERLAP = (
    "Weights that both masks keep, of those that either keeps, in percent (Jaccard's index): means "
    "over pairs of runs, on the diagonal between seeds of one setting. Among the pairs of two "
    "settings are those of one seed, which begin with the same weights. Masks as dense in every "
    "layer that know nothing of each other would overlap by"
)
PATTERN = (
    "Rows are neurons or filters, columns their inputs; kernels of convolutions are flattened. A "
    f"layer with more than {CELLS} of them is drawn in blocks. Titles have the share of the layer "
    "that is kept. A few cells may be denser than the brightest colour says."
)
PIXELS = (
    "Of the first layer, the share of its neurons that keep the weight of each pixel of the data, "
    "where the pixel is in the image; a mean over colours if there are three. Titles have the "
    "share of the layer that is kept. A few pixels may have more than the brightest colour says."
)


def overlap_view(source: Source) -> Iterator[View]:
    """Yield the overlap of masks between methods, or settings, and between seeds."""
    for own, suffix in by_network(source):
        masks = read_some(_seeds_first(own.runs), source.read_masks)
        matrices = [one for one in mean_overlaps(masks, own.runs) if np.isfinite(one.means).any()]
        if not matrices:
            continue
        low = min(matrix.chance[0] for matrix in matrices)
        high = max(matrix.chance[1] for matrix in matrices)
        sparse = own.runs[~is_dense(own.runs)]
        which = share(sparse.loc[[*masks]], sparse, "whose masks were read")
        by_chance = f"{100 * low:.1f} to {100 * high:.1f} %, in each cell by what its box says."
        caption = f"{which}{OVERLAP} {by_chance}"
        yield View("overlap", f"Overlap of masks{suffix}", caption, overlap_matrices(matrices))


def pattern_view(source: Source) -> Iterator[View]:
    """Yield masks as images: every layer of one run, or of several runs their largest layer."""
    for own, suffix in by_network(source):
        some = a_few(own.runs)
        masks = read_some(some, source.read_masks)
        if len(masks) == 1:
            ((name, layers),) = masks.items()
            shown = {_title(layer, layers[layer]): layers[layer] for layer in _largest(layers)}
            which = "" if len(own.runs) == 1 else f", {own.runs.loc[name, 'label']}"
            caption = f"{PATTERN} Each panel has its own scale of colours."
            if len(shown) < len(layers):
                caption += f" The {len(shown)} largest of {len(layers)} layers."
            figure = patterns(shown, one_scale=False)
            yield View("mask-pattern", f"Masks of the layers{which}{suffix}", caption, figure)
        elif masks:
            layer = max(next(iter(masks.values())).items(), key=lambda one: one[1].size)[0]
            yield View(
                "mask-pattern",
                f"Masks of {layer}, the largest layer{suffix}",
                f"{_which(masks, own.runs)}{PATTERN}",
                patterns(_by_run(masks, layer, own.runs), one_scale=True),
            )


def pixels_view(source: Source) -> Iterator[View]:
    """Yield how many neurons of the first layer keep the weight of each pixel, a panel a run."""
    for own, suffix in by_network(source):
        some = a_few(own.runs)
        some = some[[_has_first_layer(exclude) for exclude in some["reg.exclude"]]]
        masks = read_some(some, source.read_masks)
        if not masks:
            continue
        name, layers = next(iter(masks.items()))
        layer, mask = next(iter(layers.items()))
        shape = _shape_of_image(own.store.status(name))
        if shape and mask.ndim == 2 and mask.shape[1] == np.prod(shape):
            caption = f"{_which(masks, own.runs)}{PIXELS}"
            figure = pixels(_by_run(masks, layer, own.runs), shape)
            yield View("mask-pixels", f"Pixels that {layer} looks at{suffix}", caption, figure)


def _has_first_layer(exclude: object) -> bool:
    """Return whether the first masked layer is the model's: unknown, so False, if some stay dense.

    `exclude` is the cell of `reg.exclude`.
    """
    return exclude == "[]"


def _shape_of_image(status: Mapping[str, Any]) -> list[int]:
    """Return (channels, height, width) from a run's status.json; [] if its data are no images."""
    data = status.get("data")
    shape = data.get("shape") if isinstance(data, dict) else None
    if not isinstance(shape, list) or len(shape) != IMAGE:
        return []
    return shape if all(isinstance(size, int) for size in shape) else []


def _seeds_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs so that the first are one seed of every setting, then the next of each."""
    seeds = runs.groupby("series").cumcount()
    order = runs.assign(place=seeds).sort_values(["place", "series"], kind="stable").index
    return runs.loc[order]


def _largest(layers: Masks) -> list[str]:
    """Return the names of the largest layers, in the order of the model."""
    chosen = sorted(layers, key=lambda name: layers[name].size, reverse=True)[:PANELS]
    return [name for name in layers if name in chosen]


def _by_run(masks: Mapping[str, Masks], layer: str, runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return one layer's masks by label."""
    names = list(masks)[:PANELS]
    labelled = with_labels(runs.loc[names])  # by what these few differ in
    labels = labelled["label" if labelled["setting_label"].duplicated().any() else "setting_label"]
    return {_title(labels[name], masks[name][layer]): masks[name][layer] for name in names}


def _title(label: str, mask: np.ndarray) -> str:
    """Return 'fc1: 5.67 %'."""
    return f"{label}: {100 * mask.mean():.3g} %"


def _which(masks: Mapping[str, Masks], runs: pd.DataFrame) -> str:
    """Return in words which of the runs are shown."""
    some = runs.loc[list(masks)[:PANELS]]
    return share(some, runs, which_layered(runs))
