"""What every part has: its device, a word to the parent, small networks and made-up images."""

import json
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import config_of
from gpu_collect import MARK
from torch import nn

from dstrun import models
from dstrun.data import Split, Splits
from dstrun.training.prepare import Prepared
from dstrun.training.trainer import Trainer

SHAPE = (1, 8, 8)
SMALL = [
    "model=lenet5",
    "data=digits",
    "schedule.epochs=3",
    "schedule.batch_size=16",
    "schedule.lr=0.05",
    "schedule.weight_decay=1e-4",
    "reg.alpha=0.05",
    "reg.floor=0.3",
    "data.pad=1",
    "data.flip=true",
]


class Child:
    """The part's side of the talk with `gpu_collect.Process`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.tiny = spec, bool(spec["tiny"])
        self.device = torch.device(spec["device"])
        self.is_cuda = self.device.type == "cuda"
        self.work = Path(spec["work"])
        self._heard: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._heard.put(line.strip())

    def say(self, **figures: Any) -> None:
        print(MARK + json.dumps(figures, default=str), flush=True)

    def hear(self) -> str:
        """Return the parent's next word, once it comes."""
        return self._heard.get()

    @property
    def is_waited_for(self) -> bool:
        """Whether the parent has said something that was not heard yet."""
        return not self._heard.empty()

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Report an error as this case's, and go on to the next."""
        try:
            yield
        except Exception as error:
            text = f"{type(error).__name__}: {str(error)[:300]}"
            self.say(ok={name: False}, errors={name: text})
            traceback.print_exc()

    def some(self, cases: dict[str, Any]) -> dict[str, Any]:
        """Return all cases; on a trial, the first."""
        return dict(list(cases.items())[: 1 if self.tiny else None])

    def synchronise(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, task: Callable[[], object]) -> float:
        begun = time.perf_counter()
        task()
        self.synchronise()
        return time.perf_counter() - begun


def made_up(count: int, shape: Sequence[int] = SHAPE, seed: int = 0) -> Split:
    """Return random images of ten classes, brighter from class to class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    images = torch.randint(0, 128, (count, *shape), generator=generator, dtype=torch.uint8)
    return Split(images + (labels * 12).view(-1, 1, 1, 1).to(torch.uint8), labels)


def small_network() -> nn.Module:
    """Return a convolution, batch norm and two linear layers for images of `SHAPE`."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 24),
        nn.ReLU(),
        nn.Linear(24, 10),
    )


def network(name: str, shape: Sequence[int], **arguments: Any) -> Callable[[], nn.Module]:
    return partial(models.BUILDERS[name], shape, 10, **arguments)


def small_trainer(
    device: torch.device,
    words: Sequence[str],
    build: Callable[[], nn.Module] = small_network,
    *,
    shape: Sequence[int] = SHAPE,
    images: int = 56,
    state: dict[str, Any] | None = None,
) -> Trainer:
    """Return the product's trainer of a network on made-up images, three full batches and a half.

    Every process and device gets the same images and weights.
    """
    config = config_of([*SMALL, *words])
    splits = Splits(made_up(images, shape), made_up(40, shape, seed=1), 10)
    return Trainer(config, Prepared(device, splits, None, build), state)


def finish(trainer: Trainer, evaluates: bool = False) -> dict[str, torch.Tensor]:
    """Train to the end; return the model's state on the CPU."""
    for _ in trainer.records(lambda _: False, evaluates):
        pass
    return {name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}


def largest_difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference of two states; NaN counts as infinite."""
    apart = max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in theirs)
    return apart if apart == apart else float("inf")
