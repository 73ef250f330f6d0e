"""scikit-learn's digits, which need no download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dstrun.data.splits import Split, Splits, stratified_split
from dstrun.system.errors import DataError


def digits(root: Path) -> Splits:
    """Return scikit-learn's 1,797 digits of 8×8 pixels, enlarged to 28×28 with a margin of 2.

    Four fifths of each class are for training, the rest for testing. `root` is not used: the wheel
    of scikit-learn has the images.
    """
    pixels, labels = _digits_table()
    small = pixels.view(-1, 1, 8, 8) * (255 / 16)
    enlarged = torch.nn.functional.interpolate(
        small, (24, 24), mode="bilinear", align_corners=False
    )
    images = torch.nn.functional.pad(enlarged, (2, 2, 2, 2)).round().to(torch.uint8)
    all_digits = Split(images, labels)
    train, test = stratified_split(labels, 0.2)
    return Splits(all_digits.subset(train), all_digits.subset(test), classes=10)


def _digits_table() -> tuple[Tensor, Tensor]:
    """Return the 64 pixels, in [0, 16], and the label of each digit.

    Reading scikit-learn's file saves its import, which takes a second.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("the digits are part of scikit-learn, which is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
    return table[:, :-1], table[:, -1].long()
