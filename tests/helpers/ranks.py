"""Processes that train together on this machine, for tests."""

import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from dstrun.config.options import Config
from dstrun.methods.base import Method
from dstrun.training import trainer
from dstrun.training.build import make_batches
from dstrun.training.prepare import Prepared, prepare
from dstrun.training.ranks import Ranks
from dstrun.training.trainer import Trainer


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what `work(ranks, *arguments)`, of a module, returns in each of `count` processes."""
    here = Path(mkdtemp(dir=Path.cwd()))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run, args=(rank, count, here, work, arguments))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [pickle.loads((here / f"rank{rank}.pkl").read_bytes()) for rank in range(count)]
    for result in found:
        assert not isinstance(result, str), result
    return found


def _run(rank: int, count: int, here: Path, work: Callable[..., Any], arguments: Any) -> None:
    os.chdir(here)
    torch.set_num_threads(1)
    store = dist.FileStore(str(here / "store"), count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
    try:
        result = work(Ranks(rank, count), *arguments)
    except Exception:
        result = traceback.format_exc()
    (here / f"rank{rank}.pkl").write_bytes(pickle.dumps(result))
    dist.destroy_process_group()


def fp64_trainer(config: Config, ranks: Ranks) -> Trainer:
    """Return the objects of a run that computes in fp64."""
    prepared = prepare(config)
    batches, splits = make_batches(config, prepared, ranks)
    held_out = {name: partial(_in_fp64, split) for name, split in splits.items()}
    original = trainer.training_objects

    def training_objects(config: Config, prepared: Prepared) -> tuple[nn.Module, Method]:
        model, method = original(config, prepared)
        return model.double(), method

    trainer.training_objects = training_objects
    try:
        return Trainer(config, prepared, data=(Fp64Batches(batches), held_out), ranks=ranks)
    finally:
        trainer.training_objects = original


class Fp64Batches:
    """Training batches whose images are in fp64."""

    def __init__(self, batches: Any) -> None:
        self._batches, self.size = batches, batches.size

    def __len__(self) -> int:
        return len(self._batches)

    def shuffled(self, *epoch: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        return _in_fp64(partial(self._batches.shuffled, *epoch, **options))


def _in_fp64(batches: Callable[[], Iterator[Any]]) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in batches():
        yield images.double(), labels


def ranks_of(launcher: int) -> dict[int, int]:
    """Return the processes that a launcher, dstrun's or torchrun's, has started, by rank."""
    found = {}
    with suppress(OSError):  # one has just ended
        for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
            variables = Path(f"/proc/{child}/environ").read_text(errors="replace").split("\0")
            for variable in variables:
                if variable.startswith("RANK="):
                    found[int(variable.removeprefix("RANK="))] = int(child)
    return found
