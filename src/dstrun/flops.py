"""Multiply-adds of a model for one example, layer by layer, dense and kept.

A weight of a linear layer is used once for every vector it is applied to, a weight of a convolution once for every
output position, a recurrent weight once a time step. So a layer's multiply-adds are weights × positions, and what
its mask keeps is kept × positions. This module knows torch alone.
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def positions(model: nn.Module, example: Tensor) -> dict[str, int]:
    """How often each weight of every linear and convolutional layer is used for `example`, (1, C, H, W).

    The model is left in the mode it was in. Layers that the forward pass does not call are absent.
    """
    used: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):

            def count(module: nn.Module, _: object, output: Tensor, name: str = name) -> None:
                rows = len(module.weight)  # type: ignore[arg-type]
                used[name] = used.get(name, 0) + output.numel() // rows

            handles.append(module.register_forward_hook(count))
    training = model.training
    try:
        model.eval()(example)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return used


def flops_fraction(totals: dict[str, int], kept: dict[str, int], used: dict[str, int]) -> float:
    """Kept multiply-adds over dense ones, in [0, 1]; a layer missing in `kept` (left dense) counts whole."""
    dense = sum(totals[name] * used[name] for name in used)
    return sum(kept.get(name, totals[name]) * used[name] for name in used) / dense
