"""Results that the paper reports: its tables 1 to 3, and its figure 3 as read by eye.

Accuracies and densities are fractions in [0, 1]. A row of the paper with several densities is
several rows here. ResNet-50 is reported without standard deviations. The densities of the LSTMs are
as printed; the authors' code counts about 0.78 of the weights that are kept.
"""

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd


class Published(NamedTuple):
    """A row of one of the paper's tables.

    `density` is the fraction of weights that remain, `difference` that of the accuracy from the
    row's own dense accuracy; a dense row has none. A standard deviation of None is not reported.
    """

    table: int
    model: str
    data: str
    method: str
    density: float
    density_std: float | None
    accuracy: float
    accuracy_std: float | None
    difference: float | None


Percent = tuple[float, float | None]  # mean and standard deviation, as printed


def _rows(
    table: int,
    model: str,
    data: str,
    method: str,
    dense: Percent,
    *sparse: tuple[Percent, Percent],
) -> list[Published]:
    """Return the dense row, from its accuracy, and the sparse ones, from (remaining, accuracy)."""
    dense_accuracy, dense_std = _fractions(dense)
    place = (table, model, data)
    rows = [Published(*place, f"dense ({method})", 1.0, None, dense_accuracy, dense_std, None)]
    for remaining, printed in sparse:
        density, (accuracy, accuracy_std) = _fractions(remaining), _fractions(printed)
        difference = round(accuracy - dense_accuracy, 6)
        rows.append(Published(*place, method, *density, accuracy, accuracy_std, difference))
    return rows


def _fractions(percent: Percent) -> tuple[float, float | None]:
    """Return mean and standard deviation as fractions."""
    mean, std = percent
    return round(mean / 100, 6), None if std is None else round(std / 100, 6)


TABLES = (
    *_rows(1, "lenet_300_100", "mnist", "DST", (98.16, 0.06), ((2.48, 0.21), (97.69, 0.14))),
    *_rows(1, "lenet5", "mnist", "DST", (99.18, 0.05), ((1.64, 0.13), (99.11, 0.07))),
    *_rows(1, "lstm_a", "mnist", "DST", (98.64, 0.12), ((1.93, 0.03), (98.70, 0.06))),
    *_rows(1, "lstm_b", "mnist", "DST", (98.87, 0.07), ((0.98, 0.04), (98.89, 0.11))),
    *_rows(
        *(2, "vgg16", "cifar10", "Sparse Momentum"),
        (93.51, 0.05),
        ((10, None), (93.36, 0.04)),
        ((5, None), (93.00, 0.07)),
    ),
    *_rows(
        *(2, "vgg16", "cifar10", "DST"),
        (93.75, 0.21),
        ((8.82, 0.34), (93.93, 0.05)),
        ((3.76, 0.53), (93.02, 0.37)),
    ),
    *_rows(
        *(2, "wrn_16_8", "cifar10", "Sparse Momentum"),
        (95.43, 0.02),
        ((10, None), (94.87, 0.04)),
        ((5, None), (94.38, 0.05)),
    ),
    *_rows(
        *(2, "wrn_16_8", "cifar10", "DSR"),
        (95.21, 0.05),
        ((10, None), (94.93, 0.04)),
        ((5, None), (94.68, 0.05)),
    ),
    *_rows(
        *(2, "wrn_16_8", "cifar10", "DST"),
        (95.18, 0.06),
        ((9.86, 0.22), (95.05, 0.08)),
        ((4.64, 0.15), (94.73, 0.11)),
    ),
    *_rows(
        *(3, "resnet50", "imagenet", "Sparse Momentum"),
        (74.90, None),
        ((20, None), (73.80, None)),
        ((10, None), (72.30, None)),
    ),
    *_rows(
        *(3, "resnet50", "imagenet", "DSR"),
        (74.90, None),
        ((20, None), (73.30, None)),
        ((10, None), (71.60, None)),
    ),
    *_rows(
        *(3, "resnet50", "imagenet", "DST"),
        (74.95, None),
        ((19.24, None), (74.02, None)),
        ((9.87, None), (72.78, None)),
    ),
)

FIGURE_3 = {  # (α, density)
    ("vgg16", "cifar10"): (
        (1e-9, 0.76),
        (1e-8, 0.55),
        (1e-7, 0.35),
        (1e-6, 0.155),
        (5e-6, 0.09),
        (1e-5, 0.067),
        (5e-5, 0.03),
    ),
    ("wrn_16_8", "cifar10"): ((1e-6, 0.6), (8e-6, 0.17), (1.5e-5, 0.1), (5e-5, 0.03)),
    ("wrn_28_8", "cifar10"): ((1e-6, 0.55), (8e-6, 0.145), (1.4e-5, 0.075), (4e-5, 0.03)),
}


def published_rows(pairs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Return the rows of the paper's tables for pairs of model and data.

    The columns are named as in `aggregate.by_setting`.
    """
    rows = [row for row in TABLES if (row.model, row.data) in pairs]
    table = pd.DataFrame(rows, columns=Published._fields)
    return table.rename(columns={"model": "model.name", "data": "data.name"})


def published_densities(pairs: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Return α and density of the paper's figure 3, read by eye, for pairs of model and data."""
    rows: list[tuple[str, str, float, float]] = []
    for (model, data), points in FIGURE_3.items():
        if (model, data) in pairs:
            rows += [(model, data, alpha, density) for alpha, density in points]
    return pd.DataFrame(rows, columns=["model.name", "data.name", "reg.alpha", "density"])


def with_published(settings: pd.DataFrame) -> pd.DataFrame:
    """Return the settings, followed for each model and data by the paper's rows.

    The reg.method of the latter begins with 'paper: '.
    """
    blocks: list[dict] = []
    for pair, ours in settings.groupby(["model.name", "data.name"], sort=False, dropna=False):
        rows = published_rows([pair])
        theirs = rows.assign(**{"reg.method": "paper: " + rows["method"]})
        blocks += ours.to_dict("records") + theirs.to_dict("records")
    return pd.DataFrame(blocks, columns=settings.columns)
