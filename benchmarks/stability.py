"""Cause of NaN in sparse training: a small VGG on 1,000 images of CIFAR-10, one change at a time.

    python benchmarks/stability.py [--seeds 8] [--updates 300] [--json FILE]
    python benchmarks/stability.py --trace [--seed 0]  # one filter's threshold, step by step

Six convolutions of 16 to 64 filters with batch norm, batches of 64, momentum 0.9, weight decay
1e-4, α = 1e-3, the paper's threshold reset. Unless a setting says "bounded", the penalty is the
paper's, exp(−t) for every t; dstrun's has a constant gradient below t = −10. Takes a few minutes on
one core. Data come from $DSTRUN_DATA, else data.
"""

import argparse
import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import report
from torch import Tensor, nn

from dstrun import data
from dstrun.data import Batches
from dstrun.methods.dst import masking
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.training.optim import make_optimiser
from dstrun.training.step import Update

BOUND = masking.LOWEST
IMAGES, BATCH = 1000, 64
SETTINGS: dict[str, dict[str, Any]] = {
    "learning rate 0.1": {"lr": 0.1},
    "learning rate 0.2": {"lr": 0.2},
    "learning rate 0.5": {},
    "0.5, no batch norm": {"norm": False},
    "0.5, no momentum": {"momentum": 0.0},
    "0.5, no guard": {"floor": 0.0},
    "0.5, no weight decay": {"weight_decay": 0.0},
    "0.5, bounded": {"bound": BOUND},
}
TRACED = 0.1
FAR_BELOW_ZERO = -2.0  # neither weights nor data can push a threshold below this


class Row(NamedTuple):
    """The effect of one step on one filter."""

    step: int
    kept: int
    threshold: float
    gradient: float
    moved_to: float


def network(norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for at, filters in enumerate((16, 16, 32, 32, 64, 64)):
        layers.append(nn.Conv2d(channels, filters, 3, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(filters))
            nn.init.constant_(layers[-1].weight, 0.5)  # type: ignore[arg-type]  # as the paper's VGG has it
        layers += [nn.ReLU(), *([] if at % 2 else [nn.MaxPool2d(2)])]
        channels = filters
    hidden: list[nn.Module] = [
        nn.Linear(channels, 64),
        *([nn.BatchNorm1d(64)] if norm else []),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *hidden, nn.Linear(64, 10))


class Trial:
    """One training whose steps can be inspected."""

    def __init__(
        self,
        images: data.Split,
        seed: int,
        *,
        lr: float = 0.5,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        floor: float = 0.01,
        norm: bool = True,
        bound: float = -math.inf,
    ) -> None:
        masking.LOWEST = bound
        torch.manual_seed(seed)
        self.model, self.method = network(norm), DynamicSparseTraining(alpha=1e-3, floor=floor)
        self.method.prepare(self.model)
        self.method.begin(0)
        groups = self.method.groups()
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.update = Update(
            self.model, self.method, make_optimiser("sgd", self.model, groups, **options)
        )
        self.batches = Batches(
            images,
            BATCH,
            torch.device("cpu"),
            flip=True,
            seed=seed,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
        )
        self.lr, self.lowest, self.highest = lr, 0.0, 0.0

    def updates(self, count: int) -> Iterator[int]:
        """Yield the numbers of the steps, from 1 on, until a value is not finite."""
        done = 0
        while True:
            for batch in self.batches.shuffled(done):
                self.update(*batch, self.lr)
                done += 1
                thresholds = torch.cat(
                    [threshold.detach().flatten() for threshold in self.method.added_parameters()]
                )
                self.lowest = min(self.lowest, float(thresholds.min()))
                self.highest = max(self.highest, float(thresholds.max()))
                yield done
                if done == count or not self.finite():
                    return

    def finite(self) -> bool:
        return all(bool(tensor.isfinite().all()) for tensor in self.model.state_dict().values())


def compare(images: data.Split, seeds: int, updates: int) -> Iterator[dict[str, Any]]:
    for name, setting in SETTINGS.items():
        trials, ends = [], []
        for seed in range(seeds):
            trials.append(Trial(images, seed, **setting))
            *_, last = trials[-1].updates(updates)
            ends += [] if trials[-1].finite() else [last]
        yield {
            "setting": name,
            "not finite": f"{len(ends)} of {seeds}",
            "at step (median)": f"{statistics.median(ends):.0f}" if ends else "",
            "lowest t": min(trial.lowest for trial in trials),
            "highest t": max(trial.highest for trial in trials),
        }


def trace(images: data.Split, seed: int, updates: int) -> tuple[str, list[Row]]:
    """Return the first filter whose threshold falls far below 0 at learning rate 0.1.

    Its name, and its steps around its largest gradient.
    """
    trial = Trial(images, seed, lr=TRACED)
    layers = [
        (name, layer) for name, layer in trial.model.named_modules() if hasattr(layer, "mask")
    ]
    rows: list[list[list[Row]]] = [[[] for _ in layer.weight] for _, layer in layers]
    found: tuple[int, int] | None = None
    before, counts = _now(layers)
    for update in trial.updates(updates):
        after, now = _now(layers)
        for at, (_, layer) in enumerate(layers):
            gradients = layer.mask.threshold.grad.flatten()
            cells = zip(counts[at], before[at], gradients, after[at], strict=True)
            for filter_, (kept, t, gradient, moved) in enumerate(cells):
                rows[at][filter_].append(
                    Row(update, int(kept), float(t), float(gradient), float(moved))
                )
        before, counts = after, now
        lowest = min((float(t.min()), at) for at, t in enumerate(after))
        if found is None and lowest[0] < FAR_BELOW_ZERO:
            found = lowest[1], int(after[lowest[1]].argmin())
            break
    if found is None:
        return f"no threshold fell below {FAR_BELOW_ZERO}; try another --seed", []
    at, filter_ = found
    weights = layers[at][1].weight[0].numel()
    history = rows[at][filter_]
    largest = max(range(len(history)), key=lambda update: abs(history[update].gradient))
    return f"filter {filter_} of layer {layers[at][0]}, {weights} weights", history[
        largest - 6 : largest + 8
    ]


def _now(layers: list[tuple[str, Any]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the thresholds of each layer, and how many weights of each filter are kept."""
    thresholds = [layer.mask.threshold.detach().flatten().clone() for _, layer in layers]
    return thresholds, [layer.mask.kept(layer.weight).flatten(1).sum(1) for _, layer in layers]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ.get("DSTRUN_DATA", "data"))
    splits = data.BUILDERS["cifar10"](root)
    images = splits.train.subset(torch.arange(IMAGES))
    if options.trace:
        title, found = trace(images, options.seed, options.updates)
        rows = [
            {
                "step": row.step,
                "weights kept": row.kept,
                "t": row.threshold,
                "dL/dt": row.gradient,
                "t after": row.moved_to,
            }
            for row in found
        ]
        report(f"seed {options.seed}, learning rate {TRACED}: {title}", rows, options.json)
        return
    title = f"{options.seeds} seeds, at most {options.updates} steps"
    report(title, list(compare(images, options.seeds, options.updates)), options.json)


if __name__ == "__main__":
    main()
