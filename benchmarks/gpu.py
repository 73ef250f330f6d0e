"""dstrun on a GPU: is it right, does it wait, how fast is it; and real runs in the time left.

    python benchmarks/gpu.py [--out DIR] [--parts PART …] [--budget 470] [--device cuda] [--tiny]

    facts    the card, versions, ceilings of copying and of matrix products
    checks   formulas, agreement of eager and compiled steps, waits, recompilation, resume, commands
    speed    DST / dense, TFLOP/s, kernels, epochs, memory; one network at a time, alone on the card
    share    several processes on one card
    runs     rows of table 2 by dstrun itself, which the next call goes on with

Every part is a process with a limit of its own, so that what dies or hangs costs itself only. DIR
gets results.json and results.md, whole after every figure, log.txt, and the runs without weights.
`--device cpu --tiny` tries all of it on small networks. Run folders and compiled code are in
`--work`. docs/performance.md says how to carry this to a machine without a network.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from gpu_collect import BEGUN, Process, Results
from gpu_plan import KINDS, SHARING, TINY_SHARING, Part, chosen, interleaved, until
from gpu_queue import Queue
from gpu_runs import Runs

ALONE = 40.0  # seconds at most for the timings of one network


def main() -> None:
    options = parsed()
    try:
        parts = chosen(options.parts, options.tiny)
    except ValueError as error:
        refuse("--parts", str(error))
    work = (options.work or options.out / "work").resolve()
    try:
        work.mkdir(parents=True, exist_ok=True)
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("--out", f"got {str(options.out)!r}, expected a folder: {error.strerror}")
    if reason := unusable(options.device):
        refuse("--device", f"{reason}; --device cpu --tiny is a trial without a GPU")
    spec = {name: getattr(options, name) for name in ("device", "tiny", "data", "seeds")}
    spec |= {"work": str(work)}
    about = {"device": options.device, "tiny": options.tiny, "budget": options.budget}
    bench = Bench(Results(options.out, about, work), spec, parts, options)
    bench.facts()
    bench.checks_and_speed()
    bench.share()
    bench.runs()
    print(bench.verdict)
    sys.exit(1 if bench.has_failed else 0)


def refuse(option: str, reason: str) -> NoReturn:
    """Exit for an option that cannot be used."""
    print(f"gpu.py: {option}: {reason}", file=sys.stderr)
    sys.exit(2)


def unusable(device: str) -> str:
    """Return why dstrun cannot train on a device with this Python; '' where it can."""
    script = "import sys; from dstrun.system.machine import choose_device as c; c(sys.argv[1])"
    command = [sys.executable, "-c", script, device]
    ended = subprocess.run(command, capture_output=True, text=True)
    if not ended.returncode:
        return ""
    lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
    return lines[-1].removeprefix("ValueError: ")


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/gpu-results"),
        metavar="DIR",
        help="default: build/gpu-results; parts that are not run again keep their figures",
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="default: work/ in --out")
    parser.add_argument(
        "--parts", nargs="*", default=[], metavar="PART", help=f"{', '.join(KINDS)}, or a name"
    )
    parser.add_argument("--budget", type=float, help="seconds (470; 900 with --tiny)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, …, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="small networks, first cases")
    parser.add_argument("--data", metavar="DIR", help="default: $DSTRUN_DATA")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of real runs")
    parser.add_argument("--jobs", type=int, default=0, help="processes that prepare or check")
    options = parser.parse_args()
    if options.budget is None:
        options.budget = 900.0 if options.tiny else 470.0
    if not options.budget > 0:
        refuse("--budget", f"got {options.budget:g}, expected a number of seconds > 0")
    return options


class Bench:
    """The phases, one after the other, and when each has to end."""

    def __init__(
        self, results: Results, spec: dict[str, Any], parts: list[Part], options: argparse.Namespace
    ) -> None:
        self._results, self._spec = results, spec
        self._parts = {kind: [part for part in parts if part.kind == kind] for kind in KINDS}
        self._phases = [kind for kind in KINDS if self._parts[kind]]
        if self._parts["speed"] or self._parts["share"]:
            self._phases.append("checks")  # in whose time they are compiled
        self._end = BEGUN + options.budget
        cores = len(os.sched_getaffinity(0))
        self._jobs = options.jobs or max(2, cores * 3 // 4)
        self._shared: list[Process] = []

    def _until(self, phase: str) -> float:
        return until(phase, self._phases, time.monotonic(), self._end)

    def _environment(self, part: Part | None = None) -> dict[str, str]:
        """Return a part's environment: few threads, and what is compiled kept in `--work`."""
        tiny, work = self._spec["tiny"], Path(self._spec["work"])
        own = "_second" if part and part.arguments.get("own_caches") else ""
        threads = 1 if tiny else 4 if part in self._parts["speed"][:3] else 2
        return os.environ | {
            "OMP_NUM_THREADS": "1" if tiny else "2",
            "PYTHONUNBUFFERED": "1",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "TORCHINDUCTOR_COMPILE_THREADS": str(threads),
            "TORCHINDUCTOR_CACHE_DIR": str(work / f"inductor{own}"),
            "TRITON_CACHE_DIR": str(work / f"triton{own}"),
        }

    def _start(self, part: Part) -> Process:
        return Process(part, self._results, self._spec, self._environment(part))

    @property
    def has_failed(self) -> bool:
        """Whether a part failed or found something wrong; being cut off by time is neither."""
        return any(state.startswith(("wrong", "failed")) for state in self._states)

    @property
    def _states(self) -> list[str]:
        """How each part of this call ended."""
        results = self._results
        return [str(results.parts[name].get("state", "")) for name in results.taken]

    @property
    def verdict(self) -> str:
        """Return in a line how many parts ended in which way, and where the tables are."""
        ends = Counter(state.partition(":")[0] for state in self._states)
        counts = ", ".join(f"{count} {state}" for state, count in ends.most_common())
        return f"{len(self._states)} parts: {counts}; {self._results.out / 'results.md'}"

    def facts(self) -> None:
        for part in self._parts["facts"]:
            process = self._start(part)
            process.wait(max(self._until("facts"), time.monotonic() + 20))
            process.end()

    def checks_and_speed(self) -> None:
        """Run checks while timings are compiled, then time one network after the other."""
        if not any(self._parts[kind] for kind in ("checks", "speed", "share")):
            return
        preparing = self._until("checks")
        waiting = interleaved(self._parts["speed"], self._parts["checks"]) + self._parts["share"]
        queue = Queue(self._start, waiting, self._jobs)
        while time.monotonic() < preparing and not queue.is_prepared:
            queue.move_on()
            time.sleep(0.1)
        queue.end_checks(self._results)
        self._compare_repeats()
        timed_until = self._until("speed") if self._parts["speed"] else time.monotonic()
        while queue.has("speed") and time.monotonic() < timed_until:
            queue.move_on()
            if process := queue.next_ready():
                name, kind = process.part.name, process.part.kind
                self._results.take(name, kind, {"compiling_beside": queue.compiling})
                process.tell("time")
                process.wait(min(timed_until, time.monotonic() + ALONE))
                process.end()
            time.sleep(0.05)
        queue.end("speed", self._results)
        if self._parts["share"]:
            self._shared = queue.take("share", self._results, self._until("share"))

    def _compare_repeats(self) -> None:
        """Compare the digests that two processes have said."""
        name = "two processes, second"
        first, second = (
            self._results.parts.get(one, {}).get("digests", {})
            for one in ("two processes, first", name)
        )
        if first and second and name in self._results.taken:
            same = {f"{way}, same bits": second.get(way) == first[way] for way in first}
            state = {} if all(same.values()) else {"state": "wrong"}
            self._results.take(name, "checks", {"ok": same, **state})

    def share(self) -> None:
        """Let one process train, then two, then four at once."""
        ready = [process for process in self._shared if process.alive]
        limit = self._until("share") if ready else 0.0
        for count in TINY_SHARING if self._spec["tiny"] else SHARING:
            if count <= len(ready):
                for process in ready[:count]:
                    process.tell(str(count))
                for process in ready[:count]:
                    process.hears(f"did {count}", limit)
        for process in ready:
            process.tell("end")
        for process in ready:
            process.wait(max(limit, time.monotonic() + 2))
            process.end()

    def runs(self) -> None:
        if self._parts["runs"]:
            Runs(self._results, self._spec, self._environment()).train(self._end)


if __name__ == "__main__":
    main()
