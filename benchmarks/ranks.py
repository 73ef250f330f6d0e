"""What training on several ranks adds to a step: the same step with and without its all-reduce.

    python benchmarks/ranks.py model=lenet5 data=mnist [any option of dstrun ...]
                               [--ranks 2] [--rounds 5] [--json FILE]

Every rank computes `schedule.batch_size` images, on the CPU with one thread unless `threads` says
otherwise, or on a GPU of its own with device=cuda. Rounds with and without the all-reduce
alternate; in both all ranks compute at once. The times are those of the first rank.
"""

import argparse
import os
import socket
import statistics
from pathlib import Path
from typing import Any

import torch
from common import Training, report, seconds, training
from torch import distributed as dist
from torch import multiprocessing

from dstrun.training.ranks import ALONE, Ranks, joined

ROUND = 0.5  # seconds
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="options of dstrun: model=… data=… device=…")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
    multiprocessing.spawn(measure, (options,), nprocs=options.ranks)


def measure(rank: int, options: argparse.Namespace) -> None:
    """Time steps as one rank; the first reports."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(options.ranks)}
    is_cuda = any(word.startswith("device=cuda") for word in options.words)
    device = f"cuda:{rank}" if is_cuda else "cpu"
    words = [word for word in options.words if not word.startswith("device=")]
    one = training(["threads=1", *words, f"device={device}"])
    with joined(device) as ranks:
        row = row_of(one, ranks, options.rounds)
    if ranks.is_first:
        report(f"{' '.join(options.words)}: {ranks.size} ranks", [row], options.json, device=device)


def row_of(one: Training, ranks: Ranks, rounds: int) -> dict[str, Any]:
    """Return the median times of a step with and without the all-reduce, and of that alone."""
    one.update(3)
    steps = torch.tensor([max(1, round(ROUND / seconds(lambda: one.update(1))))])
    dist.broadcast(steps, src=0)
    count = int(steps)
    without, together = [], []
    for _ in range(rounds):
        for times, those in ((without, ALONE), (together, ranks)):
            one.one_update.ranks = those
            dist.barrier()
            times.append(seconds(lambda: one.update(count)) / count)
    gradients = [p.grad for p in one.model.parameters() if p.grad is not None]
    size = sum(gradient.nbytes for gradient in gradients)
    reduced = [seconds(lambda: _reduce(ranks, gradients)) for _ in range(2 * rounds)]
    ratios = [two / alone for two, alone in zip(together, without, strict=True)]
    return {
        "gradients, MiB": size / MIB,
        "step alone, ms": 1e3 * statistics.median(without),
        "step on ranks, ms": 1e3 * statistics.median(together),
        "ratio": statistics.median(ratios),
        "all-reduce, ms": 1e3 * statistics.median(reduced),
        "MiB/s": size / MIB / statistics.median(reduced),
    }


def _reduce(ranks: Ranks, tensors: list[torch.Tensor]) -> None:
    ranks.average_(tensors)
    if tensors[0].is_cuda:
        torch.cuda.synchronize()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    main()
