"""Peak memory of training, sparse against dense.

    python benchmarks/memory.py model=vgg16 data=cifar10 [any option of dstrun ...]
                                [--updates 4] [--json FILE]

Every variant trains in its own process, on one batch. On a CPU the figure is the largest resident
size of the process minus its size once everything was imported; on a GPU it is the largest amount
that torch had allocated.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import torch
from common import VARIANTS, base_of, report, training


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", help="options of dstrun: model=… data=… schedule.batch_size=… device=…"
    )
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="VARIANT", help="leave variants out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(peak(options.words, options.updates))
        return
    rows = []
    for name in [name for name in VARIANTS if name not in options.without]:
        words = VARIANTS[name]
        command = [
            sys.executable,
            __file__,
            "--alone",
            "--updates",
            str(options.updates),
            *options.words,
            *words,
        ]
        found = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()[-1]
        rows.append(
            {"variant": name, "peak, MiB": int(found), "ratio": 1.0, "to": base_of(name, VARIANTS)}
        )
    peaks = {row["variant"]: row["peak, MiB"] for row in rows}
    for row in rows:
        row["ratio"] = row["peak, MiB"] / peaks[row["to"]]
    report(f"{' '.join(options.words)}: {options.updates} steps", rows, options.json)


def peak(words: list[str], updates: int) -> int:
    """Return the largest resident size of this process in MiB."""
    made = training([*words, "model=lenet_300_100", "data=digits"])  # loads everything once
    made.update(1)
    before = _resident()
    made = training(words)
    made.update(updates)
    if made.images.is_cuda:
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - before


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


if __name__ == "__main__":
    main()
