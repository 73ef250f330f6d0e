"""Overhead of a sweep beside its runs, and the gain from running several at a time.

    python benchmarks/sweep.py [--jobs 2] [--finished 1000] [--words …] [--json FILE]

Measures `sweep=quick` one run at a time with one thread, then several at a time; the time between
the last file of a run and the first file of the next, which is the sweep's own, including the
loading of data; and a grid of finished runs, copies of one, that is recognised as finished.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from common import report, seconds

from dstrun.runs.folder import RunFolder, read_config
from dstrun.system.files import read_json

DSTRUN = [sys.executable, "-m", "dstrun", "wandb.mode=disabled"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--finished", type=int, default=1000)
    parser.add_argument("--words", nargs="*", default=[], help="more overrides of the sweep")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        quick = [*DSTRUN, "sweep=quick", *options.words]
        serial = run([*quick, "n_jobs=1", "threads=1", "group=serial"], folder)
        parallel = run([*quick, f"n_jobs={options.jobs}", "group=parallel"], folder)
        runs = list(Path(folder, "outputs", "serial").glob("*/summary.json"))
        training = sum(read_json(run)["total_seconds"] for run in runs)
        rows += [
            {"what": "one run at a time, one thread", "seconds": serial},
            {"what": f"{options.jobs} at a time", "seconds": parallel, "ratio": parallel / serial},
            {"what": "training in it, one at a time", "seconds": training},
            {"what": "between two runs", "seconds": between([file.parent for file in runs])},
        ]
        grid = made_up_grid(runs[0].parent, options.finished)
        rows.append(
            {
                "what": f"{options.finished} finished runs recognised",
                "seconds": run([*DSTRUN, *grid], folder),
            }
        )
    report(f"sweep: {len(runs)} runs", rows, options.json)


def run(command: list[str], folder: str) -> float:
    return seconds(lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True))


def between(runs: list[Path]) -> float:
    """Return the mean time from the last file of a run to the first of the next, in seconds."""
    spans = sorted(
        ((run / "config.yaml").stat().st_mtime, max(file.stat().st_mtime for file in run.iterdir()))
        for run in runs
    )
    gaps = [begin - end for (_, end), (begin, _) in pairwise(spans)]
    return sum(gaps) / max(len(gaps), 1)


def made_up_grid(run: Path, count: int) -> list[str]:
    """Copy a finished run under `count` seeds, and return the words of that grid."""
    config = read_config(run)
    assert config is not None
    for seed in range(count):
        other = replace(config, seed=seed, group="finished", outputs=str(run.parents[1]))
        folder = RunFolder.of(other, "").path
        folder.mkdir(parents=True)
        for file in ("status.json", "summary.json", "metrics.csv", "layers.csv"):
            shutil.copy(run / file, folder / file)
        RunFolder(folder, other).write_config()
    different = [f"reg.alpha={config.reg.alpha}", f"schedule.epochs={config.schedule.epochs}"]
    limits = [
        f"data.{name}_limit={getattr(config.data, f'{name}_limit')}" for name in ("train", "test")
    ]
    return ["-m", f"seed=range({count})", "group=finished", *different, *limits]


if __name__ == "__main__":
    main()
