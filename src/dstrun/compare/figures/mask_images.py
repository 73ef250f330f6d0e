"""Figures of masks as images: the share of weights that is kept, block by block or pixel by pixel.

A mask has rows × inputs; kernels of convolutions are flattened to inputs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from dstrun.compare.figures.panels import Figure, Panels, Trace, pack

CELLS = 128  # rows and columns of an image of one panel at most
SMALL = 64  # and of several methods
HEIGHT = 280  # pixels of a row of panels
BRIGHTEST = 0.995  # quantile of the cells that has the brightest colour


def blocks(mask: np.ndarray, cells: int) -> np.ndarray:
    """Return the share of a mask that is kept in each of at most cells × cells blocks.

    Blocks of a mask with more rows or columns differ by one row or column at most.
    """
    found = mask.reshape(len(mask), -1).astype(np.float32)
    for axis in (0, 1):
        size = found.shape[axis]
        if size > cells:
            starts = np.linspace(0, size, cells, endpoint=False).astype(int)
            widths = np.diff([*starts, size])
            sums = np.add.reduceat(found, starts, axis=axis)
            found = sums / np.expand_dims(widths, 1 - axis)
    return found


def by_pixel(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return the share of the rows that keep the weight of each pixel, a mean over colours.

    `shape` is (channels, height, width), whose numbers are the mask's inputs in this order.
    """
    return mask.reshape(-1, *shape[1:]).mean(axis=0, dtype=np.float32)


def patterns(masks: Mapping[str, np.ndarray], one_scale: bool) -> Figure:
    """Return the masks as images, a panel each, by title.

    `one_scale`: of colours for all, which masks of one layer have; otherwise each its own.
    """
    cells = SMALL if len(masks) > 4 else CELLS
    images = {title: blocks(mask, cells) for title, mask in masks.items()}
    sizes = [mask.reshape(len(mask), -1).shape for mask in masks.values()]
    traces = []
    for image, (rows, inputs) in zip(images.values(), sizes, strict=True):
        down, across = rows / image.shape[0], inputs / image.shape[1]
        words = "row %{y:.0f}, input %{x:.0f}<br>%{z:.2%} kept<extra></extra>"
        place = {"x0": across / 2, "dx": across, "y0": down / 2, "dy": down}
        traces.append(_image(image) | place | {"hovertemplate": words})
    return _figure([*images], traces, [*images.values()], one_scale, ("input", "row"))


def pixels(masks: Mapping[str, np.ndarray], shape: Sequence[int]) -> Figure:
    """Return for each mask, by title, how many rows keep the weight of each pixel of the data."""
    images = {title: by_pixel(mask, shape) for title, mask in masks.items()}
    words = "pixel %{x}, %{y}<br>kept by %{z:.2%} of the neurons<extra></extra>"
    traces = [_image(image) | {"hovertemplate": words} for image in images.values()]
    figure = _figure([*images], traces, [*images.values()], True, ("", ""))
    for name, axis in figure["layout"].items():
        if name.startswith(("xaxis", "yaxis")):
            axis |= {"visible": False, "constrain": "domain"}
        if name.startswith("yaxis"):
            axis |= {"scaleanchor": axis["anchor"]}
    return figure


def _image(image: np.ndarray) -> Trace:
    """Return an image as a heat map."""
    return {
        "type": "heatmap",
        "z": pack(image),
        "colorscale": "Cividis",
        "name": "",
        "showlegend": False,
    }


def brightest(images: Sequence[np.ndarray]) -> float:
    """Return the share that has the brightest colour: few cells are denser, so that others show."""
    cells = np.concatenate([image.ravel() for image in images])
    return float(np.quantile(cells, BRIGHTEST)) or float(cells.max()) or 1.0


def _figure(
    titles: Sequence[str],
    traces: Sequence[Trace],
    images: Sequence[np.ndarray],
    one_scale: bool,
    axes: tuple[str, str],
) -> Figure:
    """Return images as panels, with one scale of colours beside them or one each."""
    columns = len(titles) if len(titles) < 3 else 4 if len(titles) > 6 else 3
    panels = Panels(titles, columns=columns, height=HEIGHT * -(-len(titles) // columns) + 90)
    top = brightest(images)
    for panel, (trace, image) in enumerate(zip(traces, images, strict=True)):
        most = top if one_scale else brightest([image])
        bar = {"title": {"text": "kept", "side": "right"}, "tickformat": ".3~%"}
        scale = {"zmin": 0, "zmax": most, "colorbar": bar}
        panels.add(panel, trace | scale | {"showscale": one_scale and panel == 0})
    panels.x(title=axes[0], showgrid=False, zeroline=False)
    panels.y(title=axes[1], showgrid=False, zeroline=False, autorange="reversed")
    return panels.figure()
