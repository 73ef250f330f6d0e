"""Density, churn and dead rows of masks: functions of boolean tensors on any device.

density = kept / total        churn = share of the mask that differs from an earlier one
dead rows = output neurons or filters of which nothing is kept
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerFigures:
    """One layer at one moment, as plain numbers; thresholds are None in a dense run."""

    layer: str
    kept: int
    total: int
    threshold_mean: float | None
    threshold_min: float | None
    threshold_max: float | None
    churn: float
    dead_rows: int

    @property
    def density(self) -> float:
        """Kept over total, in [0, 1]."""
        return self.kept / self.total


def kept(mask: Tensor) -> Tensor:
    """Return how many weights take part: a 0-dim integer tensor."""
    return mask.sum()


def churn(mask: Tensor, before: Tensor) -> Tensor:
    """Return the share of weights whose mask differs from `before`, in [0, 1]: a 0-dim tensor."""
    return (mask ^ before).sum() / mask.numel()


def dead_rows(mask: Tensor) -> Tensor:
    """Return how many rows (first dimension) keep nothing: a 0-dim integer tensor."""
    return (~mask.flatten(1).any(1)).sum()


def measure(
    masks: dict[str, Tensor], before: dict[str, Tensor], thresholds: dict[str, Tensor]
) -> list[LayerFigures]:
    """Return the figures of all layers, read from the device in one transfer.

    A layer that `thresholds` lacks has none to report.
    """
    rows = []
    for name, mask in masks.items():
        row = [kept(mask), churn(mask, before[name]), dead_rows(mask)]
        if name in thresholds:
            threshold = thresholds[name]
            row += [threshold.mean(), threshold.min(), threshold.max()]
        rows.append(torch.stack([figure.double() for figure in row]))
    figures = []
    for (name, mask), read in zip(masks.items(), _read_rows(rows), strict=True):
        count, changed, dead, *levels = read
        mean, low, high = levels or (None, None, None)
        total = mask.numel()
        figures.append(LayerFigures(name, int(count), total, mean, low, high, changed, int(dead)))
    return figures


def _read_rows(rows: list[Tensor]) -> list[list[float]]:
    """Return tensors of different lengths as lists, in one transfer."""
    flat = torch.cat(rows).tolist()
    lists, start = [], 0
    for row in rows:
        lists.append(flat[start : start + len(row)])
        start += len(row)
    return lists


def masked_density(layers: Sequence[LayerFigures]) -> float:
    """Return kept over all weights of the masked layers, in [0, 1]: the paper's "model remaining
    percentage"."""
    return model_density(layers, 0)


def model_density(layers: Sequence[LayerFigures], left_dense: int) -> float:
    """Return kept over all weights of the model, in [0, 1]; of these `left_dense` belong to no
    masked layer.

    Weights are parameters of two or more dimensions; biases, batch norm and thresholds are not
    counted."""
    kept, total = (sum(getattr(layer, key) for layer in layers) for key in ("kept", "total"))
    return (kept + left_dense) / (total + left_dense)


def weights_left_dense(model: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """Return the size of each named parameter; one that has several names counts once."""
    found: dict[nn.Parameter, str] = {}
    for name in names:
        found.setdefault(model.get_parameter(name), name)
    return {name: parameter.numel() for parameter, name in found.items()}
