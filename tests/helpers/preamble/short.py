"""Replacements that make a document's commands small: one epoch, few images, few runs, no W&B.

Uses the real images if $DSTRUN_DATA has them, else made-up ones of the same shape, so that nothing
is downloaded.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LARGE = ("vgg", "wide_resnet", "resnet50")
FILES = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte",
    "cifar10": "cifar-10-batches-py/data_batch_1",
    "cifar100": "cifar-100-python/train",
}
TRIALS = 3  # of a search
IMAGES = 1000  # made up, in each split
MOST = {
    "rounds": 1,
    "seconds": 0.01,
    "seeds": 1,
    "updates": 4,
    "runs": 4,
    "epochs": 3,
    "layers": 3,
    "finished": 3,
}


def smaller(config: Any) -> Any:
    """Return the checked config of a run with one epoch on few images."""
    data, schedule = config.data, config.schedule
    large = config.model.builder in LARGE
    images = 8 if large else 64
    schedule.epochs = min(schedule.epochs, 1)
    schedule.batch_size = min(schedule.batch_size, images // 2)
    schedule.compile = "off" if large else schedule.compile
    data.train_limit = min(data.train_limit or images, images)
    data.test_limit = min(data.test_limit or images, images)
    config.wandb.mode = "disabled"
    return config


def shorten_config(module: ModuleType) -> None:
    whole = module.check
    module.check = lambda config: smaller(whole(config))  # type: ignore[attr-defined]


def shorten_plan(module: ModuleType) -> None:
    whole = module.combinations

    def first_and_last(*words: Any) -> list[tuple]:
        found = whole(*words)
        return found[:1] + found[1:][-1:]

    module.combinations = first_and_last  # type: ignore[attr-defined]


def shorten_search(module: ModuleType) -> None:
    whole = module.search
    module.search = lambda *words, trials, **options: whole(
        *words, trials=min(trials, TRIALS), **options
    )  # type: ignore[attr-defined]


def shorten_data(module: ModuleType) -> None:
    root = Path(os.environ.get("DSTRUN_DATA", ""))
    for name, file in FILES.items():
        if not (root.is_absolute() and (root / file).is_file()):
            module.BUILDERS[name] = made_up(name)


def shorten_bench(module: ModuleType) -> None:
    module.ROUNDS, module.SECONDS = 2, 0.001  # type: ignore[attr-defined]


def made_up(name: str) -> Callable[..., Any]:
    """Return a loader of random images of the shape of that data set."""

    def load(root: Path, **_: Any) -> Any:
        import torch

        from dstrun import Split, Splits

        classes, shape = (
            100 if name == "cifar100" else 10,
            (1, 28, 28) if "mnist" in name else (3, 32, 32),
        )
        images = torch.randint(0, 256, (IMAGES, *shape)).to(torch.uint8)
        split = Split(images, torch.arange(IMAGES) % classes)
        return Splits(split, split, classes)

    return load


def shorten_benchmarks(module: ModuleType) -> None:
    """Bound the numbers on the command line of a benchmark by MOST."""
    whole = argparse.ArgumentParser.parse_args

    def bounded(*words: Any) -> Any:
        given = whole(*words)
        vars(given).update(
            {
                name: min(vars(given)[name], most)
                for name, most in MOST.items()
                if name in vars(given)
            }
        )
        return given

    argparse.ArgumentParser.parse_args = bounded  # type: ignore[method-assign, assignment]


SHORTENED = {
    "dstrun.config.check": shorten_config,
    "dstrun.sweep.plan": shorten_plan,
    "dstrun.sweep.search": shorten_search,
    "dstrun.data": shorten_data,
    "dstrun.export.benchmark": shorten_bench,
    "common": shorten_benchmarks,
}
