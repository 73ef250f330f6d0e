"""Data sets for tests: made up, as files, and real ones if present."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dstrun.data import Split, Splits
from dstrun.system.machine import missing_for_compilation

SHAPES = {
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 16, 16),
    "cifar100": (3, 16, 16),
}


def made_up(
    shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, train: int = 40, test: int = 20
) -> Splits:
    """Return random images whose brightness determines the class, the same at every call."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        labels = torch.arange(count) % classes
        noise = torch.randint(0, 128, (count, *shape), generator=generator)
        return Split((noise + labels.view(-1, 1, 1, 1) * (127 // classes)).to(torch.uint8), labels)

    return Splits(split(train), split(test), classes)


def image_files(root: Path, images: dict[str, int], size: tuple[int, int] = (20, 10)) -> None:
    """Write `count` grey PNG files of (rows, columns) per class, in one folder each."""
    for name, count in images.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((*size, 3), 10 * number, np.uint8)).save(
                root / name / f"{number}.png"
            )


def _real_data(*below: str) -> Any:
    root = os.environ.get("DSTRUN_DATA", "")
    missing = not root or not Path(root, *below).exists()
    return pytest.mark.skipif(missing, reason=f"$DSTRUN_DATA holds no {'/'.join(below)}")


needs_mnist = _real_data("MNIST", "raw", "train-images-idx3-ubyte")
needs_cifar10 = _real_data("cifar-10-batches-py", "data_batch_1")
needs_compiler = pytest.mark.skipif(
    missing_for_compilation(torch.device("cpu")) is not None,
    reason="there is no compiler for torch.compile",
)
