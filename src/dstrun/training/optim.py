"""The optimiser, its parameter groups, and the learning rate as a pure function of the step. Knows
torch alone.

A rate that is a function needs no state: a resumed run asks it for the step it is at.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

OPTIMISERS = ("sgd", "adam", "adamw")
RATES = ("constant", "multistep", "cosine", "onecycle")

Rate = Callable[[int], float]


def make_optimiser(
    name: str,
    model: nn.Module,
    thresholds: Sequence[nn.Parameter],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    betas: Sequence[float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    threshold_decay: float = 1.0,
) -> Optimizer:
    """SGD, Adam or AdamW over all parameters; thresholds decay by `threshold_decay` of
    `weight_decay`, the paper's 1.

    Each is torch's fused form: all parameters of a group in one pass. Raises ValueError for another
    name."""
    apart = {id(threshold) for threshold in thresholds} if threshold_decay != 1 else set()
    groups = [
        {
            "params": [p for p in model.parameters() if id(p) not in apart],
            "weight_decay": weight_decay,
        }
    ]
    if apart:
        groups.append({"params": list(thresholds), "weight_decay": weight_decay * threshold_decay})
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    raise ValueError(f"optimiser is {name!r}, expected one of {', '.join(OPTIMISERS)}")


class TracedSGD:
    """The step of a torch.optim.SGD, on its own state, in a form that can be part of what
    torch.compile compiles."""

    def __init__(self, optimiser: torch.optim.SGD, parameters: Sequence[nn.Parameter]) -> None:
        self._optimiser, self._parameters = optimiser, parameters
        places = {id(parameter): place for place, parameter in enumerate(parameters)}
        self._groups = [
            ([places[id(p)] for p in group["params"] if id(p) in places], group)
            for group in ({**group} for group in optimiser.param_groups)
        ]

    @cached_property
    def momenta(self) -> list[Tensor]:
        """The momentum of every parameter, as the optimiser holds it from here on: zeros where it
        has none yet."""
        state = self._optimiser.state
        for parameter in self._parameters:
            if state[parameter].get("momentum_buffer") is None:
                state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [state[parameter]["momentum_buffer"] for parameter in self._parameters]
        for momentum in momenta:
            torch._dynamo.mark_static_address(
                momentum
            )  # else a CUDA graph may not change it in place
        return momenta

    @torch.no_grad()
    def __call__(self, grads: Sequence[Tensor | None], lr: Any, momenta: Sequence[Tensor]) -> None:
        """Moves every parameter that has a gradient; `lr` is a 0-dim tensor, so that its value is
        not compiled in."""
        for places, group in self._groups:
            moved: list[tuple[Tensor, Tensor, Tensor | None]] = []
            for place in places:
                grad = grads[place]
                if grad is not None:
                    moved.append(
                        (
                            self._parameters[place],
                            grad,
                            momenta[place] if group["momentum"] else None,
                        )
                    )
            sgd(
                [parameter for parameter, _, _ in moved],
                [grad for _, grad, _ in moved],
                [momentum for _, _, momentum in moved],
                foreach=True,
                lr=lr,
                **{
                    name: group[name]
                    for name in ("weight_decay", "momentum", "dampening", "nesterov", "maximize")
                },
            )


def make_rate(
    name: str,
    *,
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    warmup: float = 0.0,
) -> Rate:
    """step (from 0) → learning rate, whose base or, for one-cycle, peak is `lr`.

    multistep: × gamma at each milestone, in epochs; cosine: from lr to 0 over the run; onecycle:
    from lr / 25 up to lr over three tenths of the run and down to lr / 250,000, along cosines
    (Smith & Topin, 2017); `warmup` epochs rise linearly from 0 before any of them. Raises
    ValueError for another name."""
    total = max(epochs * steps_per_epoch, 1)
    warm = round(warmup * steps_per_epoch)

    def multistep(step: int) -> float:
        return lr * gamma ** bisect_right(milestones, step // steps_per_epoch)

    def cosine(step: int) -> float:
        return lr * (1 + cos(pi * (step - warm) / max(total - warm, 1))) / 2

    def onecycle(step: int) -> float:
        top, last = 0.3 * total - 1, total - 1
        if step <= top:
            return _along_cosine(lr / 25, lr, step / top)
        return _along_cosine(lr, lr / 25e4, (step - top) / (last - top))

    shapes: dict[str, Rate] = {
        "constant": lambda step: lr,
        "multistep": multistep,
        "cosine": cosine,
        "onecycle": onecycle,
    }
    if name not in shapes:
        raise ValueError(f"rate is {name!r}, expected one of {', '.join(RATES)}")
    shape = shapes[name]
    return lambda step: shape(warm) * (step + 1) / warm if step < warm else shape(step)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
