"""Figures of masks: functions of boolean tensors on any device.

density         kept / total
churn           share of the mask that differs from an earlier one
dead rows       output neurons or filters without a kept weight
explored        share of the weights that have taken part so far: the in-time over-parameterisation
                rate R_s of Liu et al. (2021, arXiv:2102.02887)
grown, dropped  weights that an earlier mask lacks, and that it alone has
gradient norm   ‖G ⊙ M‖ of the gradient G that the last step's optimiser got
threshold_q10   the value that a tenth of a layer's thresholds are below; so are the other quantiles
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.layer_kinds import kind_of
from dstrun.methods.masked_layers import plain_type

QUANTILES = {f"threshold_q{percent}": percent / 100 for percent in (10, 25, 50, 75, 90)}
SAMPLE = 1 << 14  # thresholds that quantiles are taken of at most: to sort 10⁷ takes a CPU a second


@dataclass(frozen=True)
class LayerFigures:
    """Figures of one layer at one moment, as they are without a mask.

    Those of thresholds are None where there is none, `gradient_norm` where no gradient is left.
    """

    layer: str
    kept: int
    total: int
    threshold_mean: float | None = None
    threshold_min: float | None = None
    threshold_max: float | None = None
    churn: float = 0.0
    dead_rows: int = 0
    explored: float = 1.0
    grown: int = 0
    dropped: int = 0
    gradient_norm: float | None = None
    threshold_q10: float | None = None
    threshold_q25: float | None = None
    threshold_q50: float | None = None
    threshold_q75: float | None = None
    threshold_q90: float | None = None

    @property
    def density(self) -> float:
        """Fraction of weights that are kept, in [0, 1]."""
        return self.kept / self.total


def kept(mask: Tensor) -> Tensor:
    """Return the number of weights that are kept: a 0-dim integer tensor."""
    return torch.count_nonzero(mask)  # on a CPU mask.sum() copies to int64 first


def dead_rows(mask: Tensor) -> Tensor:
    """Return the number of rows (first dimension) without a kept weight: a 0-dim integer tensor."""
    return (~mask.flatten(1).any(1)).sum()


def gradient_norm(gradient: Tensor, mask: Tensor) -> Tensor:
    """Return the norm of a gradient over the weights that a mask keeps: a 0-dim tensor."""
    return torch.linalg.vector_norm(gradient.masked_fill(~mask, 0))


def quantiles(threshold: Tensor) -> dict[str, Tensor]:
    """Return the QUANTILES of thresholds, linear between two values: 0-dim tensors.

    Of more than SAMPLE thresholds, which only weights of their own have, those at even distances.
    """
    flat = threshold.detach().flatten()
    distance = -(-flat.numel() // SAMPLE)
    while gcd(distance, flat.numel()) > 1:  # else they were of the same columns or kernel places
        distance += 1
    ordered = flat[::distance].sort().values
    last, found = ordered.numel() - 1, {}
    for name, share in QUANTILES.items():
        below = int(share * last)
        above = min(below + 1, last)
        found[name] = ordered[below].lerp(ordered[above], share * last - below)
    return found


def measure(
    masks: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    thresholds: Mapping[str, Tensor],
    explored: Mapping[str, Tensor] | None = None,
    norms: Mapping[str, Tensor] | None = None,
) -> list[LayerFigures]:
    """Return the figures of all layers, read from the device in one transfer.

    `masks` and `before` have the masks now and at the measurement before, `explored` the union of
    all so far (default: now's). `thresholds` and `norms`, of gradients, may lack layers.
    """
    rows: list[dict[str, Tensor]] = []
    for name, mask in masks.items():
        count, both = kept(mask), kept(mask & before[name])
        grown, dropped = count - both, kept(before[name]) - both
        row = {
            "kept": count,
            "churn": (grown + dropped) / mask.numel(),
            "dead_rows": dead_rows(mask),
            "explored": kept((explored or masks)[name]).double() / mask.numel(),
            "grown": grown,
            "dropped": dropped,
        }
        if name in thresholds:
            threshold = thresholds[name]
            row["threshold_mean"] = threshold.mean()
            row["threshold_min"], row["threshold_max"] = threshold.aminmax()
            row |= quantiles(threshold)
        if norms and name in norms:
            row["gradient_norm"] = norms[name]
        rows.append(row)
    read = zip(masks.items(), _read_rows(rows), strict=True)
    return [LayerFigures(name, total=mask.numel(), **row) for (name, mask), row in read]


def _read_rows(rows: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Any]]:
    """Return rows of 0-dim tensors as numbers, in one transfer; integers stay integers."""
    cells = [(row, name, cell) for row, own in enumerate(rows) for name, cell in own.items()]
    numbers = torch.stack([cell.double() for _, _, cell in cells]).tolist()
    read: list[dict[str, Any]] = [{} for _ in rows]
    for (row, name, cell), number in zip(cells, numbers, strict=True):
        read[row][name] = number if cell.is_floating_point() else int(number)
    return read


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
    """Return the size of each named parameter, or part of one; one of several names is there
    once.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    found: dict[tuple[nn.Parameter, str], tuple[str, int]] = {}
    for name in names:
        whole, _, part = (name, "", "") if name in parameters else name.rpartition(".")
        parameter = parameters[whole]
        parts = 1 if not part else _number_of_parts(model, whole)
        found.setdefault((parameter, part), (name, parameter.numel() // parts))
    return dict(found.values())


def _number_of_parts(model: nn.Module, name: str) -> int:
    """Return how many parts a parameter of that name consists of."""
    layer, _, parameter = name.rpartition(".")
    kind = kind_of(plain_type(model.get_submodule(layer)))
    return len((kind.parts(parameter) if kind else "") or "1")
