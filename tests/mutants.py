"""Mutation tests: change single lines of modules with figures and see whether a test fails.

    python tests/mutants.py [--number 200] [--seed 0] [--module data/splits …] [--only ID …]
                            [--survivors]

`make mutants` draws a sample of the changes of `mutations`, by --seed; a module's share grows with
the square root of its size. Each change is made in a copy of this checkout. A process that has
imported torch, NumPy, pandas and Hydra, and nothing of dstrun, is forked; the child imports the
copy and runs the tests that run the changed lines, until one fails. `make coverage` tells which
those are and how long they take. A mutant counts as killed if the test that fails with it passes
without it, run in the same way; a test that does not is reported and left out of the next try.

Results are stored in build/mutants, one line of JSON per mutant. A second start reuses those for
the same source and tests; with --survivors it reuses all that were killed, to try the survivors
with new tests.
"""

import argparse
import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not tests/: tests import its modules by longer names

from tests.covered import SOURCE, figure_modules  # noqa: E402
from tests.mutations import Change, changes  # noqa: E402

# Seconds of tests for one mutant, by their time without it; further tests count as not run.
LIMIT = 30.0
IMPORTED = (
    "torch",
    "torch._dynamo",
    "torch._inductor.compile_fx",
    "torch.onnx",
    "torchvision",
    "numpy",
    "pandas",
    "hydra",
    "omegaconf",
    "wandb",
    "rich.console",
    "plotly.graph_objects",
    "dash",
    "safetensors.torch",
    "onnxscript",
    "onnxruntime",
    "optuna",
    "sklearn.utils",
    "hypothesis",
    "_pytest.assertion.rewrite",
    "PIL.Image",
)
UNUSABLE = 99  # exit code of a child that could not run the tests of the copy
# Without faulthandler: its timer in a parent that is pytest itself would block a forked child.
OPTIONS = [
    *(f"-pno:{name}" for name in ("cacheprovider", "dash", "xdist", "cov", "faulthandler")),
    "-q",
    "--tb=no",
    "-o",
    "addopts=",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # about plugins that the parent has imported
]


@dataclass(frozen=True)
class Mutant:
    """One change of one module, and the tests that are to detect it, in the order of running."""

    id: str
    file: Path
    change: Change
    tests: Sequence[str] = ()
    seconds: float = 0.0
    left_out: int = 0

    @property
    def module(self) -> str:
        return str(self.file.relative_to(SOURCE).with_suffix(""))

    def difference(self, root: Path = ROOT) -> str:
        before = self.file.read_text()
        after = self.change.applied(before)
        name = str(self.file.relative_to(root))
        lines = difflib.unified_diff(
            before.splitlines(), after.splitlines(), name, self.change.where, "", self.id, 1, ""
        )
        return "\n".join(lines)


@dataclass
class CoverageMap:
    """The tests that run each line, and their times, as the last `make coverage` measured them."""

    seconds: dict[str, float] = field(default_factory=dict)
    by_line: dict[Path, dict[int, set[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[Path]) -> "CoverageMap":
        from coverage import CoverageData

        found = cls()
        for case in ElementTree.parse(ROOT / "build/coverage/tests.xml").iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            found.seconds[name] = float(case.get("time", 0))
        data = CoverageData(str(ROOT / "build/coverage/data"))
        data.read()
        measured = {
            name: name[name.rfind("/src/") :] for name in data.measured_files()
        }  # of this checkout or another
        for file in files:
            seen = [name for name, tail in measured.items() if tail == f"/{file.relative_to(ROOT)}"]
            lines = data.contexts_by_lineno(seen[0]) if seen else {}
            found.by_line[file] = {
                at: {
                    name.rpartition("|")[0]
                    for name in names
                    if (ROOT / name.split("::")[0]).exists()
                }
                for at, names in lines.items()
            }
        return found

    def tests(self, file: Path, change: Change) -> set[str]:
        """Return the tests that run the changed lines.

        For lines that run only at import: those that run any line of the module, and the module's
        own tests, some of which only look at constants. For a module that runs only at import, such
        as a package's `__init__`: those that run any line in its folder.
        """
        lines = self.by_line[file]
        chosen = set().union(*(lines.get(at, set()) for at in range(change.first, change.last + 1)))
        if chosen <= {""}:
            chosen = set().union(*lines.values())
            chosen |= {test for test in self.seconds if test.split("::")[0] in _own(file)}
        if chosen <= {""}:
            siblings = [
                lines for other, lines in self.by_line.items() if other.parent == file.parent
            ]
            chosen = set().union(*(some for lines in siblings for some in lines.values()))
        return chosen - {""}

    def mutant(self, name: str, file: Path, change: Change, limit: float) -> Mutant:
        """Return a mutant with its tests, as many as take `limit` seconds, but at least one."""
        chosen: list[str] = []
        spent = 0.0
        ordered = self.ordered(file, self.tests(file, change))
        for test in ordered:
            spent += self.seconds.get(test, 0.1)
            if spent <= limit or not chosen:
                chosen.append(test)
        left_out = len(ordered) - len(chosen)
        return Mutant(name, file, change, chosen, min(spent, limit), left_out)

    def ordered(self, file: Path, tests: set[str]) -> list[str]:
        """Return the module's own tests first, then file by file, files with short tests first."""
        files = defaultdict(list)
        for test in tests:
            files[test.split("::")[0]].append(self.seconds.get(test, 0.1))
        own = _own(file)

        def key(test: str) -> tuple[bool, float, str, float]:
            place = test.split("::")[0]
            return (
                place not in own,
                sum(files[place]) / len(files[place]),
                place,
                self.seconds.get(test, 0.1),
            )

        return sorted(tests, key=key)


def _own(file: Path) -> list[str]:
    """Return the files of a module's own tests, whether they exist or not."""
    package = file.relative_to(SOURCE).parts[0]
    return [f"tests/{package}/test_{name}.py" for name in (file.stem, file.parent.name)]


def draw(
    files: Sequence[Path], number: int, seed: str, only: Sequence[str], limit: float
) -> list[Mutant]:
    """Return the sample: of each module its first changes by a hash of seed and name.

    No two are on one line. The hash keeps the sample stable when other lines change.
    """
    coverage = CoverageMap.read(figure_modules())
    found = {file: changes(file.read_text()) for file in figure_modules()}
    shares = {file: len(some) ** 0.5 for file, some in found.items()}
    mutants = []
    for file in [file for file in found if file in files]:
        wanted = max(2, round(number * shares[file] / sum(shares.values())))
        lines: set[int] = set()
        for name in sorted(found[file], key=lambda name: _digest(f"{seed} {name}")):
            change = found[file][name]
            is_left_out = len(lines) == wanted or change.first in lines
            if only:
                is_left_out = name not in only
            if not is_left_out and change.differs(file.read_text()):
                lines.add(change.first)
                mutants.append(coverage.mutant(name, file, change, limit))
    return mutants


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class Copy:
    """A copy of the checkout, in which one file at a time is changed and tests run in a child."""

    def __init__(self, place: Path, root: Path = ROOT) -> None:
        self.place, self._root = place, root
        shutil.rmtree(place, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (root / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, place / name)
        subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """Make a change for the length of the block.

        The file's bytecode is removed, because Python checks it by second and size only.
        """
        file = self.place / mutant.file.relative_to(self._root)
        before = file.read_text()
        try:
            self._write(file, mutant.change.applied(before))
            yield
        finally:
            self._write(file, before)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text)
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)

    def run(self, tests: Sequence[str], cpu: float, stop: bool = True) -> dict[str, Any]:
        """Return {'outcome', 'failed', 'cpu'} of the tests.

        The outcome is passed, failed, 'time limit', 'crash', or error if no test ran.
        """
        answer = self.place / "answer.json"
        answer.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            self._child(tests, cpu, stop, answer)
        until = (
            time.monotonic() + 10 * cpu + 120
        )  # tests may wait, and other processes use the cores
        while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # processes that it has left running
        _, status, used = ended
        found = json.loads(answer.read_text()) if answer.exists() else {"failed": []}
        return found | {"outcome": _outcome(status), "cpu": round(used.ru_utime + used.ru_stime, 1)}

    def _child(self, tests: Sequence[str], cpu: float, stop: bool, answer: Path) -> None:
        """Run the tests in this process, and end it."""
        code = UNUSABLE
        try:
            os.setsid()
            os.chdir(self.place)
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 6))
            for stream, name in ((1, "out.txt"), (2, "out.txt"), (0, os.devnull)):
                os.dup2(
                    os.open(name, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if stream == 1 else 0)),
                    stream,
                )
            os.environ["PYTHONPATH"] = str(self.place / "src")
            sys.path[:0] = [str(self.place / "src"), str(self.place)]
            for name in [
                name
                for name in sys.modules
                if name.split(".")[0] in ("tests", "dstrun", "hydra_plugins")
            ]:
                del sys.modules[name]
            plugin = _Chosen(tests)
            files = dict.fromkeys(test.split("::")[0] for test in tests)
            # Else pytest runs beside this one would remove its folders.
            apart = f"--basetemp={self.place / 'tmp'}"
            ended = int(pytest.main([*files, *OPTIONS, apart, *(["-x"] if stop else [])], [plugin]))
            answer.write_text(json.dumps({"failed": plugin.failed, "passed": plugin.passed}))
            ours = (
                Path(str(sys.modules["dstrun"].__file__)) if "dstrun" in sys.modules else self.place
            )
            code = ended if ours.is_relative_to(self.place) else UNUSABLE
        except BaseException as error:  # the child must never continue as the parent
            print(repr(error), flush=True)
        finally:
            os._exit(code)


class _Chosen:
    """A pytest plugin that keeps the named tests, in their order, and records the results."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}
        self.failed: list[str] = []
        self.passed = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (i for i in items if i.nodeid in self._places),
            key=lambda item: self._places[item.nodeid],
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        self.passed += report.when == "call" and report.passed


def _outcome(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "time limit"
    # With 2 to 4 pytest could not import the tests, because of the change.
    named = {0: "passed", 1: "failed", 2: "import", 3: "import", 4: "import"}
    return "crash" if code < 0 else named.get(code, "error")


def run_tests(copy: Copy, tests: Sequence[str], cpu: float) -> dict[str, Any]:
    """Return the result of the tests, those of the first file alone at first.

    To collect all of them takes longer than to run that file.
    """
    first = [test for test in tests if test.split("::")[0] == tests[0].split("::")[0]]
    result = copy.run(first, cpu)
    if result["outcome"] != "passed" or len(first) == len(tests):
        return result
    others = copy.run(tests[len(first) :], cpu)
    return others | {"cpu": round(result["cpu"] + others["cpu"], 1)}


def try_mutant(copy: Copy, mutant: Mutant, red: Container[str]) -> dict[str, Any]:
    """Return the result for a mutant; one that no test runs survives."""
    result: dict[str, Any] = {"outcome": "passed", "failed": [], "cpu": 0.0}
    if tests := [test for test in mutant.tests if test not in red]:
        with copy.changed(mutant):
            result = run_tests(copy, tests, 30 + 3 * mutant.seconds)
    if result["outcome"] == "error":
        raise RuntimeError(f"{mutant.id}: {(copy.place / 'out.txt').read_text()[-2000:]}")
    result |= {
        "id": mutant.id,
        "module": mutant.module,
        "tests": len(tests),
        "left_out": mutant.left_out,
    }
    return result | {"difference": mutant.difference()}


def killers(mutant: Mutant, result: Mapping[str, Any]) -> Sequence[str]:
    """Return the tests that must pass without the change: the one that failed, else all."""
    return () if result["outcome"] == "passed" else result["failed"] or mutant.tests


def without_change(copy: Copy, tests: Sequence[str]) -> set[str]:
    """Return those of the tests that fail without a change, run in the same kind of child."""
    if not tests:
        return set()
    found = copy.run(sorted(set(tests)), 3600, stop=False)
    if found["outcome"] not in ("passed", "failed") or not found["passed"]:
        raise RuntimeError(
            f"tests do not run in a copy ({found}): {(copy.place / 'out.txt').read_text()[-2000:]}"
        )
    return set(found["failed"])


def _state() -> str:
    """Return a digest of everything that a result depends on."""
    digest = hashlib.sha256()
    for folder in ("src", "conf", "tests"):
        for file in sorted((ROOT / folder).rglob("*.*")):
            if file.suffix in (".py", ".yaml"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _known(file: Path, state: str, killed_before: bool) -> dict[str, dict[str, Any]]:
    """Return stored results that need not be computed again, by the mutant's name."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    newest = {line["id"]: line for line in lines}
    return {
        name: line
        for name, line in newest.items()
        if line["state"] == state or (killed_before and line["outcome"] != "passed")
    }


def _table(mutants: Sequence[Mutant], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table in Markdown with one row per module."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for mutant in mutants:
        survived = found[mutant.id]["outcome"] == "passed"
        for name in (mutant.module, "all"):
            counts[name][survived] += 1
    last = counts.pop("all")
    rows = [
        f"| {name} | {sum(some)} | {some[0]} | {some[1]} |"
        for name, some in (*counts.items(), ("all", last))
    ]
    return "\n".join(["| module | mutants | killed | survived |", "|---|---|---|---|", *rows])


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--number", type=int, default=220, help="number of mutants, roughly (default %(default)s)"
    )
    parser.add_argument("--seed", default="0", help="seed of the sample (default %(default)s)")
    parser.add_argument(
        "--module", nargs="+", metavar="NAME", help="only these modules, such as data/splits"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="ID", help="try these mutants again, drawn or not"
    )
    parser.add_argument(
        "--survivors", action="store_true", help="reuse mutants killed with other source or tests"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=LIMIT,
        help="seconds of tests per mutant (default %(default)s)",
    )
    return parser.parse_args(words)


def prepare_to_fork() -> None:
    """Import what the children need, and set their environment."""
    os.environ |= {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    sys.dont_write_bytecode = False
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def try_all(
    mutants: Sequence[Mutant], found: dict[str, dict[str, Any]], results: Path, state: str
) -> None:
    """Try the mutants that are not in `found`, and add their results to it and to the file.

    Mutants whose killing test also fails without a change are tried again without that test.
    """
    left = [mutant for mutant in mutants if mutant.id not in found]
    if not left:
        return
    prepare_to_fork()
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copy = Copy(Path(place, "copy"))
        red: set[str] = set()
        while left:
            for number, mutant in enumerate(left, start=1):
                found[mutant.id] = one = try_mutant(copy, mutant, red) | {"state": state}
                with results.open("a") as file:
                    file.write(json.dumps(one) + "\n")
                result = f"{one['outcome']} {one['cpu']} s {one['failed']}"
                line = f"{number}/{len(left)} {mutant.module} {mutant.id} {result}"
                print(line, file=sys.stderr, flush=True)
            needed = [test for one in mutants for test in killers(one, found[one.id])]
            new = without_change(copy, needed) - red
            left = [one for one in mutants if new.intersection(killers(one, found[one.id]))]
            red |= new
            print(f"tests that fail without a change: {sorted(red)}", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    given = parse(words)
    files = figure_modules()
    if given.module is not None:
        files = [file for file in files if str(file.relative_to(SOURCE))[:-3] in given.module]
    mutants = draw(files, given.number, given.seed, given.only, given.limit)
    results, state = ROOT / "build/mutants" / f"{given.seed}.jsonl", _state()
    results.parent.mkdir(parents=True, exist_ok=True)
    found = {} if given.only else _known(results, state, given.survivors)
    try_all(mutants, found, results, state)
    survivors = [mutant for mutant in mutants if found[mutant.id]["outcome"] == "passed"]
    answered = (ROOT / "docs/reliability.md").read_text()
    for mutant in survivors:
        more = found[mutant.id]
        why = "answered in docs/reliability.md" if f"`{mutant.id}`" in answered else "not answered"
        counts = f"{more['tests']} tests pass, {more['left_out']} not run"
        print(f"\n{mutant.difference()}\n{mutant.id}: {counts}; {why}")
    print(f"\n{_table(mutants, found)}")
    killed = 1 - len(survivors) / len(mutants)
    print(f"\n{killed:.1%} killed")
    return 0 if killed >= 0.95 and all(f"`{mutant.id}`" in answered for mutant in survivors) else 1


if __name__ == "__main__":
    sys.exit(main())
