"""Density, churn and dead rows of masks: functions of boolean tensors on any device.

density     kept / total
churn       share of the mask that differs from an earlier one
dead rows   output neurons or filters without a kept weight
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerFigures:
    """Figures of one layer at one moment; those of thresholds are None in a dense run."""

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
        """Fraction of weights that are kept, in [0, 1]."""
        return self.kept / self.total


def kept(mask: Tensor) -> Tensor:
    """Return the number of weights that are kept: a 0-dim integer tensor."""
    return mask.sum()


def churn(mask: Tensor, before: Tensor) -> Tensor:
    """Return the share of weights whose mask differs from `before`, in [0, 1]: a 0-dim tensor."""
    return (mask ^ before).sum() / mask.numel()


def dead_rows(mask: Tensor) -> Tensor:
    """Return the number of rows (first dimension) without a kept weight: a 0-dim integer tensor."""
    return (~mask.flatten(1).any(1)).sum()


def measure(
    masks: dict[str, Tensor], before: dict[str, Tensor], thresholds: dict[str, Tensor]
) -> list[LayerFigures]:
    """Return the figures of all layers, read from the device in one transfer.

    `masks` and `before` have the masks now and at the measurement before; `thresholds` may lack
    layers, whose threshold figures are None.
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
    """Return 1-dim tensors of different lengths as lists, in one transfer."""
    flat = torch.cat(rows).tolist()
    lists, start = [], 0
    for row in rows:
        lists.append(flat[start : start + len(row)])
        start += len(row)
    return lists


def masked_density(layers: Sequence[LayerFigures]) -> float:
    """Return the fraction of masked layers' weights that are kept, in [0, 1].

    Times 100 it is the paper's "model remaining percentage".
    """
    return model_density(layers, 0)


def model_density(layers: Sequence[LayerFigures], left_dense: int) -> float:
    """Return the fraction of the model's weights that are kept, in [0, 1].

    Weights are parameters of two or more dimensions, without biases, batch norm and thresholds;
    `left_dense` of them belong to no masked layer.
    """
    remaining = sum(layer.kept for layer in layers)
    total = sum(layer.total for layer in layers)
    return (remaining + left_dense) / (total + left_dense)


def weights_left_dense(model: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """Return the size of each named parameter; one with several names is there once."""
    found: dict[nn.Parameter, str] = {}
    for name in names:
        found.setdefault(model.get_parameter(name), name)
    return {name: parameter.numel() for parameter, name in found.items()}
