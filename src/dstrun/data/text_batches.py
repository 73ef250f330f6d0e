"""Batches of sequences of bytes: the text is one uint8 tensor on the device, gathered there.

    epoch     (offset, order of sequences), drawn at its start from (seed, epoch)
    sequence  L + 1 bytes from offset + k L on; the text's end goes on with its beginning
    batch     inputs: the first L of them, targets: the last L

So every epoch cuts the text at other places, and an epoch goes on at any batch without the state of
a generator.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from dstrun.data.batches import Batch, Order
from dstrun.data.splits import TextSplit


class TextBatches(Order):
    """Batches of inputs and targets, int64 (B, L): a target is the byte after its input.

    `order`: options of `Order`, whose images are sequences here.
    """

    def __init__(
        self, split: TextSplit, batch_size: int, device: torch.device, **order: Any
    ) -> None:
        super().__init__(len(split), batch_size, device, **order)
        self._text, self._length = split.text.to(device), split.length

    def shuffled(self, epoch: int, start: int = 0, *, whole: bool = False) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on.

        Cut and order depend on (seed, epoch) only. whole: all of every batch, on any rank.
        """
        order, generator = self._draw(epoch)
        offset = torch.randint(len(self._text), (), generator=generator)
        begins = (order * self._length + offset).to(self._device)
        ahead = torch.arange(self._length + 1, device=self._device)
        for part in self._places(whole)[start:]:
            places = begins[part.start : part.stop, None] + ahead
            found = self._text[places % len(self._text)].long()
            yield found[:, :-1].contiguous(), found[:, 1:].contiguous()

    def in_order(self) -> Iterator[Batch]:
        """Yield every byte but the first as a target once, in the text's order.

        The last sequence, if it is shorter than the others, is a batch of its own.
        """
        size, (rank, ranks) = self.batch_size, self._part
        return islice(self._pieces(size), rank, None, ranks)

    def _pieces(self, size: int) -> Iterator[Batch]:
        text, length = self._text, self._length
        whole = (len(text) - 1) // length * length
        inputs, targets = text[:whole].view(-1, length), text[1 : whole + 1].view(-1, length)
        for pair in zip(inputs.split(size), targets.split(size), strict=True):
            yield pair[0].long(), pair[1].long()
        if whole + 1 < len(text):
            yield text[None, whole:-1].long(), text[None, whole + 1 :].long()
