"""The processes that train one run together: each is a rank, with a part of every batch.

    gradients, batch norm's running statistics, loss and number right: one all-reduce a step

After it they are the same on every rank, bit for bit. What follows in a step is a function of them,
of the weights and of the step's number, so masks, steering and every method stay equal without
communication. There is no wrapper around the model: torch's averages in `backward()` alone, not in
`autograd.grad`, and fails where thresholds are frozen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; alone, it communicates nothing."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files and talks to the user."""
        return self.rank == 0

    @torch.no_grad()
    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Set tensors to their means over all ranks, in one all-reduce, in fp32 at least."""
        if self.size == 1:
            return
        kind = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
        flat = torch.cat([tensor.reshape(-1).to(kind) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Set tensors to those of the first rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def gather(self, state: Any) -> list[Any]:
        """Return what every rank gives, in their order, on every rank."""
        if self.size == 1:
            return [state]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, state)
        return found


ALONE = Ranks()
