"""What the paper reports: its tables 1 to 3, and its figure 3 as read by eye. Fractions in [0, 1].
Knows nothing.

Of a row with several densities each is a row here. ResNet-50 is reported without spreads. The
LSTMs' densities are as printed; the authors' code counts about 0.78 of the weights that are kept.
"""

from typing import Any, NamedTuple


class Published(NamedTuple):
    """A row of one of the paper's tables. `density` is what remains, `difference` from the row's
    own dense accuracy.

    A spread of None was not reported, nor is there a difference of a dense row.
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


def _dense_and(
    table: int, model: str, data: str, method: str, *percent: float | None
) -> list[Published]:
    """From percentages: the dense accuracy, then remaining and accuracy of each sparse row; each
    with its spread."""
    dense: Any
    dense, dense_std, *figures = [
        None if figure is None else round(figure / 100, 6) for figure in percent
    ]
    rows = [Published(table, model, data, f"dense ({method})", 1.0, None, dense, dense_std, None)]
    for density, density_std, accuracy, accuracy_std in zip(
        *(figures[start::4] for start in range(4)), strict=True
    ):
        difference = round(accuracy - dense, 6)
        rows.append(
            Published(
                table, model, data, method, density, density_std, accuracy, accuracy_std, difference
            )
        )
    return rows


TABLES = (
    *_dense_and(1, "lenet_300_100", "mnist", "DST", 98.16, 0.06, 2.48, 0.21, 97.69, 0.14),
    *_dense_and(1, "lenet5", "mnist", "DST", 99.18, 0.05, 1.64, 0.13, 99.11, 0.07),
    *_dense_and(1, "lstm_a", "mnist", "DST", 98.64, 0.12, 1.93, 0.03, 98.70, 0.06),
    *_dense_and(1, "lstm_b", "mnist", "DST", 98.87, 0.07, 0.98, 0.04, 98.89, 0.11),
    *_dense_and(
        2,
        "vgg16",
        "cifar10",
        "Sparse Momentum",
        93.51,
        0.05,
        10,
        None,
        93.36,
        0.04,
        5,
        None,
        93.00,
        0.07,
    ),
    *_dense_and(
        2, "vgg16", "cifar10", "DST", 93.75, 0.21, 8.82, 0.34, 93.93, 0.05, 3.76, 0.53, 93.02, 0.37
    ),
    *_dense_and(
        2,
        "wrn_16_8",
        "cifar10",
        "Sparse Momentum",
        95.43,
        0.02,
        10,
        None,
        94.87,
        0.04,
        5,
        None,
        94.38,
        0.05,
    ),
    *_dense_and(
        2, "wrn_16_8", "cifar10", "DSR", 95.21, 0.05, 10, None, 94.93, 0.04, 5, None, 94.68, 0.05
    ),
    *_dense_and(
        2,
        "wrn_16_8",
        "cifar10",
        "DST",
        95.18,
        0.06,
        9.86,
        0.22,
        95.05,
        0.08,
        4.64,
        0.15,
        94.73,
        0.11,
    ),
    *_dense_and(
        3,
        "resnet50",
        "imagenet",
        "Sparse Momentum",
        74.90,
        None,
        20,
        None,
        73.80,
        None,
        10,
        None,
        72.30,
        None,
    ),
    *_dense_and(
        3, "resnet50", "imagenet", "DSR", 74.90, None, 20, None, 73.30, None, 10, None, 71.60, None
    ),
    *_dense_and(
        3,
        "resnet50",
        "imagenet",
        "DST",
        74.95,
        None,
        19.24,
        None,
        74.02,
        None,
        9.87,
        None,
        72.78,
        None,
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
