"""What a trained network is of and reads: enough to build it again, and to try it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.config.registry import lookup
from dstrun.models import BUILDERS, PACKAGES
from dstrun.runs.tasks import CLASSES, NEXT_TOKEN, Task


@dataclass(frozen=True)
class About:
    """Description of a plain model and of its input: (pixels / 255 − mean) / std, or tokens.

    `shape`: (channels, height, width) of an image, (length,) of a sequence of tokens, int64 from 0
    to classes − 1. `mean`, `std`: one value, or one per channel.
    """

    builder: str
    args: dict[str, Any]
    shape: tuple[int, ...]
    classes: int
    mean: list[float]
    std: list[float]

    def build(self) -> nn.Module:
        """Return the plain model, untrained."""
        build = lookup("model.builder", self.builder, BUILDERS, "dstrun.models", PACKAGES)
        return build(tuple(self.shape), self.classes, **self.args)

    @property
    def task(self) -> Task:
        """What the model has learned."""
        return NEXT_TOKEN if len(self.shape) == 1 else CLASSES

    @property
    def input_name(self) -> str:
        """Name of the input of an ONNX file."""
        return "tokens" if self.task is NEXT_TOKEN else "images"

    def example(self, batch: int = 1) -> Tensor:
        """Return inputs that are all 0: floats (batch, C, H, W), or int64 (batch, length)."""
        dtype = torch.int64 if self.task is NEXT_TOKEN else torch.float32
        return torch.zeros(batch, *self.shape, dtype=dtype)

    def random(self, batch: int) -> Tensor:
        """Return random inputs, the same at each call."""
        generator = torch.Generator().manual_seed(0)
        if self.task is NEXT_TOKEN:
            return torch.randint(self.classes, (batch, *self.shape), generator=generator)
        return torch.randn(batch, *self.shape, generator=generator)
