"""Layers with weights, masks and momenta given by hand, for methods with fixed masks."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import SGD

from dstrun.methods.fixed.method import FixedMaskMethod

Table = Sequence[Sequence[float]]


def begun(method: FixedMaskMethod, *tables: Table, steps: int = 40, epoch: int = 10) -> SGD:
    """Give a method linear layers of these weights, whose masks keep what is not 0.

    Layers are called 0, 1, …; the optimiser has no state yet.
    """
    layers = [nn.Linear(len(table[0]), len(table), bias=False) for table in tables]
    model = nn.Sequential(*layers)
    method.prepare(model, past=[])
    optimiser = SGD(model.parameters(), lr=0.1, momentum=0.9)
    method.begin(steps, optimiser, epoch)
    for layer, table in zip(method.layers, tables, strict=True):
        layer.weight.data.copy_(torch.tensor(table))
        layer.mask.set(layer.weight != 0)
        layer.kept = int(layer.mask.keep.sum())
    return optimiser


def set_momenta(method: FixedMaskMethod, optimiser: SGD, *tables: Table) -> None:
    """Set the momentum of every layer."""
    for layer, table in zip(method.layers, tables, strict=True):
        optimiser.state[layer.weight]["momentum_buffer"] = torch.tensor(table, dtype=torch.float32)


def weight_tables(method: FixedMaskMethod) -> list[list[list[float]]]:
    """Return the weights of every layer, to four digits."""
    return [
        [[round(value, 4) for value in row] for row in layer.weight.tolist()]
        for layer in method.layers
    ]


def mask_tables(method: FixedMaskMethod) -> list[list[list[int]]]:
    """Return the mask of every layer as 0 and 1."""
    return [layer.mask.keep.int().tolist() for layer in method.layers]
