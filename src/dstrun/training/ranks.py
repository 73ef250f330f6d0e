"""The processes that train one run together: each is a rank, with a part of every batch.

    gradients, batch norm's running statistics, loss and number right: one all-reduce a step

After it they are the same on every rank, bit for bit. What follows in a step is a function of them,
of the weights and of the step's number, so masks, steering and every method stay equal without
communication. There is no wrapper around the model: torch's averages in `backward()` alone, not in
`autograd.grad`, and fails where thresholds are frozen.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from dstrun.system.errors import InputError, first_line

FROM_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element
# in the errors of a collective operation whose other ranks have ended
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "ncclRemoteError")

RUN_ID = "dstrun-"  # how the names begin that `launch` gives to torch's launcher
TIME_TO_JOIN = timedelta(minutes=10)  # for the ranks of all machines
OTHER_ENDED = "another rank has ended"  # the error of a run whose rank has not failed itself


class RanksDifferError(RuntimeError):
    """Ranks whose weights, masks or other parts of the model are no longer the same."""


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

    def highest(self, *numbers: int) -> list[int]:
        """Return the highest of each number over all ranks.

        Waits for all of them, not for a device.
        """
        if self.size == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int32)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()

    @torch.no_grad()
    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Set tensors to those of the first rank."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def tell(self, value: Any = None) -> Any:
        """Return the first rank's value on every rank."""
        if self.size == 1:
            return value
        found = [value]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def end_together(self) -> None:
        """Wait until the first rank has done all: launchers give the others seconds once one of
        them has ended by a signal.
        """
        with suppress(RuntimeError):  # it has failed
            self.tell()

    def check_equal(self, named: dict[str, Tensor]) -> None:
        """Raise RanksDifferError where a tensor is not the same on all ranks, bit for bit."""
        if self.size == 1:
            return
        sums = [_sum_of_bits(tensor) for tensor in named.values()]
        all_sums = self.gather(torch.stack(sums).tolist())
        for name, *found in zip(named, *all_sums, strict=True):
            if len(set(found)) > 1:
                other = next(rank for rank, one in enumerate(found) if one != found[0])
                raise RanksDifferError(f"{name} is not the same on ranks 0 and {other}")

    def gather(self, state: Any) -> list[Any]:
        """Return what every rank gives, in their order, on every rank."""
        if self.size == 1:
            return [state]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, state)
        return found


ALONE = Ranks()


class AnyRank:
    """Whether a flag was true on any rank at the call before: no rank waits for the slowest."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._flag = torch.zeros(1, dtype=torch.uint8)
        self._pending: dist.Work | None = None

    def __call__(self, flag: object) -> bool:
        """Return the answer to the last call, and ask anew where it is no; alone, the flag."""
        if self._ranks.size == 1:
            return bool(flag)
        if self.last():
            return True
        self._flag.fill_(bool(flag))
        self._pending = dist.all_reduce(self._flag, dist.ReduceOp.MAX, async_op=True)
        return False

    def last(self) -> bool:
        """Wait for the last call, and return whether its flag was true on any rank."""
        if self._pending is None:
            return False
        self._pending.wait()
        self._pending = None
        return bool(self._flag.item())


def _sum_of_bits(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor's words, each weighted by its place: a 0-dim integer tensor."""
    words = WORDS.get(tensor.element_size(), torch.uint8)
    whole = tensor.detach().contiguous().view(-1).view(words)
    places = torch.arange(1, len(whole) + 1, device=whole.device) % 65_521
    return (whole * places).sum()


def local_rank() -> int | None:
    """Return this process's place among those of a launcher on this machine; None without one.

    Raise InputError where the environment is not as a launcher sets it.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    given = {name: os.environ.get(name, "") for name in FROM_LAUNCHER}
    for name, value in given.items():
        if not value or (name != "MASTER_ADDR" and not value.isdecimal()):
            raise InputError(
                f"{name}: got {value!r} in the environment, where WORLD_SIZE is "
                f"{given['WORLD_SIZE']!r}; torchrun sets {', '.join(FROM_LAUNCHER)}"
            )
    return int(given["LOCAL_RANK"])


def is_of_own_launcher() -> bool:
    """Return whether `launch` has started this rank, and tells how it ends; not so torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_ID)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Yield the ranks that torch's launcher has started; this process alone without one.

    device: that of this rank, cpu or cuda:1. Raises InputError where they cannot be reached.
    """
    if local_rank() is None:
        yield ALONE
        return
    # Its functions have the group of all ranks as default. Imported by an optimiser, when there is
    # one, they would keep it, and its threads to the exit, where such a thread can abort the rank.
    import torch.distributed.nn

    own = torch.device(device)
    on_gpu = {"backend": "cpu:gloo,cuda:nccl", "device_id": own}
    options: dict[str, Any] = on_gpu if own.type == "cuda" else {"backend": "gloo"}
    # torchrun's store still has the addresses of ranks that have ended
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store, rank, size = next(rendezvous("env://", timeout=TIME_TO_JOIN))
        store = dist.PrefixStore(f"attempt {attempt}", store)
        dist.init_process_group(store=store, rank=rank, world_size=size, **options)
    except RuntimeError as error:
        raise InputError(f"ranks: cannot reach one another: {first_line(error)}") from error
    try:
        yield Ranks(rank, size)
    finally:
        dist.destroy_process_group()


def is_of_lost_rank(error: BaseException) -> bool:
    """Return whether an error says that another rank has ended."""
    return any(words in str(error) for words in LOST)
