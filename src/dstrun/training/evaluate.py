"""Loss and accuracy of a model on a split. Knows torch alone."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Autocast = Callable[[], AbstractContextManager]


@torch.no_grad()  # not inference_mode: a model may keep for its training what it makes here
def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], autocast: Autocast = nullcontext
) -> tuple[float, float]:
    """(mean cross-entropy in nats, share of images classified right), in evaluation mode; read once
    at the end."""
    training = model.training
    model.eval()
    totals: Tensor | None = None
    images = 0
    for pixels, labels in batches:
        with autocast():
            logits = model(pixels)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum").double()
        batch = torch.stack([loss, correct(logits, labels)])
        totals = batch if totals is None else totals + batch
        images += len(labels)
    model.train(training)
    if totals is None:
        raise ValueError("there is nothing to evaluate on")
    loss_sum, right = totals.tolist()
    return loss_sum / images, right / images


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many rows of logits (B, classes) have their largest value at the label: a 0-dim integer
    tensor."""
    return (logits.argmax(1) == labels).sum()


def not_finite(model: nn.Module) -> list[str]:
    """Names of the parameters, thresholds and buffers that hold NaN or infinity; waits for the
    device once."""
    named = [*model.named_parameters(), *model.named_buffers()]
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in named]).tolist()
    return [name for (name, _), whole in zip(named, finite, strict=True) if not whole]
