"""Start-up time of commands that train nothing.

    python benchmarks/startup.py [--rounds 9] [--json FILE]

Every command runs in its own process, each once per round. For comparison: an empty Python, and one
that imports torch, which help and the config do not need.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from common import report, seconds, spread

DSTRUN = [sys.executable, "-m", "dstrun"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    "dstrun --version": [*DSTRUN, "--version"],
    "dstrun --help": [*DSTRUN, "--help"],
    "dstrun --cfg job": [*DSTRUN, "--cfg", "job"],
    "dstrun eval --help": [*DSTRUN, "eval", "--help"],
    "dstrun model=vgg61 (a typo)": [*DSTRUN, "model=vgg61"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, command in COMMANDS.items():
                call = partial(subprocess.run, command, cwd=folder, capture_output=True)
                times[name].append(seconds(call))
    rows = []
    for name, values in times.items():
        median, low, high = spread(values)
        rows.append({"command": name, "seconds": median, "quartiles": f"{low:.3f} to {high:.3f}"})
    report(f"start-up: {options.rounds} rounds", rows, options.json)


if __name__ == "__main__":
    main()
