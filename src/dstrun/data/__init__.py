"""The data sets: disk → uint8 tensors → batches on the device.

A builder takes the root folder and keywords (`download`, `size`, `train_limit`, `test_limit` and `data.args`; it may
ignore what it has no use for) and gives `Splits`. `BUILDERS` maps the names that `data.builder` may have to them;
other packages add theirs through the entry-point group `dstrun.data`. Knows torch, torchvision and scikit-learn.
"""

from collections.abc import Callable
from functools import partial

from dstrun.data import splits
from dstrun.data.batches import Batches
from dstrun.data.folder import folder
from dstrun.data.splits import DataError, Split, Splits

__all__ = ["BUILDERS", "Batches", "Builder", "DataError", "Split", "Splits"]

Builder = Callable[..., Splits]

BUILDERS: dict[str, Builder] = {
    "digits": splits.digits,
    "mnist": partial(splits.torchvision_set, "MNIST"),
    "fashion_mnist": partial(splits.torchvision_set, "FashionMNIST"),
    "cifar10": partial(splits.torchvision_set, "CIFAR10"),
    "cifar100": partial(splits.torchvision_set, "CIFAR100"),
    "folder": folder,
}
