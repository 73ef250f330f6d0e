"""What trackers cost a run: the same run without any and with each, one after the other.

    python benchmarks/trackers.py [--rounds 3] [--words …] [--json FILE]

Measures the training time that the run records, the time of the whole command, which begins with
imports and ends when the tracker has ended, and the processor time of the command with its
trackers. `ratio` is the median of the training times relative to that without a tracker of the same
round; the last two columns are medians of differences from it.
"""

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report, spread

from dstrun.config.options import TRACKERS
from dstrun.runs.wandb_options import is_installed

WORDS = ["schedule.epochs=50", "threads=1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", nargs="*", default=WORDS, help="overrides of the run")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = ["none", *filter(is_installed, TRACKERS)]
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            measured[name].append(measure(name, options.words))
    rows = []
    for name, rounds in measured.items():
        pairs = list(zip(rounds, measured["none"], strict=True))
        ratio, low, high = spread([own[0] / none[0] for own, none in pairs])
        rows.append(
            {
                "tracker": name,
                "training, s": statistics.median(own[0] for own in rounds),
                "ratio": ratio,
                "quartiles": f"{low:.2f} to {high:.2f}",
                "command longer by, s": statistics.median(own[1] - none[1] for own, none in pairs),
                "processor longer by, s": statistics.median(
                    own[2] - none[2] for own, none in pairs
                ),
            }
        )
    report(f"trackers: {' '.join(options.words)}", rows, options.json)


def measure(name: str, words: list[str]) -> tuple[float, float, float]:
    """Return the seconds of training, of the command and of processors, in an own folder."""
    command = [sys.executable, "-m", "dstrun", *words, f"tracker={name}", "wandb.mode=offline"]
    with tempfile.TemporaryDirectory() as folder:
        begun, used = time.perf_counter(), processor_seconds()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        whole, used = time.perf_counter() - begun, processor_seconds() - used
        (file,) = Path(folder).glob("outputs/*/*/metrics.csv")
        with file.open(newline="") as rows:
            training = sum(float(row["seconds"]) for row in csv.DictReader(rows))
    return training, whole, used


def processor_seconds() -> float:
    """Return the processor time of the commands that have ended, with their own processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
