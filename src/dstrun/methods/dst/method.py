"""Dynamic Sparse Training: trainable thresholds, pushed up by α · Σ exp(−t)."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.methods.base import Group, MaskedMethod
from dstrun.methods.compiler import compiled
from dstrun.methods.dst.compiled_masks import CompiledMask, CompiledMasks
from dstrun.methods.dst.density_controller import DensityController
from dstrun.methods.dst.masking import (
    Penalty,
    ThresholdMask,
    clamp,
    reset_at_floor,
    scale,
    shift_to_density,
)
from dstrun.methods.dst.with_target import BOUND_WITH_TARGET, with_target
from dstrun.methods.layer_selection import LEAVE
from dstrun.methods.loop_check import LoopCheck
from dstrun.system.numbers import short

NO_ARGUMENTS = ("self", "__class__")  # among the names in a constructor
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class DynamicSparseTraining(MaskedMethod):
    """The paper's method (Liu et al., ICLR 2020).

    alpha ≥ 0 weighs the penalty; granularity: one threshold a neuron, layer or weight. Thresholds
    of a layer whose density is at or below `floor` (0: never) are multiplied by `guard`. `exclude`
    holds globs of layer names left dense. Masks are frozen after the share `freeze` of the steps
    (1: never). threshold_clip > 0 bounds each threshold's gradient. Thresholds decay by
    `threshold_decay` times the weight decay.

    target_density in (0, 1) adjusts α, from `alpha` on, so that this share of the masked layers'
    weights is kept at the end. The floor is then at most a quarter of it, `guard` at least 0.9,
    `freeze` at most 0.8; and threshold_clip 0 means 0.1 where a threshold's gradient can be many
    times its weights': behind batch norm, and for one threshold a layer.

    compile: what goes to torch.compile: nothing (off), masks, penalty and reset (mask), or the
    reset alone (step), for a model that is itself compiled with the masks in it.
    """

    def __init__(
        self,
        alpha: float,
        granularity: str = "neuron",
        floor: float = 0.01,
        exclude: Sequence[str] = (),
        compile: str = "off",
        *,
        guard: float = 0.0,
        target_density: float = 0.0,
        freeze: float = 1.0,
        threshold_clip: float = 0.0,
        threshold_decay: float = 1.0,
        include: Sequence[str] = (),
        tied: str = LEAVE,
    ) -> None:
        self.made_with = {name: one for name, one in locals().items() if name not in NO_ARGUMENTS}
        if not alpha >= 0:
            raise ValueError(f"alpha is {alpha}, expected a number ≥ 0")
        if not 0 <= target_density < 1:
            raise ValueError(f"target_density is {target_density}, expected 0 ≤ number < 1")
        super().__init__(exclude, compile, include=include, tied=tied)
        if target_density:
            floor, guard, freeze = with_target(target_density, floor, guard, freeze)
        self._alpha, self._granularity = alpha, granularity
        self._floor, self._guard = floor, guard
        self._target, self._freeze = target_density, freeze
        self._bound, self._decay = threshold_clip, threshold_decay
        self._controller: DensityController | None = None
        self._frozen_from: int | None = None
        self._compiled = CompiledMasks(guard) if compile == "mask" else None
        self._masks: list[ThresholdMask] = []
        self._places: list[int] = []  # of the thresholds among the trainable parameters
        self._check: LoopCheck | None = None
        self.metric_columns = ("alpha",) if target_density else ()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the check of a loop's first steps: its hook in optimisers cannot be copied."""
        return self.__dict__ | {"_check": None}

    def describe(self) -> str:
        """Return 'dst, α = 5e-4, 410 thresholds (one per neuron)'."""
        alpha = f"α = {short(self._alpha)}"
        if self._target:
            of = " of the masked layers" if self.left_dense else ""
            alpha = (
                f"target density {self._target:.2%}{of}, α adjusted from {short(self._alpha)} on"
            )
        count = sum(threshold.numel() for threshold in self.added_parameters())
        bound = f", gradients bounded at ±{self._bound:g}" if self.reads_gradients else ""
        return f"dst, {alpha}, {count:,} thresholds (one per {self._granularity}){bound}"

    def make_mask(self, weight: Tensor) -> ThresholdMask:
        """Return the thresholds of one weight, all 0."""
        if self._compiled:
            return CompiledMask(weight, self._granularity, self._compiled)
        return ThresholdMask(weight, self._granularity)

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, as `MaskedMethod.prepare`.

        Without `past` the first steps of the loop are checked: RuntimeError for an optimiser made
        before, a call left out, a layer read past its mask.
        """
        super().prepare(model, example=example, past=past)
        self._masks = [cast(ThresholdMask, layer.mask) for layer in self._layers.values()]
        if self._compiled:
            self._compiled.take_layers(list(self._layers.values()))
        self._bound_gradients(model)
        self._check = LoopCheck(self._layers, self._freeze < 1) if past is None else None

    @property
    def _weights(self) -> list[Tensor]:
        """The masked weights, rows first."""
        return [layer.weight for layer in self._layers.values()]

    def _bound_gradients(self, model: nn.Module) -> None:
        """Find the thresholds among the gradients, and the bound on them."""
        if self._target and not self._bound:
            has_norm = any(isinstance(part, BATCH_NORMS) for part in model.modules())
            self._bound = BOUND_WITH_TARGET if has_norm or self._granularity == "layer" else 0.0
        self.reads_gradients = self._bound > 0
        thresholds = {id(threshold) for threshold in self.added_parameters()}
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._places = [at for at, one in enumerate(trainable) if id(one) in thresholds]

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Start the schedules of `target_density` and `freeze`, which are shares of the run."""
        super().begin(steps, optimiser, steps_per_epoch)
        if self._check:
            self._check.begin()
        if self._freeze < 1:
            self._frozen_from = min(max(round(self._freeze * steps), 1), steps - 1)
        if self._target:
            total = sum(weight.numel() for weight in self._weights)
            device = self._masks[0].threshold.device
            end = self._frozen_from or steps
            self._controller = DensityController(self._target, self._alpha, total, end, device)

    @property
    def alpha(self) -> float | Tensor:
        """The weight of the penalty now: a 0-dim tensor with a target, 0 once masks are frozen."""
        if self._is_frozen:
            return 0.0
        return self._alpha if self._controller is None else self._controller.alpha

    def added_parameters(self) -> list[nn.Parameter]:
        """Return the thresholds of all layers."""
        return [mask.threshold for mask in self._masks]

    def groups(self) -> list[Group]:
        """Return the thresholds, which have a weight decay of their own."""
        return [Group(self.added_parameters(), decay=self._decay)]

    def before_step(self, step: int) -> None:
        """Freeze the masks when their step has come."""
        super().before_step(step)
        if self._check:
            self._check.before_step()
        if self._frozen_from is not None and not self._is_frozen and step >= self._frozen_from:
            self._freeze_masks()

    def _freeze_masks(self) -> None:
        if self._target:
            shift_to_density(self._weights, self.added_parameters(), self._target, self._floor)
        for weight, mask in zip(self._weights, self._masks, strict=True):
            mask.freeze(weight)
        if self._compiled:
            self._compiled.clear()

    @property
    def _is_frozen(self) -> bool:
        return len(self._masks) > 0 and self._masks[0].frozen is not None

    def penalty(self) -> Tensor:
        """Return L_s, a scalar. Raises RuntimeError before `prepare`."""
        if not self._masks:
            raise RuntimeError("there are no thresholds yet: call prepare(model) first")
        if self._compiled and (ready := self._compiled.take_penalty()) is not None:
            return ready
        return Penalty.apply(*self.added_parameters())

    def regularised(self, loss: Tensor) -> Tensor:
        """Return loss + α · L_s, or the loss itself where α is 0 or masks are frozen."""
        if self._check and not self._is_frozen and not torch.compiler.is_compiling():
            self._check.before_backward(loss, self._unread())
        alpha = self.alpha
        if isinstance(alpha, Tensor):
            return loss + alpha * self.penalty()
        return torch.add(loss, self.penalty(), alpha=alpha) if alpha else loss

    def _unread(self) -> set[str]:
        """Return the layers whose W ⊙ M was computed with the others' and never asked for."""
        places = self._compiled.unread() if self._compiled else set()
        return {name for place, name in enumerate(self._layers) if place in places}

    def on_gradients(self, gradients: Sequence[Tensor | None]) -> bool:
        """Clamp each threshold's gradient to ±threshold_clip, in place, if it is given."""
        if not self.reads_gradients:
            return True
        ours = []
        for place in self._places:
            gradient = gradients[place]
            if gradient is not None:
                ours.append(gradient)
        if ours:  # else masks are frozen
            clamp(ours, self._bound)
        return True

    def after_step(self) -> None:
        """Reset thresholds of layers at their floor, and adjust α.

        With compile=mask the next pass's masks are computed in the same call: change no weight
        between this call and the next step.
        """
        if self._check and not torch.compiler.is_compiling():
            self._check.after_step()
            if self._check.is_done:
                self._check = None
        if self._is_frozen:
            return
        if self._controller:
            # below 0 a layer's threshold keeps no more weights and takes longer to come back
            lower = 0.0 if self._granularity == "layer" else None
            scale(self.added_parameters(), self._controller.release, lower)
        kept = self._reset_at_floor()
        if self._controller:
            self._controller.adjust(kept)

    def _reset_at_floor(self) -> list[Tensor]:
        """Reset thresholds and return how many weights were kept, if anything needs to know."""
        counts = self._controller is not None
        if self._compiled:
            # load_state_dict(…, assign=True) may have put others in place of the parameters
            self._compiled.take_layers(list(self._layers.values()))
            return [self._compiled.compute(self._floor, counts)]
        if not counts and not self._floor > 0:
            return []
        reset = reset_at_floor
        if self._compile == "step" and not torch.compiler.is_compiling():
            reset = compiled(reset_at_floor, self._masks[0].threshold.device)
        return reset(self._weights, self.added_parameters(), self._floor, self._guard)

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Return L_s and α; waits for the device."""
        ready = self._compiled.penalty if self._compiled else None
        penalty = self.penalty() if ready is None else ready
        return {"penalty": float(penalty), "alpha": float(self.alpha)}

    def _thresholds(self) -> dict[str, Tensor]:
        return dict(zip(self._layers, self.added_parameters(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the masks of the last measurement and, with a target, the controller's state."""
        state = super().state_dict()
        return state | ({"steering": self._controller.state_dict()} if self._controller else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after `begin` and the model's state, which holds frozen masks."""
        super().load_state_dict(state)
        if self._compiled:
            self._compiled.clear()  # masks that wait are those of the weights before
        if self._controller:
            self._controller.load_state_dict(state["steering"])
