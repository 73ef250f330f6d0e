"""Loss of logits, and how many of them are right: of classes (B, C), or of each byte (B, L, C)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return (mean cross-entropy in nats, share of predictions that are right × examples).

    Shapes: logits (B, C) with labels (B,), or (B, L, C) with (B, L), of which each of the B
    examples counts as its mean over L. Labels (B, C) of floats are shares of the classes: a
    prediction is right by the share of its class.
    """
    if labels.is_floating_point():
        loss = F.cross_entropy(logits, labels.to(logits.dtype), label_smoothing=label_smoothing)
        found = logits.detach().argmax(1, keepdim=True)
        return loss, labels.gather(1, found).sum(dtype=torch.float64)
    loss = F.cross_entropy(*_rows(logits, labels), label_smoothing=label_smoothing)
    right = correct(logits.detach(), labels)
    return loss, right if labels.dim() == 1 else right / labels.shape[1]


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy in nats, summed over all predictions."""
    return F.cross_entropy(*_rows(logits, labels), reduction="sum")


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many predictions are right, i.e. largest at their label: a 0-dim tensor."""
    return (logits.argmax(-1) == labels).sum()


def _rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, C) and labels (N,)."""
    if logits.dim() == 2:
        return logits, labels
    return logits.flatten(0, -2), labels.flatten()
