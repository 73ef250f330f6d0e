"""The calls of a method in the order of another library's trainer.

    begin                once, when model and optimiser are there; of a resumed run with its state
    before_step          every step, before its first forward pass
    add_penalty          every step, once gradients are cleared, before the first backward pass
    finish_gradients     every step, when gradients are complete
    after_step           every step, after the optimiser's

A trainer's loss cannot be changed from a callback, so the penalty's gradient is added to `.grad`
instead, before the loss adds its own: the sum is that of the loss with the penalty, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dstrun.callbacks.record import Recording
from dstrun.methods.base import Method
from dstrun.methods.mask_stats import LayerFigures
from dstrun.methods.masked_layers import masked_layers


class Adapter:
    """A method in another library's loop, and the recording of the run, if there is one."""

    def __init__(self, method: Method, run: Recording | None) -> None:
        if method.rounds > 1:
            raise ValueError(f"method: got {method.describe()}, which trains for several rounds")
        if method.made_with.get("compile") == "mask":
            raise ValueError("compile: got 'mask', which needs a loop of your own, expected off")
        self._method, self._run = method, run
        self._parameters: list[nn.Parameter] = []
        self._row = 0  # step of the last row

    def begin(
        self,
        model: nn.Module,
        optimiser: Optimizer,
        steps: int,
        steps_per_epoch: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a run of `steps` steps, or resume one with its `state_dict`.

        Raises RuntimeError for a model that was not prepared, and for a weight decay of thresholds
        that is not what the method asks for.
        """
        if self._method.has_masks and not masked_layers(model):
            raise RuntimeError("the model has no masks: call method.prepare(model) before training")
        ours = {id(one) for one in self._method.added_parameters()}
        if not ours <= {id(one) for one in model.parameters()}:
            raise RuntimeError("the model is a copy of the one that was prepared: train that one")
        self._parameters = [one for one in model.parameters() if one.requires_grad]
        _check_decay(self._method, optimiser)
        self._method.begin(steps, optimiser, steps_per_epoch)
        if state is not None:
            self._method.load_state_dict(state["method"])
            self._row = state["row"]
            if self._run:
                self._run.resume(self._row)

    @property
    def changes_gradients(self) -> bool:
        """Whether the method reads or changes gradients."""
        return self._method.reads_gradients

    def before_step(self, step: int) -> None:
        """Do what belongs in front of a step, counted from 0."""
        self._method.before_step(step)

    def add_penalty(self) -> None:
        """Add the gradient of the method's penalty to `.grad`, once a step, where it is clear."""
        nothing = torch.zeros((), device=self._parameters[0].device)
        penalty = self._method.regularised(nothing)
        if penalty.requires_grad:
            penalty.backward()

    def finish_gradients(self, clip: float = 0.0) -> None:
        """Show complete gradients to the method, then bound their norm by `clip` > 0.

        Where no step of the optimiser is to follow, there are no gradients any more, and it leaves
        everything as it is.
        """
        follows = True
        if self._method.reads_gradients:
            follows = self._method.on_gradients([one.grad for one in self._parameters])
        if not follows:
            for parameter in self._parameters:
                parameter.grad = None
        elif clip > 0:
            nn.utils.clip_grad_norm_(self._parameters, clip)

    def after_step(self) -> None:
        """Update masks after the optimiser's step."""
        self._method.after_step()

    def density(self) -> float:
        """Return the density of the masked layers now; waits for the device."""
        return int(self._method.kept()) / self._method.total

    def write(self, epoch: float, step: int, figures: Mapping[str, Any]) -> Sequence[LayerFigures]:
        """Record a row, if the run is recorded, and return the figures of every layer."""
        self._row = step
        if self._run:
            return self._run.log(epoch=epoch, step=step, **figures)
        return self._method.measure()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the model and the optimiser."""
        return {"method": self._method.state_dict(), "row": self._row}


def renamed(figures: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the trainer's figures that are there, under the names of columns: {column: name}."""
    return {column: figures[name] for column, name in names.items() if name in figures}


def refuse(reasons: Mapping[str, bool]) -> None:
    """Raise ValueError with the first reason that holds."""
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(reason)


def _check_decay(method: Method, optimiser: Optimizer) -> None:
    """Raise RuntimeError where parameters of the method decay otherwise than it asks for."""
    decays = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            decays[id(parameter)] = group.get("weight_decay", 0.0)
    highest = max(decays.values(), default=0.0)
    for own in method.groups():
        wanted = highest * own.decay
        if own.decay != 1 and any(decays.get(id(one)) != wanted for one in own.parameters):
            raise RuntimeError(
                f"threshold_decay={own.decay:g} asks for a weight decay of {wanted:g}, which the "
                "optimiser does not give method.added_parameters(): make it with a group for them"
            )
