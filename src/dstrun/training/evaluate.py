"""Loss of a model on a split, and the share of its predictions that are right."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from dstrun.training.loss import correct, summed_loss
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
    """Return (mean cross-entropy in nats, share of predictions that are right), in evaluation mode.

    A prediction is that of an image, or of a byte of a text. The device is read once, at the end.
    ranks: each gives its own batches, and all return the figures of all of them. Raises ValueError
    where there is no batch.
    """
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    totals = torch.zeros(2, dtype=torch.float64, device=device)
    predictions, training = 0, model.training
    model.eval()
    try:
        for inputs, labels in batches:
            with autocast():
                logits = model(inputs)
            loss = summed_loss(logits.float(), labels).double()
            totals = totals + torch.stack([loss, correct(logits, labels)])
            predictions += labels.numel()
    finally:
        model.train(training)
    totals = torch.cat([totals, totals.new_full((1,), predictions)])
    loss_sum, right, predictions = ranks.sum(totals).tolist()
    if not predictions:
        raise ValueError("there is nothing to evaluate on")
    return loss_sum / predictions, right / predictions
