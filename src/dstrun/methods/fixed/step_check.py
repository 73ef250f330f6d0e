"""Check of the first optimiser steps of a user's own loop, for calls that are left out.

It looks at what the calls leave behind, so a subclass that overrides them needs nothing for it.
"""

import weakref
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

CHECKED = 2  # steps


class StepCheck:
    """Raises RuntimeError in the optimiser's step for a call of a method that was left out.

    method: a `FixedMaskMethod`, which is not kept alive.
    """

    def __init__(self, method: Any) -> None:
        self._method, self._steps, self._last = weakref.ref(method), 0, -1
        self._handle: Any = register_optimizer_step_pre_hook(partial(_check, weakref.ref(self)))
        weakref.finalize(self, self._handle.remove)

    def before(self, optimiser: Optimizer, has_closure: bool) -> None:
        """Check the state in which an optimiser with weights of the method begins its step.

        has_closure: gradients come in a closure of the step, and are not looked at.
        """
        method = self._method()
        trained = {id(one) for group in optimiser.param_groups for one in group["params"]}
        if method is None or trained.isdisjoint(
            id(layer.source.parameter) for layer in method.layers
        ):
            return
        _check_calls(method, self._last)
        if not has_closure:
            _check_gradients(method)
        self._last = method.step
        self._steps += 1
        if self._steps == CHECKED:
            self._handle.remove()


def _check(
    check: "weakref.ref[StepCheck]", optimiser: Optimizer, args: tuple[Any], kwargs: dict[str, Any]
) -> None:
    if (alive := check()) is not None:
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # after the optimiser
        alive.before(optimiser, closure is not None)


@torch.no_grad()
def _check_calls(method: Any, last: int) -> None:
    """Raise RuntimeError for a call that the method's state lacks; waits for the device."""
    if not method.is_begun:
        raise RuntimeError("call begin(steps, optimiser), once, before the first step")
    if method.step <= last:
        raise RuntimeError("call before_step(step), at every step, counted from 0")
    for layer in method.layers:
        if (layer.weight * ~layer.mask.keep).any() and not method.learns_pruned:
            raise RuntimeError(
                f"pruned weights of {layer.name} have been trained: call after_step(), "
                "at every step, after optimiser.step()"
            )


@torch.no_grad()
def _check_gradients(method: Any) -> None:
    """Raise RuntimeError for gradients of pruned weights; waits for the device."""
    for layer in method.layers:
        pruned, gradient = ~layer.mask.keep, layer.source.gradient
        is_masked = gradient is None or not (gradient * pruned).any()
        if not is_masked and not method.has_dense_momentum:
            raise RuntimeError(
                f"pruned weights of {layer.name} have gradients: call "
                "on_gradients([p.grad for p in model.parameters() if p.requires_grad]), at every "
                "step, after backward(), and leave out optimiser.step() where it returns False"
            )
