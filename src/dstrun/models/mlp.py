"""Multilayer perceptron of any widths, with PyTorch's own initialisation."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn


class MLP(nn.Sequential):
    """Linear layers fc1, fc2, … with ReLU between them: (B, …) → widths → classes.

    Without widths it is one linear layer. Raise ValueError for a width below 1.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, widths: Sequence[int] = (512, 512)
    ) -> None:
        super().__init__()
        if not _are_widths(widths):
            raise ValueError(f"widths is {widths}, expected a list of whole numbers from 1 up")
        sizes = [prod(shape), *widths, classes]
        for number in range(1, len(sizes)):
            if number > 1:
                self.add_module(f"relu{number - 1}", nn.ReLU())
            self.add_module(f"fc{number}", nn.Linear(sizes[number - 1], sizes[number]))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))


def _are_widths(widths: Sequence[int]) -> bool:
    """Return whether a value from the command line is a list of positive whole numbers."""
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        return False
    return all(type(width) is int and width > 0 for width in widths)
