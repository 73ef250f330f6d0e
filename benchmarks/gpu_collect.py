"""Results of the parts, written as they come, and the processes that they come from; no torch."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gpu_table
from gpu_plan import Part

MARK = "@@ "  # begins a line of a part's standard output that holds figures
HERE = Path(__file__).parent
BEGUN = time.monotonic()
OF_THE_MACHINE = ("device", "tiny")  # figures of one call belong beside those of another


def elapsed() -> float:
    return time.monotonic() - BEGUN


def earlier_logs(out: Path) -> dict[str, str]:
    """Return what log.txt holds, by part."""
    sections = ("\n" + (out / "log.txt").read_text()).split("\n=== ")
    return {name: text for name, _, text in (section.partition("\n") for section in sections[1:])}


def merge(target: dict[str, Any], more: dict[str, Any]) -> None:
    """Add figures to those there are, dictionaries key by key."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


class Results:
    """What is known so far: results.json and results.md are whole after every figure.

    Figures of an earlier call on the same device stay until a part is run again: those in `out`,
    or where that is new, those in `work`, which gets a copy. `taken`: the names of the parts of
    this call.
    """

    def __init__(self, out: Path, about: dict[str, Any], work: Path | None = None) -> None:
        self._folders = [out] if work is None else [out, work]
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.out, self.about = out, about
        self.parts: dict[str, dict[str, Any]] = {}
        self.taken: set[str] = set()
        self._logs: dict[str, str] = {}
        self._lock = threading.Lock()
        for folder in self._folders[::-1]:
            with contextlib.suppress(OSError, ValueError):
                earlier = json.loads((folder / "results.json").read_text())
                if all(earlier[name] == about.get(name) for name in OF_THE_MACHINE):
                    self.parts, self._logs = earlier["parts"], earlier_logs(folder)

    def take(self, part: str, kind: str, figures: dict[str, Any]) -> None:
        """Add figures of a part, print them in a line, and write everything."""
        with self._lock:
            if part not in self.taken:
                self.taken.add(part)
                self.parts[part] = {"kind": kind}
            merge(self.parts[part], figures)
            self._write()
        shown = json.dumps({k: v for k, v in figures.items() if k != "traceback"})
        print(f"[{elapsed():6.1f} s] {part}: {shown[:200]}", flush=True)

    def log(self, part: str, text: str) -> None:
        """Keep the end of what a part said on standard error."""
        self._logs[part] = text[-3000:]
        whole = "\n".join(f"=== {name}\n{said}" for name, said in self._logs.items())
        for folder in self._folders:
            (folder / "log.txt").write_text(whole)

    def _write(self) -> None:
        content = {**self.about, "seconds": round(elapsed(), 1), "parts": self.parts}
        for name, text in (
            ("results.json", json.dumps(content, indent=1) + "\n"),
            ("results.md", gpu_table.page(content)),
        ):
            for folder in self._folders:
                beside = folder / f"{name}.new"
                beside.write_text(text)
                beside.replace(folder / name)


class Process:
    """A part that runs: its figures as it says them, and an end at its limit."""

    def __init__(
        self, part: Part, results: Results, spec: dict[str, Any], environment: dict[str, str]
    ) -> None:
        self.part, self._results = part, results
        self._begun, self.is_hurried = time.monotonic(), False
        name = part.name.replace(" ", "_").replace(",", "")
        self._log = Path(spec["work"]) / f"{name}.log"
        told = json.dumps({**spec, **part.arguments})
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "gpu_part.py"), part.job, told],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=environment,
            )
        self.said: queue.Queue[str] = queue.Queue()  # "ready", and what answers a word
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(MARK):
                figures = json.loads(line.removeprefix(MARK))
                if word := figures.pop("said", None):
                    self.said.put(word)
                if figures:
                    self._results.take(self.part.name, self.part.kind, figures)

    def tell(self, word: str) -> None:
        """Send a word to the process; one that has ended does not hear it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()

    def hears(self, word: str, until: float = 0.0) -> bool:
        """Return whether the process has said a word, or says it by then."""
        while True:
            with contextlib.suppress(queue.Empty):
                while self.said.get_nowait() != word:
                    pass
                return True
            if time.monotonic() >= until or not self.alive:
                return False
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait(self, until: float) -> None:
        while self.alive and time.monotonic() < until:
            time.sleep(0.05)

    def end(self, why: str = "its time was up") -> None:
        """End the process and all that it has started; say how it went."""
        cut = self.alive
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code: int | str = "unknown, it does not end"
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in the driver
            code = self._process.wait(timeout=5)
        self._listener.join(timeout=5)
        name, kind = self.part.name, self.part.kind
        figures = self._results.parts.get(name, {})
        cases = figures.get("ok", {})
        state = "ok" if all(cases.values()) else "wrong"
        if "skipped" in figures and not cases:
            state = "skipped"
        if cut:
            state = f"cut: {why}"
        elif code:
            state = f"failed: exit code {code}"
        took = round(time.monotonic() - self._begun, 1)
        self._results.take(name, kind, {"state": state, "took": took})
        self._results.log(name, self._log.read_bytes()[-3000:].decode(errors="replace"))
