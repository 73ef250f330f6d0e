"""What makes a network sparse: a method meets the training loop at seven named moments.

    prepare(model)      once, after initialisation, before the optimiser is made
    begin(steps)        once, on the device, before the first of a run's so many steps
    before_step(step)   every step, counted from 0
    before_pass()       every forward pass of training
    regularised(loss)   every step, before the backward pass: loss + alpha · penalty()
    after_step()        every step, after the optimiser's
    measure()           at the rows of layers.csv: figures of every layer

and `plain(model)`, at the end, is a copy without masks. The dense baseline is a method like any
other. This module knows layers, masking, steering, density, and the mistakes of a loop; it knows no
loop, no optimiser and no config."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from dstrun.methods.dst.compiled_masks import compiled, guard_and_mask
from dstrun.methods.dst.density_controller import Steering
from dstrun.methods.dst.masking import (
    Penalty,
    ThresholdMask,
    compute_dtype,
    guard,
    shift_to_density,
)
from dstrun.methods.loop_check import LoopCheck
from dstrun.methods.mask_stats import LayerFigures, measure
from dstrun.methods.masked_layers import (
    Maskable,
    MaskedLayer,
    maskable,
    masked_layers,
    plain,
    sparsify,
)

GENTLE = 0.9  # thresholds at the floor fall by a tenth an update, until some weights are back
LANDING = 0.8  # share of the run; what is left is for the weights to settle in masks that hit the target exactly


class Method(Protocol):
    """The seven moments, and what of the method belongs into a checkpoint beyond the model's own
    state.

    `alpha` is what the penalty weighs now: a 0-dim tensor where it is steered.
    """

    left_dense: dict[str, str]

    @property
    def alpha(self) -> float | Tensor: ...
    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None: ...
    def plain(self, model: nn.Module) -> nn.Module: ...
    def begin(self, steps: int) -> None: ...
    def before_step(self, step: int) -> None: ...
    def before_pass(self) -> None: ...
    def penalty(self) -> Tensor | float: ...
    def regularised(self, loss: Tensor) -> Tensor: ...
    def after_step(self) -> None: ...
    def kept(self) -> Tensor | int: ...
    def measure(self) -> list[LayerFigures]: ...
    def thresholds(self) -> list[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Dense:
    """No masks: every layer that could have one is reported at density 1."""

    alpha = 0.0

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        self._exclude = exclude
        self._layers: dict[str, Maskable] = {}
        self.left_dense: dict[str, str] = {}

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Choose the layers to report; nothing of the model changes, so an `example` of its images
        is of no use."""
        selection = maskable(model, self._exclude, past or ())
        self._layers, self.left_dense = selection.layers, selection.left_dense

    def plain(self, model: nn.Module) -> nn.Module:
        return plain(model)

    def begin(self, steps: int) -> None:
        pass

    def before_step(self, step: int) -> None:
        pass

    def before_pass(self) -> None:
        pass

    def penalty(self) -> float:
        return 0.0

    def regularised(self, loss: Tensor) -> Tensor:
        return loss

    def after_step(self) -> None:
        pass

    def kept(self) -> int:
        return sum(layer.weight.numel() for layer in self._layers.values())

    def measure(self) -> list[LayerFigures]:
        totals = {name: layer.weight.numel() for name, layer in self._layers.items()}
        return [
            LayerFigures(name, total, total, None, None, None, 0.0, 0)
            for name, total in totals.items()
        ]

    def thresholds(self) -> list[nn.Parameter]:
        return []

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class DynamicSparseTraining:
    """The paper's method: trainable thresholds, pushed up by α · Σ exp(−t).

    alpha ≥ 0 weighs the penalty; granularity is neuron, layer or weight; a layer whose density
    falls to `floor` or under (0: never) has its thresholds multiplied by `guard`; `exclude` holds
    globs of layer names left dense. `target_density` > 0 adjusts α, from `alpha` on, so that this
    share of the weights is kept at the end. So that no reset undoes that, `floor` is then at most a
    quarter of the target and `guard` at least GENTLE. Masks are frozen after the share `freeze` of
    the steps (1: never); with a target after LANDING of them at the latest, when the target is met
    exactly. `compile` says what goes to torch.compile: nothing (off), masks, penalty and guard
    (mask), or the guard alone (step), for a model that is itself compiled with the masks in it."""

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
    ) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha is {alpha}, expected a number ≥ 0")
        self._alpha = alpha
        self._granularity, self._exclude = granularity, exclude
        self._floor, self._guard = floor, guard
        self._target, self._freeze = target_density, freeze
        if target_density:
            self._floor, self._guard = min(floor, target_density / 4), max(guard, GENTLE)
            self._freeze = min(freeze, LANDING)
        self._compile = compile
        self._steering: Steering | None = None
        self._frozen_from: int | None = None
        self._ready_penalty: Tensor | None = None
        self._dtype = torch.float32
        self._layers: dict[str, MaskedLayer] = {}
        self._weights: list[nn.Parameter] = []
        self._masks: list[ThresholdMask] = []
        self._masks_before: dict[str, Tensor] = {}
        self._check: LoopCheck | None = None
        self.left_dense: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the check of a loop's first steps: the hook that it has in optimisers cannot be
        copied."""
        return self.__dict__ | {"_check": None}

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, in place; the optimiser is made after that.

        With an `example`, a batch of images or a tuple of what the model is called with, layers
        whose weight is read past their mask are found and left dense. `past` names them for a
        caller that knows them and whose loop is right; without it the first steps are checked:
        RuntimeError for an optimiser made before, a moment left out, a layer read past its mask.
        Raises ValueError for a model with masks or with nothing to mask, RuntimeError for a second
        model."""
        if self._layers:
            raise RuntimeError(
                "prepare() has been called: a method belongs to one model, make another for the next"
            )
        masks = partial(ThresholdMask, granularity=self._granularity)
        selection = sparsify(model, masks, self._exclude, example=example, past=past or ())
        self._layers = {name: cast(MaskedLayer, layer) for name, layer in selection.layers.items()}
        self._weights = [cast(nn.Parameter, layer.weight) for layer in self._layers.values()]
        self._masks = [layer.mask for layer in self._layers.values()]
        self.left_dense = selection.left_dense
        self._check = LoopCheck(self._layers, self._freeze < 1) if past is None else None

    def plain(self, model: nn.Module) -> nn.Module:
        """Return a copy of the model, or of a copy of it, without masks: plain layers whose weights
        are W ⊙ M."""
        if not masked_layers(model):
            raise ValueError("this model has no masks: give the one that was prepared")
        return plain(model)

    def begin(self, steps: int) -> None:
        """Needed for `target_density` and `freeze` alone, which speak of shares of the run."""
        if self._check:
            self._check.begin()
        if self._freeze < 1:
            self._frozen_from = min(max(round(self._freeze * steps), 1), steps - 1)
        if self._target:
            total = sum(weight.numel() for weight in self._weights)
            device = self._weights[0].device
            self._steering = Steering(
                self._target, self._alpha, total, self._frozen_from or steps, device
            )

    @property
    def alpha(self) -> float | Tensor:
        """What the penalty weighs now: a 0-dim tensor where it is steered, 0 once masks are
        frozen."""
        if self._frozen:
            return 0.0
        return self._alpha if self._steering is None else self._steering.alpha

    def thresholds(self) -> list[nn.Parameter]:
        return [mask.threshold for mask in self._masks]

    def before_step(self, step: int) -> None:
        if self._check:
            self._check.before_step()
        if self._frozen_from is not None and not self._frozen and step >= self._frozen_from:
            self._freeze_masks()

    def _freeze_masks(self) -> None:
        if self._target:
            shift_to_density(self._weights, self.thresholds(), self._target, self._floor)
        for weight, mask in zip(self._weights, self._masks, strict=True):
            mask.freeze(weight)
        self._ready_penalty = None

    @property
    def _frozen(self) -> bool:
        return len(self._masks) > 0 and self._masks[0].frozen is not None

    def before_pass(self) -> None:
        if self._compile != "mask" or self._frozen:
            return
        if self._ready_penalty is None or not all(mask.is_ready() for mask in self._masks):
            self._dtype = compute_dtype(self._weights[0])
            self._guard_and_mask(floor=0.0)  # the guard has had its turn after the update

    def penalty(self) -> Tensor:
        """L_s, a scalar. Raises RuntimeError before `prepare`."""
        if not self._layers:
            raise RuntimeError("there are no thresholds yet: call prepare(model) first")
        if self._ready_penalty is not None:
            ready, self._ready_penalty = self._ready_penalty, None
            return ready
        return Penalty.apply(*self.thresholds())

    def regularised(self, loss: Tensor) -> Tensor:
        """Return loss + α · L_s, or the loss itself where α is 0 or masks are frozen."""
        if self._check and not self._frozen and not torch.compiler.is_compiling():
            self._check.before_backward(loss)
        alpha = self.alpha
        if isinstance(alpha, Tensor):
            return loss + alpha * self.penalty()
        return torch.add(loss, self.penalty(), alpha=alpha) if alpha else loss

    def after_step(self) -> None:
        """Apply guard and steering; compiled, the next pass's masks in the same call: change no
        weight after it."""
        if self._check and not torch.compiler.is_compiling():
            self._check.after_step()
            if self._check.is_done:
                self._check = None
        if self._frozen:
            return
        if self._steering:
            thresholds: list[Tensor] = list(self.thresholds())
            with torch.no_grad():
                torch._foreach_mul_(thresholds, self._steering.release)
                if (
                    self._granularity == "layer"
                ):  # under 0 it keeps no more weights and only takes longer to come back
                    torch._foreach_clamp_min_(thresholds, 0.0)
        if self._compile == "mask":
            kept = [self._guard_and_mask(self._floor)]
        elif self._floor > 0 or self._steering:
            alone = self._compile == "step" and not torch.compiler.is_compiling()
            guard_all = compiled(guard) if alone else guard
            kept = guard_all(self._weights, self.thresholds(), self._floor, self._guard)
        if self._steering:
            self._steering.steer(kept)

    def _guard_and_mask(self, floor: float) -> Tensor:
        settings = floor, self._guard, self._steering is not None, self._dtype
        self._ready_penalty, kept = guard_and_mask(self._weights, self._masks, *settings)
        return kept

    @torch.no_grad()
    def kept(self) -> Tensor:
        """Return how many weights of the masked layers take part now: a 0-dim integer tensor."""
        pairs = zip(self._masks, self._weights, strict=True)
        return torch.stack([mask.kept(weight).sum() for mask, weight in pairs]).sum()

    @torch.no_grad()
    def measure(self) -> list[LayerFigures]:
        """Figures of every masked layer; churn counts from the measurement before, at first from
        all kept."""
        masks = {name: layer.mask.kept(layer.weight) for name, layer in self._layers.items()}
        before = self._masks_before or {name: torch.ones_like(mask) for name, mask in masks.items()}
        figures = measure(masks, before, dict(zip(masks, self.thresholds(), strict=True)))
        self._masks_before = masks
        return figures

    def state_dict(self) -> dict[str, Any]:
        steering = {"steering": self._steering.state_dict()} if self._steering else {}
        return {"masks_before": self._masks_before, **steering}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """After `begin` and after the model's own state, which holds the masks where they are
        frozen."""
        self._masks_before = {
            name: mask.to(self._layers[name].weight.device)
            for name, mask in state["masks_before"].items()
        }
        if self._steering:
            self._steering.load_state_dict(state["steering"])
