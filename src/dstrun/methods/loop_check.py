"""Check of the first steps of a user's own training loop, for mistakes that would pass in silence.

    first loss   a layer read past its mask, a copy of the prepared model, weights that are all 0
    first step   an optimiser made before `prepare(model)` moves weights and no threshold
    second loss  `zero_grad` that leaves the thresholds' gradients
    any          a call of the method that is left out

A check ends after two steps and costs nothing then. A layer is a `LayerWeight`.
"""

import warnings
import weakref
from collections.abc import Mapping, Set
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

MASKING = ("MaskWeightBackward", "_ResetAndMaskBackward")  # autograd's names of what masks compute
HIDING = "CheckpointFunctionBackward"  # use_reentrant=True: its inside is not part of the graph
MANY_LOSSES = 100  # without an after_step: more than the pieces of any one batch


class LoopCheck:
    """Raises RuntimeError for a mistake of the loop, in the calls that a method passes on to it."""

    def __init__(self, layers: Mapping[str, Any], needs_steps: bool) -> None:
        self._layers, self._needs_steps = layers, needs_steps
        self._begun = self._told_step = self._optimiser_is_right = False
        self._losses = self._steps = 0
        # a step that is compiled whole shows neither its loss nor this
        self._owes_after_step = False
        self._moved: set[int] = set()  # ids of parameters that some optimiser has stepped over
        note = partial(_note_step, weakref.ref(self))
        self._handle: Any = register_optimizer_step_post_hook(note)
        weakref.finalize(self, self._handle.remove)

    @property
    def is_done(self) -> bool:
        """Whether everything has been checked."""
        return self._optimiser_is_right and self._losses > 1 and self._steps > 0

    def begin(self) -> None:
        """Note the call of `begin`."""
        self._begun = True

    def before_step(self) -> None:
        """Note the call of `before_step`, and check that the step before was completed."""
        self._told_step = True
        if self._owes_after_step:
            raise RuntimeError(
                "after_step() has not been called since the step before: "
                "call it after optimiser.step()"
            )

    def before_backward(self, loss: Tensor, unread: Set[str] = frozenset()) -> None:
        """Check the graph of the first loss, and what zero_grad has left before the second.

        unread: layers whose mask was computed with the others' and not asked for.
        """
        if loss.grad_fn is None:  # of an evaluation
            return
        self._check_moments()
        self._losses += 1
        self._owes_after_step = True
        if self._losses == 1:
            _check_weights(self._layers)
            _check_graph(self._layers, loss, unread)
        elif self._steps:
            _check_gradients(self._layers)
        elif self._losses == MANY_LOSSES:
            warnings.warn(
                f"after_step() has not been called in {MANY_LOSSES} steps: "
                "without it no threshold is reset at the floor",
                stacklevel=4,
            )

    def after_step(self) -> None:
        """Compare the parameters that optimisers have stepped over with the thresholds."""
        self._check_moments()
        self._steps += 1
        self._owes_after_step = False
        moved = {
            n: layer for n, layer in self._layers.items() if id(layer.parameter) in self._moved
        }
        if self._optimiser_is_right or not moved:
            return
        left = []
        for name, layer in moved.items():
            threshold = layer.mask.threshold
            if threshold.requires_grad and id(threshold) not in self._moved:
                left.append(name)
        if left:
            raise RuntimeError(
                f"the optimiser has the weights of {_names(left)} and not their thresholds, so no "
                "weight would ever be pruned: make it over model.parameters() after prepare(model)"
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
        """Note the parameters of an optimiser that has made a step."""
        for group in optimiser.param_groups:
            self._moved.update(id(parameter) for parameter in group["params"])


def _note_step(check: "weakref.ref[LoopCheck]", optimiser: Optimizer, *_: object) -> None:
    if (alive := check()) is not None:
        alive.note(optimiser)


def _check_weights(layers: Mapping[str, Any]) -> None:
    """Raise RuntimeError for layers that can never keep a weight."""
    if never := all_zero(layers):
        raise RuntimeError(f"{never_kept(never)}: leave {_them(never)} dense by exclude={never}")


@torch.no_grad()
def all_zero(layers: Mapping[str, Any]) -> list[str]:
    """Return the layers all of whose weights are 0; waits for the device."""
    return [name for name, layer in layers.items() if not layer.weight.any()]


def never_kept(layers: list[str]) -> str:
    """Return why a layer of zeros cannot be trained: |0| > t is false, and H · 0 = 0."""
    several = len(layers) > 1
    what = "the weights of" if several else "every weight of"
    are = "are" if several else "is"
    return f"{what} {_names(layers)} {are} 0 at the start, and a 0 can never be kept"


def _check_graph(layers: Mapping[str, Any], loss: Tensor, unread: Set[str]) -> None:
    """Raise RuntimeError for layers read past their masks, and for a loss that uses no mask."""
    reached, masked, hides = _reached(loss)
    asked: set[str] = set()
    past: list[str] = []
    for name, layer in layers.items():
        if id(layer.mask.threshold) in masked and name not in unread:
            asked.add(name)
        elif id(layer.parameter) in reached:
            past.append(name)
    if hides:
        return
    if past:
        raise RuntimeError(
            f"the forward pass reads the weights of {_names(past)} past their masks, which have no "
            "effect: prepare(model, example=images) leaves such layers dense, "
            f"and so does exclude={past}"
        )
    if not asked:
        raise RuntimeError(
            "the loss depends on no layer of the model that was prepared: has the model been "
            "copied since? prepare the one that is trained"
        )


def _reached(loss: Tensor) -> tuple[set[int], set[int], bool]:
    """Return ids of a loss's leaves past masks and of thresholds, and if some are hidden."""
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
    """Raise RuntimeError where zero_grad cleared the gradients of weights and no threshold's."""
    kept = [name for name, layer in layers.items() if layer.mask.threshold.grad is not None]
    if kept and all(layer.gradient is None for layer in layers.values()):
        raise RuntimeError(
            f"zero_grad() has left the gradients of the thresholds of {_names(kept)}, which add up "
            "step by step: call it of an optimiser made over model.parameters() after "
            "prepare(model)"
        )


def _names(names: list[str]) -> str:
    return ", ".join(names if len(names) < 5 else [*names[:3], f"{len(names) - 3} more"])


def _them(names: list[str]) -> str:
    return "them" if len(names) > 1 else "it"
