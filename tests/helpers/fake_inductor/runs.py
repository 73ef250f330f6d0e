"""Short runs on the CPU, and which graphs torch.compile captures and calls in each of their steps.

Dynamo and its guards are the real ones. What Inductor would be given goes to a function instead,
and the graph itself is then called as it was captured, uncompiled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch._inductor.compile_fx as compile_fx
from torch import fx

from dstrun import models
from dstrun.config.check import check
from dstrun.data import Split, Splits
from dstrun.training.prepare import Prepared
from dstrun.training.trainer import Trainer

CLASSES = 10


@dataclass(frozen=True)
class Network:
    """A network of the paper and the shape of its images."""

    builder: str
    shape: tuple[int, int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)


NETWORKS = {
    "lenet_300_100": Network("lenet_300_100", (1, 28, 28)),
    "lstm": Network("lstm", (1, 4, 28), {"hidden": 128}),  # 4 of 28 rows: the same graph, shorter
    "vgg16": Network("vgg", (3, 32, 32), {"depth": 16}),
    "wrn_16_8": Network("wide_resnet", (3, 32, 32), {"depth": 16, "width": 8}),
}


def trainer(
    name: str,
    options: Mapping[str, Any],
    state: dict[str, Any] | None = None,
    *,
    size: int = 8,
) -> Trainer:
    """Return a run of three epochs, each of two batches of `size` images and one of half of that.

    The learning rate changes after each epoch. `state`: a checkpoint's, to go on from.
    """
    network = NETWORKS[name]
    config = check(
        {
            "model.name": name,
            "model.builder": network.builder,
            "model.args": dict(network.arguments),
            "data.mean": [0.5],
            "data.std": [0.2],
            "schedule.batch_size": size,
            "schedule.epochs": 3,
            "schedule.rate": "multistep",
            "schedule.milestones": [1, 2],
            "log.steps": 0,
            **options,
        }
    )
    count = 2 * size + size // 2
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(255, (count, *network.shape), dtype=torch.uint8, generator=generator)
    splits = Splits(
        Split(images, torch.arange(count) % CLASSES), Split(images[:4], torch.arange(4)), CLASSES
    )
    build = partial(models.BUILDERS[network.builder], network.shape, CLASSES, **network.arguments)
    return Trainer(config, Prepared(torch.device("cpu"), splits, None, build), state)


Captured = Callable[[fx.GraphModule, Sequence[Any], Mapping[str, Any]], Any]


@dataclass
class Steps:
    """What `capture` returned for the graphs that were captured and called, step by step."""

    capture: Captured
    captured: list[list[Any]] = field(default_factory=lambda: [[]])
    called: list[list[Any]] = field(default_factory=lambda: [[]])

    def next(self, *_: Any) -> bool:
        """Begin another step; for `between_steps` of a run."""
        self.captured.append([])
        self.called.append([])
        return False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Take Inductor's place."""

        def compile_graph(
            graph: fx.GraphModule, inputs: Sequence[Any], config_patches: Any = None, **_: Any
        ) -> Callable[..., Any]:
            found = self.capture(graph, inputs, config_patches or {})
            self.captured[-1].append(found)

            def call(*arguments: Any) -> Any:
                self.called[-1].append(found)
                return graph.forward(*arguments)

            return call

        own, compile_fx.compile_fx = compile_fx.compile_fx, compile_graph  # type: ignore[assignment]
        try:
            yield
        finally:
            compile_fx.compile_fx = own
