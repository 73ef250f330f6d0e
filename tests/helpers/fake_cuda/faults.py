"""Mistakes put into training on purpose, each of which a watch must find."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.training.loop import Progress
from dstrun.training.trainer import Trainer


def read_a_value(add: Callable) -> Callable:
    """Return `Progress.add` with an item()."""

    def call(self: Progress, loss: Tensor, right: Tensor, images: int) -> None:
        loss.item()
        add(self, loss, right, images)

    return call


def copy_to_the_host(add: Callable) -> Callable:
    """Return `Progress.add` with copies that are not asynchronous."""

    def call(self: Progress, loss: Tensor, right: Tensor, images: int) -> None:
        add(self, loss, right.to("cpu").to(right.device), images)

    return call


def index_by_booleans(after_step: Callable) -> Callable:
    """Return `after_step` with an index whose result depends on values."""

    def call(self: DynamicSparseTraining) -> None:
        for threshold in self.added_parameters():
            threshold.detach()[threshold < 0] = 0.0
        after_step(self)

    return call


def index_on_the_host(after_step: Callable) -> Callable:
    """Return `after_step` with an index that was left on the CPU."""

    def call(self: DynamicSparseTraining) -> None:
        first = torch.zeros(1, dtype=torch.long)
        for threshold in self.added_parameters():
            threshold.detach()[first].neg()
        after_step(self)

    return call


def wait_between_steps(measure: Callable) -> Callable:
    """Return `measure` with one more wait than it may have."""

    def call(self: DynamicSparseTraining) -> Any:
        self.added_parameters()[0].sum().item()
        return measure(self)

    return call


def leave_a_buffer(init: Callable) -> Callable:
    """Return `Trainer.__init__` with a buffer that does not get to the device."""

    def call(self: Trainer, *args: Any) -> None:
        init(self, *args)
        self.model.register_buffer("left", torch.zeros(1))

    return call


# (owner of a public function, its name, what makes the function with a mistake)
FAULTS: list[tuple[Any, str, Callable]] = [
    (Progress, "add", read_a_value),
    (Progress, "add", copy_to_the_host),
    (DynamicSparseTraining, "after_step", index_by_booleans),
    (DynamicSparseTraining, "after_step", index_on_the_host),
    (DynamicSparseTraining, "measure", wait_between_steps),
    (Trainer, "__init__", leave_a_buffer),
]


@contextmanager
def all_faults() -> Iterator[None]:
    """Have all mistakes while the context is open."""
    right = [(owner, name, getattr(owner, name)) for owner, name, _ in FAULTS]
    for owner, name, make in FAULTS:
        setattr(owner, name, make(getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, function in right:
            setattr(owner, name, function)
