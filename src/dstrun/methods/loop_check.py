"""Mistakes in a training loop of one's own, found in its first steps: each would train without a
word and be wrong.

    first loss        which masks it came through: a layer read past its mask, a copy of the model, weights all 0
    first step        an optimiser made before `prepare(model)` moves weights and no threshold
    second loss       `zero_grad` that leaves the thresholds' gradients
    any               a moment of the method that is never called

A check is done after two steps and costs nothing then. Knows torch alone: a layer is a module with
`weight` and `mask`."""

import warnings
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

MASKING = ("MaskWeightBackward", "_GuardAndMaskBackward")  # autograd's names of what masks compute
HIDING = (
    "CheckpointFunctionBackward"  # use_reentrant=True: what lies in it is not part of the graph
)
PATIENCE = 100  # losses without an after_step: more than the pieces of any one batch


class LoopCheck:
    """Raises RuntimeError, from the moments of a method that it is told of, for what the loop
    leaves out."""

    def __init__(self, layers: Mapping[str, Any], needs_steps: bool) -> None:
        self._layers, self._needs_steps = layers, needs_steps
        self._begun = self._told_step = self._optimiser_is_right = False
        self._losses = self._steps = 0
        self._owes_after_step = (
            False  # a step that is compiled whole shows neither its loss nor this
        )
        self._moved: set[int] = set()  # ids of parameters that some optimiser has stepped over
        self._handle: Any = register_optimizer_step_post_hook(
            partial(_note_step, weakref.ref(self))
        )
        weakref.finalize(self, self._handle.remove)

    @property
    def is_done(self) -> bool:
        return self._optimiser_is_right and self._losses > 1 and self._steps > 0

    def begin(self) -> None:
        self._begun = True

    def before_step(self) -> None:
        self._told_step = True
        if self._owes_after_step:
            raise RuntimeError(
                "after_step() has not been called since the step before: call it after optimiser.step()"
            )

    def before_backward(self, loss: Tensor) -> None:
        """Look at the graph of the first loss, and at what zero_grad has left before the second."""
        if loss.grad_fn is None:  # of an evaluation
            return
        self._check_moments()
        self._losses += 1
        self._owes_after_step = True
        if self._losses == 1:
            _check_weights(self._layers)
            _check_graph(self._layers, loss)
        elif self._steps:
            _check_gradients(self._layers)
        elif self._losses == PATIENCE:
            warnings.warn(
                f"after_step() has not been called in {PATIENCE} steps: without it no threshold is reset at the floor",
                stacklevel=4,
            )

    def after_step(self) -> None:
        """Compare what optimisers have stepped over with the thresholds; a step that was left out
        tells nothing."""
        self._check_moments()
        self._steps += 1
        self._owes_after_step = False
        if self._optimiser_is_right or not any(
            id(layer.weight) in self._moved for layer in self._layers.values()
        ):
            return
        left = [
            name
            for name, layer in self._layers.items()
            if id(layer.weight) in self._moved
            and id(layer.mask.threshold) not in self._moved
            and layer.mask.threshold.requires_grad
        ]
        if left:
            raise RuntimeError(
                f"the optimiser has the weights of {_names(left)} and not their thresholds, so no weight would ever be "
                "pruned: make it over model.parameters() after prepare(model)"
            )
        self._optimiser_is_right = True
        self._handle.remove()

    def _check_moments(self) -> None:
        if self._needs_steps and not self._begun:
            raise RuntimeError(
                "target_density and freeze need begin(steps), once, before the first step"
            )
        if self._needs_steps and not self._told_step:
            raise RuntimeError(
                "target_density and freeze need before_step(step), at every step, counted from 0"
            )

    def note(self, optimiser: Optimizer) -> None:
        self._moved |= {
            id(parameter) for group in optimiser.param_groups for parameter in group["params"]
        }


def _note_step(check: "weakref.ref[LoopCheck]", optimiser: Optimizer, *_: object) -> None:
    if (alive := check()) is not None:
        alive.note(optimiser)


def _check_weights(layers: Mapping[str, Any]) -> None:
    """RuntimeError for layers that can never keep a weight."""
    if never := all_zero(layers):
        raise RuntimeError(f"{never_kept(never)}: leave {_them(never)} dense by exclude={never}")


@torch.no_grad()
def all_zero(layers: Mapping[str, Any]) -> list[str]:
    """Return the layers all of whose weights are 0; waits for the device."""
    return [name for name, layer in layers.items() if not layer.weight.any()]


def never_kept(layers: list[str]) -> str:
    """Return why a layer that begins with zeros is of no use: |0| > t is false, and H · W, its way
    back, is 0."""
    what = "the weights of" if len(layers) > 1 else "every weight of"
    return f"{what} {_names(layers)} {'are' if len(layers) > 1 else 'is'} 0 at the start, and a 0 can never be kept"


def _check_graph(layers: Mapping[str, Any], loss: Tensor) -> None:
    """RuntimeError for layers that the loss reads past their masks, and for a loss that comes from
    none of them."""
    reached, masked, hides = _reached(loss)
    asked = {
        n
        for n, layer in layers.items()
        if id(layer.mask.threshold) in masked and not layer.mask.is_ready()
    }
    past = [
        name for name, layer in layers.items() if id(layer.weight) in reached and name not in asked
    ]
    if hides:
        return
    if past:
        raise RuntimeError(
            f"the forward pass reads the weights of {_names(past)} past their masks, which have no effect: "
            f"prepare(model, example=images) leaves such layers dense, and so does exclude={past}"
        )
    if not asked:
        raise RuntimeError(
            "the loss depends on no layer of the model that was prepared: has the model been copied since? "
            "prepare the one that is trained"
        )


def _reached(loss: Tensor) -> tuple[set[int], set[int], bool]:
    """Return ids of a loss's leaves past masks, of the thresholds of its masks, and whether there
    is more to it."""
    reached: set[int] = set()
    masked: set[int] = set()
    hides = False
    ahead: list[Any] = [loss.grad_fn]
    seen: set[Any] = set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        hides |= node.name() == HIDING
        parents = [parent for parent, _ in node.next_functions]
        if node.name() in MASKING:
            masked |= {id(parent.variable) for parent in parents if hasattr(parent, "variable")}
        elif hasattr(node, "variable"):
            reached.add(id(node.variable))
        else:
            ahead.extend(parents)
    return reached, masked | reached, hides  # in the graph of a compiled model both are leaves


def _check_gradients(layers: Mapping[str, Any]) -> None:
    """RuntimeError where gradients of the step before are gone from all weights and still there in
    thresholds."""
    kept = [name for name, layer in layers.items() if layer.mask.threshold.grad is not None]
    if kept and all(layer.weight.grad is None for layer in layers.values()):
        raise RuntimeError(
            f"zero_grad() has left the gradients of the thresholds of {_names(kept)}, which add up step by step: "
            "call it of an optimiser made over model.parameters() after prepare(model)"
        )


def _names(names: list[str]) -> str:
    return ", ".join(names if len(names) < 5 else [*names[:3], f"{len(names) - 3} more"])


def _them(names: list[str]) -> str:
    return "them" if len(names) > 1 else "it"
