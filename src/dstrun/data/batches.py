"""Batches of a split that is on the device as one uint8 tensor: no worker, no copy from the host.

`Order` is what batches of all kinds share.

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
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dstrun.data.splits import Split

# Bytes of floats made at once, so that many batches of small images share a dozen operations.
ASSEMBLED_BYTES = 2**22

Batch = tuple[Tensor, Tensor]


class Order:
    """Order of the images of each epoch, by (seed, epoch), and a rank's part of each batch.

    `part`: (rank, ranks), of processes that train together: see `part_of`. `mean` and `std` have
    one value, or one per channel.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        device: torch.device,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.batch_size, self._device = images, batch_size, device
        self._seed, self._part = seed, part
        self._mean, self._std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
        self._normalised = any(mean) or any(value != 1 for value in std)

    def __len__(self) -> int:
        """Return the batches per epoch; batch norm cannot train on a last batch of one image,
        which is left out.
        """
        count = ceil(self.images / self.batch_size)
        return count - 1 if self.images % self.batch_size == 1 and count > 1 else count

    def size(self, batch: int) -> int:
        """Return how many images a batch of an epoch has, on all ranks together."""
        return min(self.batch_size, self.images - batch * self.batch_size)

    def _draw(self, epoch: int) -> tuple[Tensor, torch.Generator]:
        """Return the order of the images in an epoch, and the generator for what else it draws."""
        generator = torch.Generator().manual_seed(mixed_seed(self._seed, epoch))
        return torch.randperm(self.images, generator=generator), generator

    def _places(self, whole: bool) -> list[range]:
        """Return the places in the order of this rank's part of each batch, or of all of it."""
        rank, ranks = (0, 1) if whole else self._part
        found = []
        for batch in range(len(self)):
            part, start = part_of(self.size(batch), rank, ranks), batch * self.batch_size
            found.append(range(start + part.start, start + part.stop))
        return found

    def _floats(self, pixels: Tensor) -> Tensor:
        images = pixels.float().div_(255)
        return images.sub_(self._mean).div_(self._std) if self._normalised else images


class Batches(Order):
    """Batches of images (B, C, H, W), as floats (pixel / 255 − mean) / std, and labels (B,).

    `on_host`: keep the images on the host, where a GPU is short of memory; the batches are the
    same. `pad`: black pixels around an image before a random crop; `flip`: mirror half of the
    images; both only in `shuffled`. `order`: options of `Order`; where several ranks train
    together, `shuffled` yields a rank's part of each batch, and `in_order` every so-many-th batch.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device,
        *,
        on_host: bool = False,
        pad: int = 0,
        flip: bool = False,
        **order: Any,
    ) -> None:
        super().__init__(len(split), batch_size, device, **order)
        self._pins = on_host and torch.cuda.is_available()
        self._images = split.images if on_host else split.images.to(device)
        self._labels = split.labels.to(device)
        self._pad, self._flip = pad, flip

    def shuffled(self, epoch: int, start: int = 0, *, whole: bool = False) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, augmented.

        Order and augmentation depend on (seed, epoch) only. whole: all of every batch, on any rank.
        """
        order, generator = self._draw(epoch)
        shifts = torch.randint(2 * self._pad + 1, (2, self.images), generator=generator)
        flips: Tensor | None = None
        if self._flip:
            flips = torch.rand(self.images, generator=generator) < 0.5
        parts = self._places(whole)
        sizes = [len(part) for part in parts]
        if sum(sizes) < len(order):
            own = [place for part in parts for place in part]
            order, shifts = order[own], shifts[:, own]
            flips = None if flips is None else flips[own]
        where = order.to(self._images.device)
        order, shifts = order.to(self._device), shifts.to(self._device)
        flips = None if flips is None else flips.to(self._device)
        together = max(1, ASSEMBLED_BYTES // (4 * self._images[0].numel() * sizes[0]))
        for batch in range(start, len(self), together):
            end = min(batch + together, len(self))
            piece = slice(batch * sizes[0], batch * sizes[0] + sum(sizes[batch:end]))
            pixels = self._on_device(self._images.index_select(0, where[piece]))
            if self._pad or flips is not None:
                pixels = self._cropped(
                    pixels, shifts[:, piece], None if flips is None else flips[piece]
                )
            images, labels = self._floats(pixels), self._labels[order[piece]]
            yield from zip(
                images.split(sizes[batch:end]), labels.split(sizes[batch:end]), strict=True
            )

    def in_order(self) -> Iterator[Batch]:
        """Yield every image once, in the split's order, without augmentation."""
        size, (rank, ranks) = self.batch_size, self._part
        batches = zip(self._images.split(size), self._labels.split(size), strict=True)
        for pixels, labels in islice(batches, rank, None, ranks):
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


def part_of(images: int, rank: int, ranks: int) -> range:
    """Return the places of a rank's part in a batch of so many images.

    The parts are as equal as they can be, the larger ones first. Each rank has the whole of a batch
    of less than two images a rank: batch norm cannot train on one.
    """
    if not is_divided(images, ranks):
        return range(images)
    least, more = divmod(images, ranks)
    start = rank * least + min(rank, more)
    return range(start, start + least + (rank < more))


def is_divided(images: int, ranks: int) -> bool:
    """Return whether each rank has a part of a batch of so many images, and not the whole."""
    return images >= 2 * ranks


def mixed_seed(*numbers: int) -> int:
    """Return a 32-bit hash of a seed and others: the CPU's generator reads 32 bits, and seeds 0,
    1, … with epochs 0, 1, … must not repeat one another.
    """
    digest = hashlib.blake2b(" ".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
