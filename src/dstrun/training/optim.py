"""The optimiser and its parameter groups."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

OPTIMISERS = ("sgd", "adam", "adamw")


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
    """Return SGD, Adam or AdamW over all parameters, in torch's fused form.

    Thresholds decay by `threshold_decay` · `weight_decay`; the paper's factor is 1. Raises
    ValueError for another name.
    """
    apart = {id(threshold) for threshold in thresholds} if threshold_decay != 1 else set()
    others = [p for p in model.parameters() if id(p) not in apart]
    groups = [{"params": others, "weight_decay": weight_decay}]
    if apart:
        groups.append({"params": list(thresholds), "weight_decay": weight_decay * threshold_decay})
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), fused=True)
    raise ValueError(f"optimiser is {name!r}, expected one of {', '.join(OPTIMISERS)}")
