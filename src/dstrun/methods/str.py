"""STR, soft threshold reparameterisation (Kusupati et al., 2020, arXiv:2002.03231, equation 2).

    W̃ = sign(W) · relu(|W| − σ(s)), with one trained s for each layer

Gradients are autograd's: of W where |W| > σ(s), else 0. There is no penalty: s starts far below 0,
where σ(s) is 0, and weight decay draws it towards 0, until the gradient of the loss holds it. So
the start and the weight decay set how sparse a network gets, and no density can be asked for.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dstrun.methods.base import Group, MaskedMethod
from dstrun.methods.layer_selection import LEAVE
from dstrun.methods.weight_mask import WeightMask, compute_dtype


class SoftThreshold(WeightMask):
    """Weights of one layer moved towards 0 by σ(s), those up to it to 0.

    level: s, a scalar; the threshold of a DST mask has another name, so that files tell them apart.
    """

    def __init__(self, weight: Tensor, start: float) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.full((), start, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return W̃, of the weight's shape."""
        soft = weight.sign() * torch.relu(weight.abs() - self.level.sigmoid())
        return soft.to(compute_dtype(weight))

    @torch.no_grad()
    def kept(self, weight: Tensor) -> Tensor:
        """Return where W̃ is not 0."""
        return weight.abs() > self.level.sigmoid()


class STR(MaskedMethod):
    """Trained soft thresholds.

    threshold_start: s at the start. threshold_decay: factor on the weight decay of s.
    """

    def __init__(
        self,
        threshold_start: float = -3200.0,
        *,
        exclude: Sequence[str] = (),
        compile: str = "off",
        threshold_decay: float = 1.0,
        seed: int = 0,
        include: Sequence[str] = (),
        tied: str = LEAVE,
    ) -> None:
        super().__init__(exclude, compile, include=include, tied=tied)
        self._start, self._decay = threshold_start, threshold_decay

    def describe(self) -> str:
        """Return 'str, 3 soft thresholds from sigmoid(-3200) on'."""
        count = len(self._layers)
        return f"str, {count} soft thresholds from sigmoid({self._start:g}) on"

    def make_mask(self, weight: Tensor) -> SoftThreshold:
        """Return the threshold of one weight."""
        return SoftThreshold(weight, self._start)

    def added_parameters(self) -> list[nn.Parameter]:
        """Return s of every layer."""
        return [cast(SoftThreshold, layer.mask).level for layer in self._layers.values()]

    def groups(self) -> list[Group]:
        """Return s of every layer, with its weight decay."""
        return [Group(self.added_parameters(), decay=self._decay)]

    def _thresholds(self) -> dict[str, Tensor]:
        return dict(zip(self._layers, map(torch.sigmoid, self.added_parameters()), strict=True))
