"""Batches whose images are mixed with one another (mixup; Zhang et al., 2018, arXiv:1710.09412).

    x ← λ x + (1 − λ) x'    y ← λ y + (1 − λ) y'    λ ~ Beta(a, a), one for each batch

x' is the image at the same place of the batch in reverse order, as in timm; the order is random.
λ depends on (seed, epoch, number of the batch) only, so a run resumes without a generator's state,
and every rank has the same. A rank mixes the images of its own part of a batch.
"""

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

from dstrun.data.batches import Batch, Batches, mixed_seed
from dstrun.data.streamed_batches import StreamedBatches


class MixedBatches:
    """The batches of another object, mixed in training, with labels (B, classes) of shares.

    a: both parameters of the Beta distribution, > 0.
    """

    def __init__(
        self, batches: Batches | StreamedBatches, a: float, classes: int, seed: int
    ) -> None:
        self._batches, self._a, self._classes, self._seed = batches, a, classes, seed

    def __len__(self) -> int:
        """Return the batches per epoch."""
        return len(self._batches)

    def size(self, batch: int) -> int:
        """Return how many images a batch of an epoch has, on all ranks together."""
        return self._batches.size(batch)

    def shuffled(self, epoch: int, start: int = 0, *, whole: bool = False) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, augmented and mixed.

        whole: all of every batch, on any rank, not mixed: for a method that looks at images before
        the first step.
        """
        found = self._batches.shuffled(epoch, start, whole=whole)
        if whole:
            yield from found
            return
        for number, (images, labels) in enumerate(found, start):
            share = Random(mixed_seed(self._seed, epoch, number)).betavariate(self._a, self._a)
            yield mixed(images, share), mixed(shares(labels, self._classes), share)


def mixed(rows: Tensor, share: float) -> Tensor:
    """Return share · rows + (1 − share) · rows in reverse order; rows are floats (B, …)."""
    return torch.lerp(rows.flip(0), rows, share)


def shares(labels: Tensor, classes: int) -> Tensor:
    """Return floats (B, classes): 1 at the label (B,) of each example, else 0."""
    return (labels.unsqueeze(1) == torch.arange(classes, device=labels.device)).float()
