"""What trackers cost a run: the same run without any and with each, one after the other.

    python benchmarks/trackers.py [--rounds 3] [--words …] [--json FILE]

Measures the training time that the run records, from the first step to the last evaluation, and
the time of the whole command, which begins with imports and ends when the tracker has ended.
`ratio` is the median of the training times relative to that without a tracker of the same round.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import report, seconds, spread

from dstrun.config.options import TRACKERS
from dstrun.runs.wandb_options import is_installed

WORDS = ["schedule.epochs=100", "threads=1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", nargs="*", default=WORDS, help="overrides of the run")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = ["none", *filter(is_installed, TRACKERS)]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            times[name].append(measure(name, options.words))
    rows = []
    for name, measured in times.items():
        ratios = [own[0] / none[0] for own, none in zip(measured, times["none"], strict=True)]
        more = [own[1] - none[1] for own, none in zip(measured, times["none"], strict=True)]
        ratio, low, high = spread(ratios)
        training, whole = (statistics.median(column) for column in zip(*measured, strict=True))
        rows.append(
            {
                "tracker": name,
                "training, s": training,
                "ratio": ratio,
                "quartiles": f"{low:.2f} to {high:.2f}",
                "command, s": whole,
                "longer by, s": statistics.median(more),
            }
        )
    report(f"trackers: {' '.join(options.words)}", rows, options.json)


def measure(name: str, words: list[str]) -> tuple[float, float]:
    """Return the seconds of training and of the whole command, in a folder of its own."""
    command = [sys.executable, "-m", "dstrun", *words, f"tracker={name}", "wandb.mode=offline"]
    with tempfile.TemporaryDirectory() as folder:
        whole = seconds(
            lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True)
        )
        (file,) = Path(folder).glob("outputs/*/*/metrics.csv")
        with file.open(newline="") as rows:
            training = sum(float(row["seconds"]) for row in csv.DictReader(rows))
    return training, whole


if __name__ == "__main__":
    main()
