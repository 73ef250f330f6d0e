"""Static sparse training: a random mask, drawn once (Mocanu et al., 2016; Liu et al., 2022)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dstrun.methods.fixed.distribution import Shapes, layer_counts
from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.fixed.selection import draw, select

DRAW = -1  # the step of the first draw


class Static(FixedMaskMethod):
    """Random masks that stay, and the start of methods that move masks at a constant density.

    density: share of the masked layers' weights that is kept, in (0, 1). distribution: how it
    differs between layers (uniform, er, erk); layer_densities maps globs of layer names to
    densities of their own.
    """

    def __init__(
        self,
        density: float,
        *,
        distribution: str = "erk",
        layer_densities: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(density=density, **options)
        self.initial_density = density
        self._distribution = distribution
        self._given = layer_densities or {}
        self._counts: dict[str, int] = {}

    def describe(self) -> str:
        """Return 'static, density 5.00% (erk)'."""
        by_groups = ":" in self.structure  # then every layer has the same density
        words = [] if by_groups else [self._distribution]
        words += [] if self.structure == "none" else [self.structure]
        name = type(self).__name__.lower()
        return f"{name}, density {self.density:.2%} ({', '.join(words)})"

    def check_density(self, shapes: Shapes) -> None:
        """Count the weights of each layer; raise ValueError where options do not fit the layers."""
        self._counts = layer_counts(shapes, self.initial_density, self._distribution, self._given)
        if self.initial_density != self.density:
            super().check_density(shapes)

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, and draw them."""
        super().prepare(model, example=example, past=past)
        for layer in self.layers:
            weight = layer.weight
            scores = draw(self.seed, layer.name, DRAW, weight.shape, weight.device)
            layer.mask.set(select(scores, self._counts[layer.name], self.structure))
