"""Real runs by `dstrun` itself, side by side, as far as time goes; needs no torch.

What time cuts off keeps its checkpoint: the same call goes on with it. Results are put together
without weights, one archive a group, from which `docs/results.py` takes them over.
"""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_collect import Results
from gpu_plan import DENSE_STEP, ROWS, STEP, TINY_ROWS, Row, seeds_at_once

SMALL = (
    "config.yaml",
    "layers.csv",
    "metrics.csv",
    "status.json",
    "summary.json",
    "train.log",
)
CIFAR10 = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch", "batches.meta"]
TO_STOP = 25.0  # seconds in which runs write their checkpoints and the sweep ends
FEWEST = 60.0  # seconds in which a run is worth starting


class Runs:
    """Rows of the table, one after the other: first one with the fewest finished seeds."""

    def __init__(self, results: Results, spec: dict[str, Any], environment: dict[str, str]) -> None:
        self._results, self._spec, self._environment = results, spec, environment
        self._work = Path(spec["work"])
        self._outputs = self._work / "outputs"
        self._data = Path(spec["data"] or os.environ.get("DSTRUN_DATA", "data"))

    def train(self, end: float) -> None:
        """Train until `end`, and stop so early that checkpoints are written by then."""
        tiny = self._spec["tiny"]
        if not tiny and not all(
            (self._data / "cifar-10-batches-py" / n).is_file() for n in CIFAR10
        ):
            why = f"not begun: CIFAR-10 is not complete below {self._data}"
            self._results.take("runs", "runs", {"state": why})
            return
        rows = list(TINY_ROWS if tiny else ROWS)
        while rows:
            row = min(rows, key=lambda row: len(self.finished(row)))  # the first of several
            if not set(self._spec["seeds"]) - self.finished(row):
                self._take(row, {"runs": dict(self._runs(row)), "state": "ok"})
                rows.remove(row)
            elif end - time.monotonic() < FEWEST and not tiny:
                self._take(row, {"state": "not begun: no time left"})
                rows.remove(row)
            elif not self._train_row(row, end):
                rows.remove(row)

    def finished(self, row: Row) -> set[int]:
        """Return the seeds of which a row's run has finished, in this call or an earlier one."""
        found = {name: figures["state"] for name, figures in self._runs(row)}
        pattern = re.compile(r"-s(\d+)-")
        return {int(pattern.findall(name)[-1]) for name in found if found[name] == "finished"}

    def _runs(self, row: Row, since: float = 0.0) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the run folders of a row that have changed since, and how far they are."""
        for folder in sorted((self._outputs / row.group).glob(f"{name_of(row)}*")):
            metrics, status = folder / "metrics.csv", folder / "status.json"
            with contextlib.suppress(OSError, ValueError):
                if metrics.stat().st_mtime >= since:
                    with metrics.open() as file:
                        rows = list(csv.DictReader(file))
                    state = json.loads(status.read_text())["state"]
                    yield folder.name, {"state": state, **how_far(rows)}

    def _take(self, row: Row, figures: dict[str, Any]) -> None:
        self._results.take(f"runs: {row.name}", "runs", figures)

    def _train_row(self, row: Row, end: float) -> bool:
        """Train some of a row's seeds at once; return whether they have finished."""
        left = end - time.monotonic() - TO_STOP
        known = measured(self._results.parts, row, self._spec["tiny"])
        to_do = [seed for seed in self._spec["seeds"] if seed not in self.finished(row)]
        count = seeds_at_once(left, known["epoch"], row.epochs, known["sharing"], len(to_do))
        seeds = to_do if self._spec["tiny"] else to_do[:count]
        words = [*row.words, *known["words"], f"device={self._spec['device']}"]
        words += [f"seed={','.join(map(str, seeds))}", f"n_jobs={len(seeds)}", f"group={row.group}"]
        words += ["wandb.mode=disabled", f"outputs={self._outputs}"]
        self._take(row, {"command": " ".join(["dstrun", "-m", *words[:-1]]), "seeds": seeds})
        code = self._command(row, ["-m", *words], end - TO_STOP)
        state = "ok" if code == 0 else "cut: its time was up" if code == -signal.SIGTERM else ""
        self._take(
            row, {"runs": dict(self._runs(row)), "state": state or f"failed: exit code {code}"}
        )
        self._pack(row.group)
        return code == 0 and set(seeds) <= self.finished(row)

    def _command(self, row: Row, words: list[str], until: float) -> int:
        """Run `dstrun` and report epochs as they end; -15 if it was stopped at its time."""
        log = self._work / f"{row.group}.log"
        self._outputs.mkdir(parents=True, exist_ok=True)
        begun = time.time()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "dstrun", *words],
                cwd=self._spec["work"],
                env=self._environment | {"DSTRUN_DATA": str(self._data.resolve())},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = 0
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            rows = dict(self._runs(row, begun))
            if (epochs := sum(figures["epochs"] for figures in rows.values())) > told:
                told = epochs
                self._take(row, {"runs": rows})
        stopped = process.poll() is None
        if stopped:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=TO_STOP - 5)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        self._results.log(f"runs: {row.name}", log.read_text(errors="replace"))
        return -signal.SIGTERM if stopped else code

    def _pack(self, group: str) -> None:
        """Write the small files of a group's runs to one archive."""
        beside = self._results.out / f"{group}.tar.gz.new"
        with tarfile.open(beside, "w:gz") as archive:
            for folder in sorted((self._outputs / group).glob("*/")):
                for name in SMALL:
                    if (folder / name).is_file():
                        archive.add(folder / name, f"{group}/{folder.name}/{name}")
        beside.replace(self._results.out / f"{group}.tar.gz")


def how_far(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return epochs, and the newest accuracy, density and seconds an epoch, from metrics.csv."""
    if not rows:
        return {"epochs": 0}
    names = ("test_accuracy", "density", "seconds")
    return {"epochs": len(rows), **{name: float(rows[-1][name]) for name in names}}


def name_of(row: Row) -> str:
    """Return what the names of a row's run folders begin with."""
    words = dict(word.split("=") for word in row.words)
    name = f"{words['model']}-{words['data']}-"
    if words.get("reg") == "dense":
        return f"{name}dense-"
    return name + ("d" if "reg.target_density" in words else "a")


def measured(parts: dict[str, Any], row: Row, tiny: bool) -> dict[str, Any]:
    """Return what the timings said: seconds an epoch, slowdown when shared, and the words for it.

    The fastest way that works is taken: compile=step, else mask, else eager.
    """
    if tiny:
        return {"epoch": row.guess, "sharing": {}, "words": []}
    figures, is_dense = parts.get(row.network, {}), "reg=dense" in row.words
    step = figures.get("step", {})
    names = [DENSE_STEP, "dense"] if is_dense else [STEP, "DST, compile=mask", "DST, eager"]
    best = next((name for name in names if name in step), names[0])
    _, _, how = best.partition("compile=")
    a_step = step.get(best, {}).get("ms")
    guess = row.guess if a_step is None else a_step / 1e3 * 782 * 1.15  # batches of 64, evaluation
    words = [f"schedule.compile={how or 'off'}", "schedule.precision=bf16"]
    return {
        "epoch": figures.get("epoch_s", {}).get(best, guess),
        "sharing": slowdowns(parts),
        "words": [*words, "schedule.channels_last=true"],
    }


def slowdowns(parts: dict[str, Any]) -> dict[int, float]:
    """Return how many times longer a step takes with n processes at once, by n."""
    times: dict[int, list[float]] = {}
    for figures in parts.values():
        if figures["kind"] == "share":
            for count, ms in figures.get("ms", {}).items():
                times.setdefault(int(count), []).append(ms)
    if 1 not in times:
        return {}
    return {count: max(values) / times[1][0] for count, values in times.items()}
