"""What makes a network sparse: a method meets the training loop at five named moments.

    prepare(model)   once, after initialisation, before the optimiser is made
    before_pass()    every forward pass of training
    penalty()        every step, before the backward pass: the loss grows by alpha · penalty()
    after_step()     every step, after the optimiser's
    measure()        at the rows of layers.csv: figures of every layer

The dense baseline is a method like any other. This module knows layers, masking and density; it knows no loop,
no optimiser and no config.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from dstrun.density import LayerFigures, measure
from dstrun.fused import compiled, guard_and_mask
from dstrun.layers import Maskable, MaskedLayer, maskable, sparsify
from dstrun.masking import Penalty, ThresholdMask, compute_dtype, guard


class Method(Protocol):
    """The five moments, and what of the method belongs into a checkpoint beyond the model's own state."""

    alpha: float
    left_dense: dict[str, str]

    def prepare(self, model: nn.Module) -> None: ...
    def before_pass(self) -> None: ...
    def penalty(self) -> Tensor | float: ...
    def after_step(self) -> None: ...
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

    def prepare(self, model: nn.Module) -> None:
        self._layers = maskable(model, self._exclude).layers
        if not self._layers:
            raise ValueError("there is no layer that could be masked, so none to compare with")

    def before_pass(self) -> None:
        pass

    def penalty(self) -> float:
        return 0.0

    def after_step(self) -> None:
        pass

    def measure(self) -> list[LayerFigures]:
        totals = {name: layer.weight.numel() for name, layer in self._layers.items()}
        return [LayerFigures(name, total, total, None, None, None, 0.0, 0) for name, total in totals.items()]

    def thresholds(self) -> list[nn.Parameter]:
        return []

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class DynamicSparseTraining:
    """The paper's method: trainable thresholds, pushed up by α · Σ exp(−t).

    alpha ≥ 0 weighs the penalty; granularity is neuron, layer or weight; a layer whose density falls to `floor` or
    under has its thresholds reset (0: never); `exclude` holds globs of layer names left dense. `compile`
    says what goes to torch.compile: nothing (off), masks, penalty and guard (mask), or the guard alone (step), for a
    model that is itself compiled with the masks in it.
    """

    def __init__(
        self,
        alpha: float,
        granularity: str = "neuron",
        floor: float = 0.01,
        exclude: Sequence[str] = (),
        compile: str = "off",
    ) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha is {alpha}, expected a number ≥ 0")
        self.alpha = alpha
        self._granularity, self._floor, self._exclude = granularity, floor, exclude
        self._compile = compile
        self._ready_penalty: Tensor | None = None
        self._dtype = torch.float32
        self._layers: dict[str, MaskedLayer] = {}
        self._weights: list[nn.Parameter] = []
        self._masks: list[ThresholdMask] = []
        self._masks_before: dict[str, Tensor] = {}
        self.left_dense: dict[str, str] = {}

    def prepare(self, model: nn.Module) -> None:
        selection = sparsify(model, partial(ThresholdMask, granularity=self._granularity), self._exclude)
        self._layers = {name: cast(MaskedLayer, layer) for name, layer in selection.layers.items()}
        self._weights = [cast(nn.Parameter, layer.weight) for layer in self._layers.values()]
        self._masks = [layer.mask for layer in self._layers.values()]
        self.left_dense = selection.left_dense

    def thresholds(self) -> list[nn.Parameter]:
        return [mask.threshold for mask in self._masks]

    def before_pass(self) -> None:
        if self._compile != "mask":
            return
        if self._ready_penalty is None or not all(mask.is_ready() for mask in self._masks):
            self._dtype = compute_dtype(self._weights[0])
            self._guard_and_mask()

    def penalty(self) -> Tensor:
        """L_s, a scalar. Raises RuntimeError before `prepare`."""
        if not self._layers:
            raise RuntimeError("there are no thresholds yet: call prepare(model) first")
        if self._ready_penalty is not None:
            ready, self._ready_penalty = self._ready_penalty, None
            return ready
        return Penalty.apply(*self.thresholds())

    def after_step(self) -> None:
        """The guard; where masks are compiled, the next pass's in the same call: change no weight after it."""
        if self._compile == "mask":
            self._guard_and_mask()
        elif self._floor > 0:
            alone = self._compile == "step" and not torch.compiler.is_compiling()
            guard_all = compiled(guard) if alone else guard
            guard_all(self._weights, self.thresholds(), self._floor)

    def _guard_and_mask(self) -> None:
        self._ready_penalty = guard_and_mask(self._weights, self._masks, self._floor, self._dtype)

    @torch.no_grad()
    def measure(self) -> list[LayerFigures]:
        """Figures of every masked layer; churn counts from the measurement before, at first from all kept."""
        masks = {name: layer.mask.kept(layer.weight) for name, layer in self._layers.items()}
        before = self._masks_before or {name: torch.ones_like(mask) for name, mask in masks.items()}
        figures = measure(masks, before, dict(zip(masks, self.thresholds(), strict=True)))
        self._masks_before = masks
        return figures

    def state_dict(self) -> dict[str, Any]:
        return {"masks_before": self._masks_before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._masks_before = {
            name: mask.to(self._layers[name].weight.device) for name, mask in state["masks_before"].items()
        }
