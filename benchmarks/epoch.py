"""Time of an epoch on MNIST, dstrun against the authors' training script, with evaluation.

    python benchmarks/epoch.py --authors PATH [--model lenet_300_100|lenet5|lstm_a|lstm_b]
                               [--rounds 3] [--json FILE]

PATH is a checkout of github.com/junjieliu2910/DynamicSparseTraining. Both train on the files below
$DSTRUN_DATA (MNIST/raw), each in its own process and with its own settings, one after the other. An
epoch is the time between the same line of output in two successive epochs, so that imports and
reading the data do not count. The authors' LSTM script tests only once, at its end: its epochs are
without evaluation, dstrun's with.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import report, spread

LENETS, LSTMS = ("mnist", "Epoch start"), ("mnist_lstm", r"Step \[100/")
THEIRS = {
    "lenet_300_100": (*LENETS, ["--model", "Lenet300_100"]),
    "lenet5": (*LENETS, ["--model", "Lenet5"]),
    "lstm_a": (*LSTMS, ["--hidden_size", "128"]),
    "lstm_b": (*LSTMS, ["--hidden_size", "256"]),
}
OURS = {
    "dstrun": [],
    "dstrun, compile=mask": ["schedule.compile=mask"],
    "dstrun, compile=step": ["schedule.compile=step"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--authors", type=Path, required=True, metavar="PATH")
    parser.add_argument("--model", choices=list(THEIRS), default="lenet_300_100")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="VARIANT", help="leave variants out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    data = Path(os.environ.get("DSTRUN_DATA", "data")).resolve()
    if not (data / "MNIST" / "raw").is_dir():
        parser.error(f"there is no MNIST/raw below {data}; set DSTRUN_DATA")
    folder, line, words = THEIRS[options.model]
    script = options.authors.resolve() / folder / "train.py"
    if not script.is_file():
        parser.error(f"--authors: there is no {script}")
    theirs = [
        sys.executable,
        str(script),
        *words,
        "--mask",
        "--max_epoch",
        "2",
        "--data_root",
        str(data),
    ]
    ours = {name: words for name, words in OURS.items() if name not in options.without}
    times: dict[str, list[float]] = {"authors' script": [], **{name: [] for name in ours}}
    for _ in range(options.rounds):
        times["authors' script"].append(epoch(theirs, line))
        for name, more in ours.items():
            words = [f"model={options.model}", "data=mnist", f"data.root={data}", *more]
            command = [
                sys.executable,
                "-m",
                "dstrun",
                *words,
                "schedule.epochs=3",
                "wandb.mode=disabled",
            ]
            times[name].append(epoch(command, r"^epoch "))
    base = times["authors' script"]
    rows = []
    for name, values in times.items():
        ratio, low, high = spread(
            [theirs / mine for mine, theirs in zip(values, base, strict=True)]
        )
        rows.append(
            {
                "epoch of": name,
                "seconds": spread(values)[0],
                "times faster": ratio,
                "quartiles": f"{low:.2f} to {high:.2f}",
            }
        )
    report(f"{options.model} on MNIST: {options.rounds} rounds", rows, options.json)


def epoch(command: Sequence[str], line: str) -> float:
    """Return the seconds between the first two lines of output that match."""
    seen: list[float] = []
    said: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        for said_line in process.stdout or ():
            said.append(said_line)
            if re.search(line, said_line):
                seen.append(time.perf_counter())
            if len(seen) == 2:
                process.kill()
                return seen[1] - seen[0]
    raise SystemExit(
        f"{' '.join(command)} ended without a second line like {line!r}:\n{''.join(said[-20:])}"
    )


if __name__ == "__main__":
    main()
