"""Density, churn and dead rows of masks: pure functions of boolean tensors, on whatever device they
are.

    density = kept / total        churn = share of the mask that differs from an earlier one
    dead rows = output neurons or filters of which nothing is kept

This module knows torch alone.
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
        return self.kept / self.total


def kept(mask: Tensor) -> Tensor:
    """How many weights take part: a 0-dim integer tensor."""
    return mask.sum()


def churn(mask: Tensor, before: Tensor) -> Tensor:
    """The share of weights whose mask differs from `before`, in [0, 1]: a 0-dim tensor."""
    return (mask ^ before).sum() / mask.numel()


def dead_rows(mask: Tensor) -> Tensor:
    """How many rows (first dimension) keep nothing: a 0-dim integer tensor."""
    return (~mask.flatten(1).any(1)).sum()


def measure(
    masks: dict[str, Tensor], before: dict[str, Tensor], thresholds: dict[str, Tensor]
) -> list[LayerFigures]:
    """The figures of all layers, read from the device in one transfer."""
    columns = [
        torch.stack(
            [
                x.double()
                for x in (kept(m), churn(m, before[n]), dead_rows(m), t.mean(), t.min(), t.max())
            ]
        )
        for (n, m), t in zip(masks.items(), thresholds.values(), strict=True)
    ]
    rows = torch.stack(columns).tolist()
    return [
        LayerFigures(name, int(row[0]), mask.numel(), row[3], row[4], row[5], row[1], int(row[2]))
        for (name, mask), row in zip(masks.items(), rows, strict=True)
    ]


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
    """Return how many weights each of the named parameters has; one under several names counts
    once."""
    found: dict[nn.Parameter, str] = {}
    for name in names:
        found.setdefault(model.get_parameter(name), name)
    return {name: parameter.numel() for parameter, name in found.items()}
