"""Batches of images that are read from their files when they are needed.

    order of an epoch    the permutation by (seed, epoch) that `Batches` draws, too
    crop, flip           of image i in an epoch: draws by (seed, epoch, i), made where it is read
    on the device        flip, floats, normalisation

So an epoch goes on at any batch without a reader's state, and no number of workers or ranks changes
what is trained on.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor

from dstrun.data.batches import Batch, Order, mixed_seed
from dstrun.data.image_reader import PIECE, ImageReader, Wanted
from dstrun.data.splits import FileSplit
from dstrun.system.errors import InputError


class StreamedBatches(Order):
    """Batches as `Batches` has them, of files that `reader` reads.

    `flip`: mirror half of the images in `shuffled`, where each is a random crop, whatever `pad` is.
    An image that cannot be decoded is left out of its batch, and the reader says so once; one more
    than the split allows raises InputError.
    """

    def __init__(
        self,
        split: FileSplit,
        batch_size: int,
        device: torch.device,
        *,
        reader: ImageReader,
        pad: int = 0,
        flip: bool = False,
        **order: Any,
    ) -> None:
        super().__init__(len(split), batch_size, device, **order)
        self._split, self._reader, self._flip = split, reader, flip
        self._left_out: set[int] = set()

    def shuffled(self, epoch: int, start: int = 0, *, whole: bool = False) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, augmented.

        Order and augmentation depend on (seed, epoch) only. whole: all of every batch, on any rank.
        """
        order, _ = self._draw(epoch)
        parts = self._places(whole)[start:]
        return self._read([order[part.start : part.stop] for part in parts], epoch)

    def in_order(self) -> Iterator[Batch]:
        """Yield every image once, in the split's order: its centre."""
        rank, ranks = self._part
        return self._read(torch.arange(self.images).split(self.batch_size)[rank::ranks])

    def _read(self, batches: Sequence[Tensor], epoch: int | None = None) -> Iterator[Batch]:
        """Yield batches of the images with these indices."""

        def pieces(done: int) -> Iterator[list[Wanted]]:
            every = (piece for indices in batches for piece in indices.split(PIECE))
            for piece in islice(every, done, None):
                yield [self._wanted(index, epoch) for index in piece.tolist()]

        found = self._reader.read(pieces)
        for indices in batches:
            images, labels = self._assembled(indices, islice(found, ceil(len(indices) / PIECE)))
            if len(labels):
                yield images, labels
            elif epoch is not None:  # other ranks wait for this step
                raise InputError(f"data.root: cannot decode any of {len(indices)} images of a step")

    def _wanted(self, index: int, epoch: int | None) -> Wanted:
        seed = None if epoch is None else mixed_seed(self._seed, epoch, index)
        return Wanted(self._split.file(index), seed)

    def _assembled(self, indices: Tensor, pieces: Iterator) -> Batch:
        """Return a batch of pieces, without the images that are damaged."""
        _, side, _ = self._split.shape
        pixels = torch.empty(len(indices), side, side, 3, dtype=torch.uint8, device=self._device)
        flips = torch.empty(len(indices), dtype=torch.bool, device=self._device)
        whole: list[int] = []
        start = 0
        for piece in pieces:
            end = start + len(piece.pixels)
            pixels[start:end].copy_(piece.pixels, non_blocking=True)
            flips[start:end].copy_(piece.flips, non_blocking=True)
            whole += [place for place in range(start, end) if place - start not in piece.damaged]
            for place, reason in piece.damaged.items():
                self._leave_out(int(indices[start + place]), reason)
            start = end
        if self._flip:
            pixels = torch.where(flips[:, None, None, None], pixels.flip(2), pixels)
        labels = self._split.labels[indices]
        if len(whole) < len(indices):
            pixels, labels = pixels[whole], labels[whole]
        images = pixels.permute(0, 3, 1, 2).contiguous()
        return self._floats(images), labels.to(self._device, non_blocking=True)

    def _leave_out(self, index: int, reason: str) -> None:
        """Count an image that cannot be decoded, and say so once; raise InputError for too many."""
        if index in self._left_out:
            return
        self._left_out.add(index)
        count, allowed = len(self._left_out), self._split.undecodable
        if count > allowed * self.images:
            share = ceil(1000 * count / self.images) / 1000
            raise InputError(
                f"data.root: cannot decode {reason}; data.args.undecodable={share:g} leaves "
                f"{'it' if count == 1 else 'such images'} out"
            )
        self._reader.say(f"data.root: cannot decode {reason}: left out")
