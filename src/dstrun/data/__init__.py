"""Data sets: files on disk → uint8 tensors → batches on the device.

A builder takes the root folder, `data.args`, and those of the keywords `download`, `size`,
`train_limit`, `test_limit` and `stream` that it has parameters for; it returns `Splits`. `BUILDERS`
maps the names that `data.builder` may have to them; other packages add theirs through the
entry-point group `dstrun.data`.
"""

from collections.abc import Callable
from functools import partial

from dstrun.data.batches import Batches
from dstrun.data.checks import check, note_missing_classes
from dstrun.data.digits import digits
from dstrun.data.folder import folder
from dstrun.data.image_reader import ImageReader
from dstrun.data.mixed_batches import MixedBatches
from dstrun.data.splits import AnySplit, FileSplit, Split, Splits, TextSplit
from dstrun.data.streamed_batches import StreamedBatches
from dstrun.data.text import text
from dstrun.data.text_batches import TextBatches
from dstrun.data.torchvision_sets import published_set
from dstrun.system.errors import DataError

__all__ = [
    "BUILDERS",
    "AnyBatches",
    "AnySplit",
    "Batches",
    "Builder",
    "DataError",
    "FileSplit",
    "ImageReader",
    "MixedBatches",
    "Split",
    "Splits",
    "StreamedBatches",
    "TextBatches",
    "TextSplit",
    "check",
    "note_missing_classes",
]

Builder = Callable[..., Splits]
AnyBatches = Batches | StreamedBatches | TextBatches | MixedBatches

BUILDERS: dict[str, Builder] = {
    "digits": digits,
    "mnist": partial(published_set, "MNIST"),
    "fashion_mnist": partial(published_set, "FashionMNIST"),
    "cifar10": partial(published_set, "CIFAR10"),
    "cifar100": partial(published_set, "CIFAR100"),
    "folder": folder,
    "text": text,
}
