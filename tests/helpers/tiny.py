"""A tiny model and data set in which every image and every call can be told apart.

Every pixel of training image i is i, of test image j 100 + j. Labels are sorted: 12 images of class
0, then 1, then 2.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.config.check import check
from dstrun.config.options import Config
from dstrun.data import BUILDERS, Split, Splits
from dstrun.training.prepare import prepare
from dstrun.training.trainer import Trainer

BASE = {
    "model.name": "tiny",
    "model.builder": "tiny",
    "data.name": "tiny",
    "data.builder": "tiny",
    "device": "cpu",
    "schedule.epochs": 2,
    "schedule.batch_size": 6,
    "schedule.momentum": 0.0,
    "wandb.mode": "disabled",
}
TRAIN, TEST, CLASSES, SIDE = 36, 12, 3, 6


class Tiny(nn.Module):
    """Two convolutions and a linear layer that record every batch.

    Of each: its images, the mode of the model, and the dtype of its logits.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, norm: bool = True) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(shape[0], 2, 3), nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.fc = nn.Linear(3 * (shape[1] - 4) * (shape[2] - 4), classes)
        self.batches: list[tuple[list[int], bool, torch.dtype]] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = self.fc(self.norm(self.conv2(self.conv1(images))).relu().flatten(1))
        if images.device.type == "cpu":
            self.batches.append((numbers(images), self.training, logits.dtype))
        return logits

    @property
    def pieces(self) -> list[int]:
        return [len(images) for images, _, _ in self.batches]


def numbers(images: Tensor) -> list[int]:
    """Return the numbers of the images, by their first pixel."""
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


def tiny_data(root: Path, dot: bool = False, **options: Any) -> Splits:
    """Return the images described above or, for each, one bright pixel at row 2, column 1."""
    CALLS.append({"root": root, "dot": dot, **options})

    def split(count: int, first: int) -> Split:
        images = (
            torch.arange(first, first + count)
            .view(-1, 1, 1, 1)
            .expand(-1, 1, SIDE, SIDE)
            .to(torch.uint8)
        )
        if dot:
            images = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.uint8)
            images[:, :, 2, 1] = 255
        return Split(images, torch.arange(count) * CLASSES // count)

    return Splits(split(TRAIN, 0), split(TEST, 100), CLASSES)


CALLS: list[dict[str, Any]] = []  # what the data set was asked for


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register both under the name `tiny`."""
    monkeypatch.setitem(models.BUILDERS, "tiny", Tiny)
    monkeypatch.setitem(BUILDERS, "tiny", tiny_data)
    CALLS.clear()


def config(**options: Any) -> Config:
    """Return the config of BASE and the options, with `__` for the dots: reg__alpha=1e-3."""
    return check(BASE | {key.replace("__", "."): value for key, value in options.items()})


def training(**options: Any) -> Trainer:
    """Return the objects of a run at its start."""
    wanted = config(**options)
    return Trainer(wanted, prepare(wanted))
