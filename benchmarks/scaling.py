"""Time of training on N ranks, by arithmetic from what one device and one link do.

    python benchmarks/scaling.py model=resnet50 data=imagenet [any option of dstrun ...]
        --images-a-second 2500 --link 25 --decoded 250 [--images 1281167] [--ranks 1 2 4 8 16]

    step on N ranks   = batch / N / images a second + the all-reduce
    all-reduce        = 2 (N − 1) / N · bytes of gradients and batch norm's statistics / link
    cores for decoding = images a second of all ranks / images that a core decodes in a second

The all-reduce is a ring's and begins after the backward pass, as in dstrun. `--link` is in GB/s, of
the slowest link in the ring, in one direction.
"""

import argparse
from math import ceil
from pathlib import Path

import torch
from common import config_of, report, training

from dstrun.training.step import STATISTICS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="options of dstrun: model=… data=…")
    parser.add_argument("--images-a-second", type=float, required=True, help="of one device")
    parser.add_argument("--link", type=float, required=True, help="GB/s")
    parser.add_argument("--decoded", type=float, required=True, help="images a second and core")
    parser.add_argument("--images", type=int, default=1_281_167, help="of an epoch")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    schedule = config_of(options.words).schedule
    moved = bytes_of_step(options.words)
    steps = ceil(options.images / schedule.batch_size) * schedule.epochs
    rows = []
    for ranks in options.ranks:
        compute = schedule.batch_size / ranks / options.images_a_second
        reduced = 2 * (ranks - 1) / ranks * moved / (options.link * 1e9)
        speed = schedule.batch_size / (compute + reduced)
        rows.append(
            {
                "ranks": ranks,
                "images a rank": schedule.batch_size / ranks,
                "computing, ms": 1e3 * compute,
                "all-reduce, ms": 1e3 * reduced,
                "images/s": round(speed),
                "efficiency": f"{compute / (compute + reduced):.0%}",
                "cores that decode": ceil(speed / options.decoded),
                "hours": steps * (compute + reduced) / 3600,
            }
        )
    title = f"{' '.join(options.words)}: {steps:,} steps, {moved / 1e6:.1f} MB in an all-reduce"
    report(title, rows, options.json)


def bytes_of_step(words: list[str]) -> int:
    """Return the bytes that the ranks average in a step: fp32, whatever the forward pass is in."""
    model = training([*words, "schedule.batch_size=2", "device=cpu"]).model
    statistics = [b for name, b in model.named_buffers() if name.rpartition(".")[2] in STATISTICS]
    with torch.no_grad():
        return sum(4 * one.numel() for one in [*model.parameters(), *statistics])


if __name__ == "__main__":
    main()
