"""Batches of a split that is on the device as one uint8 tensor: no worker, no copy from the host.

    epoch = one permutation, and a crop offset and a flip for each image, all drawn at its start
            from (seed, epoch)
    batch = a slice of it; several batches at a time are gathered, padded, cropped, flipped and
            normalised

An epoch depends on (seed, epoch) only, so resuming at batch k needs no state of a generator. The
CPU draws the random numbers, a few bytes per image and epoch, so that every device gets the same
images in the same order. Images that the device has no room for stay on the host, which gathers
them and copies them over: a quarter of the bytes that the step reads, while earlier steps compute.
"""

import hashlib
from collections.abc import Iterator, Sequence
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from dstrun.data.splits import Split

# Bytes of floats made at once, so that many batches of small images share a dozen operations.
ASSEMBLED_BYTES = 2**22

Batch = tuple[Tensor, Tensor]


class Batches:
    """Batches of images (B, C, H, W), as floats (pixel / 255 − mean) / std, and labels (B,).

    `on_host`: keep the images on the host, where a GPU is short of memory; the batches are the
    same. `pad`: black pixels around an image before a random crop; `flip`: mirror half of the
    images; both only in `shuffled`. `mean` and `std` have one value, or one per channel.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        *,
        on_host: bool = False,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pad: int = 0,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self._device = device
        self._pins = on_host and torch.cuda.is_available()
        self._images = split.images if on_host else split.images.to(device)
        self._labels = split.labels.to(device)
        self._mean, self._std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
        self._normalised = any(mean) or any(value != 1 for value in std)
        self.batch_size, self._pad, self._flip, self._seed = batch_size, pad, flip, seed
        self.images = len(split)

    def __len__(self) -> int:
        """Return the batches per epoch; batch norm cannot train on a last batch of one image,
        which is left out.
        """
        count = ceil(self.images / self.batch_size)
        return count - 1 if self.images % self.batch_size == 1 and count > 1 else count

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, augmented.

        Order and augmentation depend on (seed, epoch) only.
        """
        generator = torch.Generator().manual_seed(_mixed_seed(self._seed, epoch))
        order = torch.randperm(self.images, generator=generator)
        where = order.to(self._images.device)
        order = order.to(self._device)
        shifts = torch.randint(2 * self._pad + 1, (2, self.images), generator=generator)
        shifts = shifts.to(self._device)
        flips: Tensor | None = None
        if self._flip:
            flips = (torch.rand(self.images, generator=generator) < 0.5).to(self._device)
        together = max(1, ASSEMBLED_BYTES // (4 * self._images[0].numel() * self.batch_size))
        for batch in range(start, len(self), together):
            end = min(batch + together, len(self))
            piece = slice(batch * self.batch_size, end * self.batch_size)
            pixels = self._on_device(self._images.index_select(0, where[piece]))
            if self._pad or flips is not None:
                pixels = self._cropped(
                    pixels, shifts[:, piece], None if flips is None else flips[piece]
                )
            images, labels = self._floats(pixels), self._labels[order[piece]]
            yield from zip(
                images.split(self.batch_size), labels.split(self.batch_size), strict=True
            )

    def in_order(self) -> Iterator[Batch]:
        """Yield every image once, in the split's order, without augmentation."""
        size = self.batch_size
        for pixels, labels in zip(self._images.split(size), self._labels.split(size), strict=True):
            yield self._floats(self._on_device(pixels)), labels

    def _on_device(self, pixels: Tensor) -> Tensor:
        """Return images on the device; the host does not wait for a copy of pinned memory."""
        if self._pins:
            pixels = pixels.pin_memory()
        return pixels.to(self._device, non_blocking=True)

    def _cropped(self, pixels: Tensor, shifts: Tensor, flips: Tensor | None) -> Tensor:
        """Return windows of padded images, uint8 (B, C, H, W), as `pixels` are without padding.

        `shifts`: their places, (2, B); `flips`: which to mirror, (B,) bool.
        """
        count, channels, height, width = pixels.shape
        rows, columns = (torch.arange(n, device=pixels.device) for n in (height, width))
        columns = columns.expand(count, width)
        if flips is not None:
            columns = torch.where(flips[:, None], columns.flip(1), columns)
        rows, columns = rows + shifts[0][:, None], columns + shifts[1][:, None]
        places = rows[:, :, None] * (width + 2 * self._pad) + columns[:, None, :]
        padded = F.pad(pixels, (self._pad,) * 4) if self._pad else pixels
        # one index for all channels: a quarter of the time of padded[images, channels, rows, …]
        places = places.view(count, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, places).view(pixels.shape)

    def _floats(self, pixels: Tensor) -> Tensor:
        images = pixels.float().div_(255)
        return images.sub_(self._mean).div_(self._std) if self._normalised else images


def _mixed_seed(seed: int, epoch: int) -> int:
    """Return a 32-bit hash of both: the CPU's generator reads 32 bits, and seeds 0, 1, … with
    epochs 0, 1, … must not repeat one another.
    """
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
