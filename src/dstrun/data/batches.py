"""Batches of a split that lies on the device as one uint8 tensor: no worker, no copy from the host.

    an epoch = one permutation, one crop offset and one flip an image, all drawn at its start from (seed, epoch);
    a batch  = a slice of it; some batches at a time are gathered, cropped, flipped and normalised together

Since (seed, epoch) decides an epoch whole, going on at batch k needs no generator's state. The
draws are the CPU's, some bytes an image and once an epoch, so that every device sees the same
images in the same order. Knows torch alone."""

import hashlib
from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from dstrun.data.splits import Split

ASSEMBLED_BYTES = (
    2**22
)  # of floats made at once: batches of small images then cost one dozen operations for many

Batch = tuple[Tensor, Tensor]


class Batches:
    """Images as (B, C, H, W) floats, (pixel / 255 − mean) / std, with their labels (B,).

    `pad` > 0 crops at random after padding by so many black pixels; `flip` mirrors half of the
    images; both act in `shuffled` only. `mean` and `std` have one value, or one a channel."""

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pad: int = 0,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self._images, self._labels = split.images.to(device), split.labels.to(device)
        self._padded = F.pad(self._images, (pad,) * 4) if pad else self._images
        self._mean, self._std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
        self._normalised = any(mean) or any(value != 1 for value in std)
        self.batch_size, self._pad, self._flip, self._seed = batch_size, pad, flip, seed
        self.images = len(split)

    def __len__(self) -> int:
        """Batches an epoch; a last batch of a single image is left out, since batch norm cannot
        train on it."""
        whole = ceil(self.images / self.batch_size)
        return whole - 1 if self.images % self.batch_size == 1 and whole > 1 else whole

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on, in the order and with the augmentation of
        (seed, epoch)."""
        device = self._images.device
        generator = torch.Generator().manual_seed(_mixed(self._seed, epoch))
        order = torch.randperm(self.images, generator=generator).to(device)
        shifts = torch.randint(2 * self._pad + 1, (2, self.images), generator=generator).to(device)
        flips = (
            (torch.rand(self.images, generator=generator) < 0.5).to(device) if self._flip else None
        )
        together = max(1, ASSEMBLED_BYTES // (4 * self._images[0].numel() * self.batch_size))
        for batch in range(start, len(self), together):
            end = min(batch + together, len(self))
            piece = slice(batch * self.batch_size, end * self.batch_size)
            chosen = order[piece]
            if self._pad or flips is not None:
                pixels = self._cropped(
                    chosen, shifts[:, piece], None if flips is None else flips[piece]
                )
            else:
                pixels = self._images[chosen]
            images, labels = self._floats(pixels), self._labels[chosen]
            yield from zip(
                images.split(self.batch_size), labels.split(self.batch_size), strict=True
            )

    def in_order(self, batch_size: int | None = None) -> Iterator[Batch]:
        """Every image once, in the split's order, with no augmentation."""
        size = batch_size or self.batch_size
        for pixels, labels in zip(self._images.split(size), self._labels.split(size), strict=True):
            yield self._floats(pixels), labels

    def _cropped(self, chosen: Tensor, shifts: Tensor, flips: Tensor | None) -> Tensor:
        """uint8 (B, C, H, W) windows of the padded images at shifts (2, B), mirrored where flips
        (B,) says so."""
        channels, height, width = self._images.shape[1:]
        rows, columns = (torch.arange(n, device=chosen.device) for n in (height, width))
        columns = columns.expand(len(chosen), width)
        if flips is not None:
            columns = torch.where(flips[:, None], columns.flip(1), columns)
        return self._padded[
            chosen[:, None, None, None],
            torch.arange(channels, device=chosen.device)[:, None, None],
            (rows + shifts[0][:, None])[:, None, :, None],
            (columns + shifts[1][:, None])[:, None, None, :],
        ]

    def _floats(self, pixels: Tensor) -> Tensor:
        images = pixels.float().div_(255)
        return images.sub_(self._mean).div_(self._std) if self._normalised else images


def _mixed(seed: int, epoch: int) -> int:
    """32 bits from both: the CPU's generator reads no more, and neighbours must not be alike."""
    return int.from_bytes(
        hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=4).digest(), "little"
    )
