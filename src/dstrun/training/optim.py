"""The optimiser and its parameter groups."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dstrun.methods.base import Group

LR_FACTOR = "lr_factor"  # key of a group of an optimiser
OPTIMISERS = ("sgd", "adam", "adamw")


def make_optimiser(
    name: str,
    model: nn.Module,
    apart: Sequence[Group],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = False,
    betas: Sequence[float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    decay_norm_and_bias: bool = True,
) -> Optimizer:
    """Return SGD, Adam or AdamW over all parameters, in torch's fused form.

    apart: parameters that have factors on `weight_decay` and on the learning rate; the latter is
    the group's LR_FACTOR, which is there if it is not 1. decay_norm_and_bias: whether the model's
    own parameters of less than two dimensions decay. Raises ValueError for another name.
    """
    if not decay_norm_and_bias:
        of_method = {id(parameter) for group in apart for parameter in group.parameters}
        vectors = [p for p in model.parameters() if p.dim() < 2 and id(p) not in of_method]
        apart = [*apart, Group(vectors, decay=0.0)]
    groups: list[dict[str, Any]] = [{"params": [], "weight_decay": weight_decay}]
    own: set[int] = set()
    for group in apart:
        if (group.decay, group.lr) != (1, 1) and group.parameters:
            own |= {id(parameter) for parameter in group.parameters}
            decay = {"weight_decay": weight_decay * group.decay}
            rate = {LR_FACTOR: group.lr} if group.lr != 1 else {}
            groups.append({"params": list(group.parameters), **decay, **rate})
    groups[0]["params"] = [one for one in model.parameters() if id(one) not in own]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    raise ValueError(f"optimiser is {name!r}, expected one of {', '.join(OPTIMISERS)}")
