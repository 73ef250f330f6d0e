"""Base classes of sparse-training methods: the calls of the training loop, as no-ops.

    check(layers)                  before anything is trained: do the options fit these layers?
    prepare(model)                 once, after initialisation, before the optimiser is made
    begin(steps, optimiser)        once, on the device, before the first of the run's `steps` steps
    initialise(model, batches)     once, before the first step of a run that is not resumed
    before_step(step)              every step, counted from 0
    regularised(loss)              every step: the loss to differentiate
    on_gradients(gradients)        every step, when they are complete, before clipping: if it asks
    after_step()                   every step, after the optimiser's
    end_round(number)              after a round of training, if there are several
    measure()                      when rows of layers.csv are written
    metrics()                      when a row of metrics.csv is written

A method overrides what it needs; one with masks derives from `MaskedMethod`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.methods.layer_selection import LEAVE, maskable
from dstrun.methods.layer_weights import LayerWeight
from dstrun.methods.mask_history import MaskHistory
from dstrun.methods.mask_stats import LayerFigures, measure
from dstrun.methods.masked_layers import masked_layers, plain, sparsify
from dstrun.methods.weight_mask import WeightMask


@dataclass(frozen=True)
class Group:
    """Parameters that have factors of their own on the weight decay and on the learning rate."""

    parameters: Sequence[nn.Parameter]
    decay: float = 1.0
    lr: float = 1.0


class Method:
    """A method without masks, whose calls do nothing: the dense baseline is no more than this.

    exclude, include, tied: as `maskable` has them. `left_dense` names every weight without a mask,
    with the reason. compile: what goes to torch.compile (off, mask, step).
    """

    metric_columns: tuple[str, ...] = ()  # columns of metrics.csv that `metrics` adds
    has_masks = False
    reads_gradients = False  # True: the loop calls `on_gradients`
    is_update_step = False  # True: masks move in this step, which is then not compiled whole
    rounds = 1  # of training, each over all epochs
    rewind_epoch = 0  # at which rounds after the first begin
    made_with: Mapping[str, Any] = {}  # arguments, by name, where they are known

    def __init__(
        self,
        exclude: Sequence[str] = (),
        compile: str = "off",
        *,
        include: Sequence[str] = (),
        tied: str = LEAVE,
    ) -> None:
        self._exclude, self._compile = exclude, compile
        self._include, self._tied = include, tied
        self._layers: dict[str, LayerWeight] = {}
        self._history = MaskHistory()
        self.left_dense: dict[str, str] = {}

    def describe(self) -> str:
        """Return the method and its settings in words, for the console."""
        return "dense: no masks, the baseline"

    def moves_rarely(self) -> str:
        """Return that masks which are to move do not, in a run so short; '' where they do."""
        return ""

    def check(self, layers: Mapping[str, LayerWeight]) -> None:
        """Raise ValueError, which begins with an option's name, where it does not fit the layers.

        layers: those that have or will have a mask.
        """

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Choose the layers to report; nothing of the model changes."""
        selection = maskable(model, self._exclude, past or (), self._include, self._tied)
        self._layers, self.left_dense = selection.layers, selection.left_dense

    def make_mask(self, weight: Tensor) -> WeightMask:
        """Return the mask of one weight; only a method with masks is asked."""
        raise NotImplementedError

    def plain(self, model: nn.Module) -> nn.Module:
        """Return a copy of the model without masks: plain layers whose weights are W ⊙ M."""
        return plain(model)

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Take the number of steps of the run, and the optimiser, whose state masks may change."""

    def initialise(self, model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        """Choose masks by what the model makes of training batches, before the first step."""

    def before_step(self, step: int) -> None:
        """Do what belongs in front of a step, such as freezing masks."""
        self._history.begin_step()

    def regularised(self, loss: Tensor) -> Tensor:
        """Return the loss plus the method's penalty."""
        return loss

    def on_gradients(self, gradients: Sequence[Tensor | None]) -> bool:
        """Read or change gradients in place; return whether the optimiser's step is to follow.

        `gradients` are those of the model's trainable parameters, in the order of
        `model.parameters()`, summed over the pieces of a batch.
        """
        return True

    def after_step(self) -> None:
        """Update masks after the optimiser's step."""

    def end_round(self, number: int) -> None:
        """Prune, rewind and reset the optimiser between round `number`, from 0, and the next.

        Change the optimiser's state in place: compiled steps hold its tensors.
        """

    def added_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the method has added to the model, such as thresholds."""
        return []

    def groups(self) -> list[Group]:
        """Return the parameters that decay or learn at another rate than all others."""
        return []

    def metrics(self) -> dict[str, float]:
        """Return columns of metrics.csv: `penalty` and those of `metric_columns`."""
        return {"penalty": 0.0}

    def kept(self) -> Tensor | int:
        """Return how many weights of the reported layers take part now."""
        return self.total

    @property
    def total(self) -> int:
        """Number of weights of the reported layers."""
        return sum(layer.weight.numel() for layer in self._layers.values())

    @torch.no_grad()
    def measure(self) -> list[LayerFigures]:
        """Return the figures of every layer; waits for the device."""
        masks = self._masks_now()
        return measure(masks, masks, {}, norms=self._history.norms(self._gradients_now(), masks))

    def _weights_now(self) -> dict[str, Tensor]:
        """Return the weights of the reported layers, rows first."""
        return {name: layer.weight for name, layer in self._layers.items()}

    def _gradients_now(self) -> dict[str, Tensor]:
        """Return the gradients of reported layers that have one, rows first."""
        found = {name: layer.gradient for name, layer in self._layers.items()}
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    def _masks_now(self) -> dict[str, Tensor]:
        """Return which weights of the reported layers take part; may be the masks themselves."""
        ones = partial(torch.ones_like, dtype=torch.bool)
        return {name: ones(weight) for name, weight in self._weights_now().items()}

    @torch.no_grad()
    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the method beyond the model's own state.

        gradient_norms: of the last step, which a measurement before the next one reads.
        """
        return {"gradient_norms": self._history.norms(self._gradients_now(), self._masks_now())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, after `begin` and after the model's own state."""
        self._history.load_state_dict(state, self._weights_now())


class MaskedMethod(Method):
    """A method with a `WeightMask` in every maskable layer; a subclass overrides `make_mask`."""

    has_masks = True

    def prepare(
        self, model: nn.Module, *, example: Any = None, past: Sequence[str] | None = None
    ) -> None:
        """Give the model its masks, in place; make the optimiser after that.

        With an `example`, a batch of images or a tuple of what the model is called with, layers
        whose weight is read past their mask are found and left dense; `past` names them where they
        are known. Raises ValueError for a model with masks or with nothing to mask, RuntimeError
        for a second model.
        """
        if self._layers:
            raise RuntimeError(
                "prepare() has been called: a method belongs to one model, "
                "make another for the next"
            )
        selection = sparsify(
            model,
            self.make_mask,
            self._exclude,
            example=example,
            past=past or (),
            include=self._include,
            tied=self._tied,
        )
        self._layers, self.left_dense = selection.layers, selection.left_dense

    def plain(self, model: nn.Module) -> nn.Module:
        """Return a copy of the model, or of a copy of it, without masks.

        Raises ValueError for a model without masks.
        """
        if not masked_layers(model):
            raise ValueError("this model has no masks: give the one that was prepared")
        return plain(model)

    def begin(
        self, steps: int, optimiser: Optimizer | None = None, steps_per_epoch: int = 0
    ) -> None:
        """Take the masks at the start as the first that are explored."""
        self._history.explore(self._masks_now())

    @torch.no_grad()
    def kept(self) -> Tensor:
        """Return how many weights of the masked layers take part now: a 0-dim integer tensor."""
        return torch.stack([mask.sum() for mask in self._masks_now().values()]).sum()

    @torch.no_grad()
    def measure(self) -> list[LayerFigures]:
        """Return the figures of every masked layer; waits for the device.

        Churn, grown and dropped count from the measurement before, at first from a mask that keeps
        everything.
        """
        masks = self._masks_now()
        return self._history.measure(self._gradients_now(), masks, self._thresholds())

    def _masks_now(self) -> dict[str, Tensor]:
        return {name: layer.mask.kept(layer.weight) for name, layer in self._layers.items()}

    def _thresholds(self) -> dict[str, Tensor]:
        """Return the thresholds to report, by layer."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return norms of gradients, the masks of the last measurement, and all explored."""
        return super().state_dict() | self._history.state_dict()
