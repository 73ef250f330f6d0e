"""Base class of methods that give masks, rather than compute them from thresholds at every step.

    pruned weights are 0, get no gradient and have no momentum, so the optimiser leaves them at 0
    a weight that is grown starts at 0, without momentum

A subclass decides in which steps masks move (`is_due`) and where to (`move`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.methods.base import MaskedMethod
from dstrun.methods.fixed.distribution import Shapes, refuse_less_than_rows, refuse_other_groups
from dstrun.methods.fixed.mask import FixedMask, multiply
from dstrun.methods.fixed.selection import keep_highest
from dstrun.methods.fixed.step_check import StepCheck
from dstrun.methods.layer_selection import LEAVE
from dstrun.methods.layer_weights import LayerWeight


@dataclass
class Layer:
    """A masked layer: weight (c_o, …), mask, and the number of weights it keeps.

    place: of the weight's parameter among the trainable ones, and so among gradients.
    """

    source: LayerWeight
    mask: FixedMask
    place: int
    kept: int

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.source.name

    @property
    def weight(self) -> Tensor:
        """The weight, rows first: the parameter itself, or a view of it."""
        return self.source.weight

    def in_gradients(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """Return the layer's gradient, rows first, of those of all trainable parameters."""
        gradient = gradients[self.place]
        return None if gradient is None else self.source.of(gradient)


class FixedMaskMethod(MaskedMethod):
    """Masks in every maskable layer that keep everything until a subclass moves them.

    density: share of the masked layers' weights to reach, in (0, 1]; 1 where a method has none.
    structure: "none", "fan_in" (as many weights in every row) or "N:M" (N of every M inputs of a
    neuron or filter), as `select` has them; the density of N:M is N / M. seed: of every draw of the
    method.
    """

    reads_gradients = True
    has_dense_momentum = False  # True: that of pruned weights stays as it is
    learns_pruned = False  # True: pruned weights are not 0
    keeps_structure = True  # False: masks move without regard to it

    def __init__(
        self,
        *,
        density: float = 1.0,
        structure: str = "none",
        exclude: Sequence[str] = (),
        compile: str = "off",
        seed: int = 0,
        include: Sequence[str] = (),
        tied: str = LEAVE,
    ) -> None:
        super().__init__(exclude, compile, include=include, tied=tied)
        if not 0 < density <= 1:
            raise ValueError(f"density: got {density:g}, expected 0 < number ≤ 1")
        if structure != "none" and not self.keeps_structure:
            name = type(self).__name__.lower()
            raise ValueError(f"structure: got {structure!r}, and {name} has none")
        self.density, self.structure, self.seed = density, structure, seed
        self.layers: list[Layer] = []
        self.step = -1  # of the step under way; before the first none is
        self._optimiser: Optimizer | None = None
        self._check: StepCheck | None = None
        self._is_own_loop = True  # a user's, whose optimiser may move a weight that is 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the check of a loop's first steps: its hook in optimisers cannot be copied."""
        return self.__dict__ | {"_check": None}

    @property
    def is_begun(self) -> bool:
        """Whether `begin` has been called."""
        return self._optimiser is not None

    def make_mask(self, weight: Tensor) -> FixedMask:
        """Return a mask of one weight that keeps all of it."""
        return FixedMask(weight)

    def check(self, layers: Mapping[str, LayerWeight]) -> None:
        """Raise ValueError, which begins with the option's name, where the options do not fit."""
        for name, layer in layers.items():
            if not layer.parameter.requires_grad:
                raise ValueError(
                    f"exclude: the weight of {name} is not trained, since its requires_grad is "
                    f"False; reg.exclude=[{name}] leaves it dense"
                )
        shapes = shapes_of(layers)
        if self.structure not in ("none", "fan_in"):
            refuse_other_groups(shapes, self.structure, self.density)
        self.check_density(shapes)

    def check_density(self, shapes: Shapes) -> None:
        """Raise ValueError, which begins with the option's name, for a density that is too low."""
        refuse_less_than_rows(shapes, self.number_kept(shapes), self.density)

    def number_kept(self, shapes: Shapes) -> int:
        """Return how many weights of layers of these shapes the density keeps."""
        return round(self.density * sum(map(prod, shapes.values())))

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, as `MaskedMethod.prepare`; without `past` check the loop."""
        super().prepare(model, example=example, past=past)
        self.check(self._layers)
        trainable = [id(one) for one in model.parameters() if one.requires_grad]
        for layer in self._layers.values():
            mask, place = cast(FixedMask, layer.mask), trainable.index(id(layer.parameter))
            self.layers.append(Layer(layer, mask, place, layer.weight.numel()))
        self._check = StepCheck(self) if past is None else None
        self._is_own_loop = past is None

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Take the number of steps and the optimiser; pruned weights become 0."""
        if not self.layers:
            raise RuntimeError("there are no masks yet: call prepare(model) before begin()")
        if optimiser is None:
            raise RuntimeError(
                f"{type(self).__name__} changes momentum: call begin(steps, optimiser)"
            )
        self._optimiser = optimiser
        self._take_masks()
        self.zero_pruned()
        for layer in self.layers:
            layer.mask.holds_zeros = not (self._is_own_loop or self.learns_pruned)

    def is_due(self, step: int) -> bool:
        """Return whether masks may move in a step."""
        return False

    def before_step(self, step: int) -> None:
        """Note the step, and whether masks move in it."""
        super().before_step(step)
        self.step = step
        self.is_update_step = self.is_due(step)

    def on_gradients(self, gradients: Sequence[Tensor | None]) -> bool:
        """Multiply gradients by masks, in place, unless momentum is dense."""
        ours: list[Tensor] = []
        factors: list[Tensor] = []
        for layer in [] if self.has_dense_momentum else self.layers:
            gradient = layer.in_gradients(gradients)
            if gradient is not None:
                ours.append(gradient)
                factors.append(layer.mask.factor)
        if ours:
            multiply(ours, factors)
        return True

    @torch.no_grad()
    def move(self, layer: Layer, keep: Tensor) -> None:
        """Take over a mask; weights and momentum stay only where old and new mask keep them."""
        if self.step > 0 or self.is_update_step:  # else the mask has taken no part
            self._history.explore({layer.name: layer.mask.keep})
        stays = (keep & layer.mask.keep).to(layer.weight.dtype)
        changed: list[Tensor] = [] if self.learns_pruned else [layer.weight]
        changed += [] if self.has_dense_momentum else self.moments(layer)
        for tensor in changed:
            tensor.mul_(stays)
        layer.mask.set(keep)

    def zero_pruned(self) -> None:
        """Set pruned weights to 0."""
        multiply([one.weight for one in self.layers], [one.mask.factor for one in self.layers])

    def moments(self, layer: Layer) -> list[Tensor]:
        """Return the optimiser's state of a weight that has its shape: momentum, Adam's moments."""
        return list(self._state(layer).values())

    def momentum(self, layer: Layer) -> Tensor:
        """Return the momentum of a weight, of Adam m / (√v + 1e-8): 0 without a step."""
        state = self._state(layer)
        if "exp_avg" in state:
            return state["exp_avg"] / (state["exp_avg_sq"].sqrt() + 1e-8)
        buffer = state.get("momentum_buffer")
        return torch.zeros_like(layer.weight) if buffer is None else buffer

    def _state(self, layer: Layer) -> dict[str, Tensor]:
        """Return the optimiser's tensors of the parameter's shape, those of the weight, by name."""
        assert self._optimiser is not None
        parameter = layer.source.parameter
        found = {}
        for name, value in self._optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                found[name] = layer.source.of(value)
        return found

    @torch.no_grad()
    def reset_optimiser(self) -> None:
        """Set the optimiser's whole state to 0, in place: that of all parameters, and its steps."""
        assert self._optimiser is not None
        for state in self._optimiser.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def _take_masks(self) -> None:
        """Count what the masks keep, in one transfer."""
        counts = torch.stack([layer.mask.keep.sum() for layer in self.layers]).tolist()
        for layer, count in zip(self.layers, counts, strict=True):
            layer.kept = int(count)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after `begin` and the model's own state, which holds the masks."""
        super().load_state_dict(state)
        self._take_masks()


def strongest(layer: Layer, count: int) -> Tensor:
    """Return a mask of the `count` kept weights of highest magnitude."""
    magnitudes = layer.weight.detach().abs().masked_fill(~layer.mask.keep, -1.0)
    return keep_highest(magnitudes, count)


def shapes_of(layers: Mapping[str, LayerWeight]) -> Shapes:
    """Return the shapes of layers' weights."""
    return {name: tuple(layer.weight.shape) for name, layer in layers.items()}
