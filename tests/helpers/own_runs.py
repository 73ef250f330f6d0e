"""A small network, its data, and runs of it in a loop of one's own."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import dstrun
from dstrun.callbacks.record import Recording
from dstrun.methods.base import Method

SETTINGS = {"model": "mlp", "data": "dots", "seed": 0, "schedule.epochs": 2}
STEPS = 4  # an epoch
X = torch.arange(96.0).view(6, 16) / 96
Y = torch.arange(6) % 3


def net() -> nn.Sequential:
    """Return the same network each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def recording(method: Method | None = None, **options: Any) -> Recording:
    """Return a recording of a new network with a method, DST without another."""
    method = method or dstrun.method("dst", alpha=1e-3)
    method.prepare(model := net(), past=[])
    options.setdefault("settings", SETTINGS)
    return dstrun.record(model, method, **options)


def train(method: Method, model: nn.Module, epochs: int = 2, lr: float = 0.1) -> None:
    """Train as docs/library.md says, on the same batch in every step."""
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    method.begin(epochs * STEPS, optimiser, STEPS)
    for step in range(epochs * STEPS):
        method.before_step(step)
        optimiser.zero_grad()
        method.regularised(F.cross_entropy(model(X), Y)).backward()
        if method.on_gradients([one.grad for one in model.parameters() if one.requires_grad]):
            optimiser.step()
        method.after_step()


def finished(outputs: Path | str = "outputs", **options: Any) -> Path:
    """Return the folder of a finished run of two epochs."""
    with recording(outputs=outputs, **options) as run:
        for epoch in (1, 2):
            run.log(epoch=epoch, step=epoch * STEPS, train_loss=1.0, test_accuracy=epoch / 4)
    return run.folder
