"""Shared parts of the benchmarks: config, training that can be timed step by step, tables."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dstrun import models
from dstrun.config.check import check
from dstrun.config.compose import compose_single
from dstrun.config.options import Config
from dstrun.config.registry import lookup
from dstrun.config.sparsity_options import WITH_UPDATES
from dstrun.data import Split, Splits, TextSplit
from dstrun.methods.base import Method
from dstrun.runs.rounds import Rounds
from dstrun.system.machine import choose_device, facts, keep_freed_memory, set_threads
from dstrun.training.build import (
    make_optimiser_for,
    make_rate_for,
    make_update,
    training_objects,
)
from dstrun.training.loop import Progress, train
from dstrun.training.prepare import Prepared
from dstrun.training.step import Update

SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "imagenet": (3, 224, 224),
}


VARIANTS = {
    "dense": ["reg=dense"],
    "DST, eager": [],
    "DST, compile=mask": ["schedule.compile=mask"],
    "dense, compile=step": ["reg=dense", "schedule.compile=step"],
    "DST, compile=step": ["schedule.compile=step"],
}


def variants_of(method: str) -> dict[str, list[str]]:
    """Return a method's step as its authors have it, compiled, and with an update in every step."""
    words = [f"reg={method}", "reg.density=0.1"]
    found = {method: words, f"{method}, compile=step": [*words, "schedule.compile=step"]}
    return found | (
        {f"{method}, update": [*words, "reg.every=1"]} if method in WITH_UPDATES else {}
    )


@dataclass
class Training:
    """A model in training on one batch of random images, with `update` to do more steps."""

    config: Config
    model: nn.Module
    method: Method
    one_update: Update
    images: Tensor
    update: Callable[[int], None]


def config_of(words: Sequence[str]) -> Config:
    """Return the config that `dstrun WORDS` would use."""
    composed = compose_single(words)
    assert composed is not None, "expected the overrides of a single run"
    return check(composed)


def _shape(config: Config) -> tuple[int, ...]:
    """Return the shape of an image, or the length of a sequence."""
    if config.data.builder == "text":
        return (config.data.args.get("length", 128),)
    return SHAPES[config.data.name]


def _empty(config: Config) -> Splits:
    """Return a data set of the kind and the number of classes that is asked for."""
    shape = _shape(config)
    if config.data.builder == "text":
        text = TextSplit(torch.zeros(shape[0] + 1, dtype=torch.uint8), *shape)
        return Splits(text, text, 256)
    nothing = Split(torch.zeros(1, *shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
    classes = {"cifar100": 100, "imagenet": 1000}.get(config.data.name, 10)
    return Splits(nothing, nothing, classes)


def training(words: Sequence[str]) -> Training:
    """Return the training that `dstrun WORDS` would do, on one batch that is on the device."""
    config = config_of(words)
    keep_freed_memory()
    set_threads(config.threads)
    device, shape, splits = choose_device(config.device), _shape(config), _empty(config)
    classes = splits.classes
    build = lookup("model.builder", config.model.builder, models.BUILDERS, "dstrun.models")
    prepared = Prepared(device, splits, None, partial(build, shape, classes, **config.model.args))
    model, method = training_objects(config, prepared)
    size = config.schedule.batch_size
    if config.data.builder == "text":
        images, labels = torch.randint(classes, (2, size, *shape), device=device).unbind()
    else:
        images = torch.rand(size, *shape, device=device)
        labels = torch.randint(classes, (size,), device=device)
    asked = 0

    def enough(progress: Progress) -> bool:
        return progress.step >= asked

    optimiser = make_optimiser_for(config, model, method)
    one_update = make_update(config, model, method, optimiser, device)
    if not config.reg.is_steered:
        method.begin(10**9, optimiser, 10**9)
    batches, rate = Repeated(images, labels), make_rate_for(config, 10**9)
    records = train(
        one_update, batches, rate, {}, rounds=Rounds(1), progress=Progress(), between_steps=enough
    )

    def update(count: int) -> None:
        nonlocal asked
        asked += count
        next(records)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return Training(config, model, method, one_update, images, update)


@dataclass
class Repeated:
    """Batches that are all the same."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return 10**9

    def size(self, batch: int) -> int:
        return len(self.images)

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield self.images, self.labels


def base_of(variant: str, measured: Iterable[str]) -> str:
    """Return the dense variant to compare with; for `compile=step`, the one compiled alike."""
    whole = "dense, compile=step"
    return whole if variant.endswith("compile=step") and whole in measured else "dense"


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the lower and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return statistics.median(values), low, high


def report(title: str, rows: Sequence[dict[str, Any]], file: Path | None, **more: Any) -> None:
    """Print a table; if a file is named, also write it as JSON with the facts of the machine."""
    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(
            *(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
        )
    console = Console(width=max(100, Console().width))
    console.print(table if rows else title)  # a table without columns prints nothing
    for name, value in more.items():
        console.print(f"{name.replace('_', ' ')}: {value}")
    device = torch.device(more.get("device", "cpu"))
    if file:
        content = {
            "title": title,
            "rows": rows,
            **more,
            "machine": facts(device) | {"threads": torch.get_num_threads()},
        }
        file.write_text(json.dumps(content, indent=2) + "\n")
