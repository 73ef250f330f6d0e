"""A text in which every byte can be told from its neighbours, and a network of tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.config.check import check
from dstrun.config.options import Config

WORDS = "In the beginning was a text of numbers, and one of them was"


class Tokens(nn.Module):
    """Embedding, then a linear layer for each byte alone: the next byte from the one before it."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)
        self.seen: list[Tensor] = []

    def forward(self, tokens: Tensor) -> Tensor:
        if self.training:
            self.seen.append(tokens.clone())
        logits: Tensor = self.head(self.mix(self.embedding(tokens)).relu())
        return logits


def write_text(root: Path, lines: int = 40) -> Path:
    """Write `lines` lines, no two alike, to a file in a folder, and return the folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.txt").write_text("".join(f"{WORDS} {number}\n" for number in range(lines)))
    return root


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the network under the name `tokens`."""
    monkeypatch.setitem(models.BUILDERS, "tokens", Tokens)
    monkeypatch.setattr(models, "OF_SEQUENCES", (*models.OF_SEQUENCES, "tokens"))
    torch.manual_seed(0)


def config(**options: Any) -> Config:
    """Return the config of a dense run of two epochs on text, with the options, as in `tiny`."""
    base = {
        "model.name": "tokens",
        "model.builder": "tokens",
        "data.name": "words",
        "data.builder": "text",
        "data.args": {"length": 16},
        "data.root": str(write_text(Path("words"))),
        "data.validation": 0.1,
        "schedule.epochs": 2,
        "schedule.batch_size": 20,
        "schedule.lr": 0.5,
        "reg.method": "dense",
        "device": "cpu",
        "threads": 1,
        "wandb.mode": "disabled",
    }
    return check(base | {key.replace("__", "."): value for key, value in options.items()})
