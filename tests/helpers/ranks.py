"""Processes that train together on this machine, for tests."""

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from dstrun.data.batches import Batches
from dstrun.training import trainer
from dstrun.training.ranks import Ranks


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what `work(ranks, *arguments)`, of a module, returns in each of `count` processes."""
    here = Path.cwd()
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


def compute_in_fp64() -> Callable[[], None]:
    """Make trainers compute in fp64 from here on; return what undoes it."""
    objects, floats = trainer.training_objects, Batches._floats

    def training_objects(*arguments: Any) -> tuple[nn.Module, Any]:
        model, method = objects(*arguments)
        return model.double(), method

    trainer.training_objects = training_objects
    Batches._floats = lambda self, pixels: floats(self, pixels).double()  # type: ignore

    def undo() -> None:
        trainer.training_objects, Batches._floats = objects, floats

    return undo
