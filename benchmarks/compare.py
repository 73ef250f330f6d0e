"""Time for reading and showing many runs.

    python benchmarks/compare.py [--runs 200 --epochs 160 --layers 16]

Writes that many made-up finished runs to a temporary folder, then measures in one process after the
other:

    the store   read all tables; read again with nothing new, and after one run has grown
    the report  `dstrun report`, also with --html; the size of the page
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dstrun.config.check import check
from dstrun.runs.folder import RunFolder
from dstrun.runs.identity import run_name
from dstrun.runs.metrics import LAYERS, METRICS, Rows
from dstrun.system.files import write_json


def make(folder: Path, runs: int, epochs: int, layers: int) -> None:
    """Write finished runs over several α and four seeds, with smooth curves and some noise."""
    noise = np.random.default_rng(0)
    course = np.exp(-np.arange(1, epochs + 1) / epochs * 3)
    for number in range(runs):
        alpha, seed = float(f"{1.3 ** (number // 4) * 1e-7:.3g}"), number % 4
        config = check(
            {
                "model.name": "vgg16",
                "model.builder": "vgg",
                "data.name": "cifar10",
                "data.builder": "cifar10",
                "reg.alpha": alpha,
                "seed": seed,
                "schedule.epochs": epochs,
            }
        )
        run = folder / run_name(config)
        run.mkdir(parents=True)
        RunFolder(run, config).write_config()
        density = np.clip(
            course * (1 - number / runs) + noise.uniform(0, 0.02, (layers, epochs)), 0, 1
        )
        rows = [
            {
                "epoch": epoch + 1,
                "step": (epoch + 1) * 782,
                "layer": f"features.{layer}",
                "kept": int(d * 2359296),
                "total": 2359296,
                "density": d,
                "threshold_mean": d / 3,
                "threshold_min": -d,
                "threshold_max": d,
                "churn": d / 10,
                "dead_rows": layer,
            }
            for epoch in range(epochs)
            for layer, d in enumerate(density[:, epoch].tolist())
        ]
        figures = [
            dict.fromkeys(METRICS, 0.1234567890123456)
            | {
                "epoch": e + 1,
                "step": (e + 1) * 782,
                "density": float(density[:, e].mean()),
                "seconds": 9.5,
            }
            | {
                "test_accuracy": float(
                    0.94 - course[e] / 3 - number / runs / 50 + noise.uniform(0, 0.004)
                )
            }
            for e in range(epochs)
        ]
        for name, columns, content in (
            ("metrics.csv", METRICS, figures),
            ("layers.csv", LAYERS, rows),
        ):
            file = Rows(run / name, columns)
            file.append(content)
            file.close()
        created = f"2026-01-01T{number // 60 % 24:02}:{number % 60:02}:00+00:00"
        write_json(
            run / "status.json", {"state": "finished", "created": created, "device_name": "made up"}
        )
        write_json(
            run / "summary.json",
            figures[-1] | {"parameters": 14_700_000, "parameters_kept": 14e6 / (1 + number)},
        )
        (run / "train.log").touch()


def read(folder: str) -> dict[str, float]:
    """Return the time of each way of reading in seconds, and the memory in GB."""
    from dstrun.compare.run_tables import Store

    def timed(name: str, call) -> None:  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        call()
        took[name] = time.perf_counter() - start

    took: dict[str, float] = {}
    start = time.perf_counter()
    store = Store([Path(folder)])
    took["runs"] = time.perf_counter() - start
    timed("epochs", store.epochs)
    timed("layers", store.layers)
    timed("nothing new", store.refresh)
    log = next(Path(folder).glob("*/metrics.csv"))
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    timed("one run new", store.refresh)
    return took | {"GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--runs", type=int, default=200)
    words.add_argument("--epochs", type=int, default=160)
    words.add_argument("--layers", type=int, default=16)
    words.add_argument("--read", help=argparse.SUPPRESS)
    words.add_argument("--keep", type=Path, help="make the runs here and leave them")
    given = words.parse_args()
    if given.read:
        print(json.dumps(read(given.read)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = given.keep or Path(place) / "runs"
        make(folder, given.runs, given.epochs, given.layers)
        rows = given.runs * given.epochs * given.layers
        size = f"{given.runs} runs × {given.epochs} epochs × {given.layers} layers"
        print(f"{size}: {rows:,} rows of layers.csv")
        answer = subprocess.run(
            [sys.executable, __file__, "--read", folder], capture_output=True, text=True, check=True
        ).stdout
        took = json.loads(answer)
        memory = took.pop("GB")
        print(
            "store:  "
            + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items())
            + f"; {memory:.2f} GB"
        )
        page = Path(place) / "report.html"
        for more in ([], ["--html", str(page)]):
            start = time.perf_counter()
            command = [sys.executable, "-m", "dstrun", "report", str(folder), *more]
            subprocess.run(command, capture_output=True, check=True)
            print(f"report {' '.join(more[:1])}: {time.perf_counter() - start:.1f} s")
        print(f"page: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
