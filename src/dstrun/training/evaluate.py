"""Loss and accuracy of a model on a split."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.training.ranks import ALONE, Ranks

Autocast = Callable[[], AbstractContextManager]


def make_autocast(precision: str, device: torch.device) -> Autocast:
    """Return the context for forward passes: autocast to bf16, or none for fp32."""
    if precision == "fp32":
        return nullcontext
    return partial(torch.autocast, device.type, torch.bfloat16)


@torch.no_grad()  # not inference_mode: a model may keep for its training what it makes here
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: Autocast = nullcontext,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Return (mean cross-entropy in nats, share of images classified right), in evaluation mode.

    The device is read once, at the end. ranks: each gives its own batches, and all return the
    figures of all of them. Raises ValueError where there is no batch.
    """
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    totals = torch.zeros(2, dtype=torch.float64, device=device)
    images, training = 0, model.training
    model.eval()
    try:
        for pixels, labels in batches:
            with autocast():
                logits = model(pixels)
            loss = F.cross_entropy(logits.float(), labels, reduction="sum").double()
            totals = totals + torch.stack([loss, correct(logits, labels)])
            images += len(labels)
    finally:
        model.train(training)
    totals = torch.cat([totals, totals.new_full((1,), images)])
    loss_sum, right, images = ranks.sum(totals).tolist()
    if not images:
        raise ValueError("there is nothing to evaluate on")
    return loss_sum / images, right / images


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many rows of logits (B, classes) are largest at their label: a 0-dim tensor."""
    return (logits.argmax(1) == labels).sum()
