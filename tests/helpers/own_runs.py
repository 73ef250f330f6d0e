"""A small network, its data, and runs of it in a loop of one's own."""

from collections.abc import Callable
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
BATCH = 6
X = torch.sin(torch.arange(16.0 * BATCH * STEPS)).view(BATCH * STEPS, 16)
Y = torch.arange(BATCH * STEPS) % 3


def momentum(parameters: Any) -> torch.optim.Optimizer:
    """Return SGD with momentum."""
    return torch.optim.SGD(parameters, lr=0.3, momentum=0.9)


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


def train(
    method: Method,
    model: nn.Module,
    *,
    epochs: int = 3,
    pieces: int = 1,
    clip: float = 0.0,
    optimiser: Callable[..., torch.optim.Optimizer] = momentum,
) -> nn.Module:
    """Train as docs/library.md says, batches in order, each in as many pieces; return the model."""
    optimisers = optimiser(model.parameters())
    parameters = [one for one in model.parameters() if one.requires_grad]
    method.begin(epochs * STEPS, optimisers, STEPS)
    for step in range(epochs * STEPS):
        method.before_step(step)
        optimisers.zero_grad()
        part = slice(step % STEPS * BATCH, (step % STEPS + 1) * BATCH)
        for piece, (x, y) in enumerate(
            zip(X[part].chunk(pieces), Y[part].chunk(pieces), strict=True)
        ):
            loss = F.cross_entropy(model(x), y) / pieces
            (loss if piece else method.regularised(loss)).backward()
        if method.on_gradients([one.grad for one in parameters]):
            if clip:
                nn.utils.clip_grad_norm_(parameters, clip)
            optimisers.step()
        method.after_step()
    return model


def finished(outputs: Path | str = "outputs", **options: Any) -> Path:
    """Return the folder of a finished run of two epochs."""
    with recording(outputs=outputs, **options) as run:
        for epoch in (1, 2):
            run.log(epoch=epoch, step=epoch * STEPS, train_loss=1.0, test_accuracy=epoch / 4)
    return run.folder
