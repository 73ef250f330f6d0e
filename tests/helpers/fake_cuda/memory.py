"""Bytes of the storages that are alive on the fake device."""

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

BLOCK = 512  # bytes that torch's allocator rounds up to


class LiveBytes:
    """Bytes of every storage on the device that has been seen and is still alive.

    A kernel's own workspace is not among them.
    """

    def __init__(self) -> None:
        self.now = 0
        self._seen: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def see(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages of these tensors, each until it is freed."""
        for tensor in tensors:
            if tensor.device.type != "cuda" or tensor.layout is not torch.strided:
                continue
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                size = -(-storage.nbytes() // BLOCK) * BLOCK
                self._seen[storage] = size
                self.now += size
                weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size
