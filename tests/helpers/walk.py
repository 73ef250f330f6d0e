"""Execution of a page in an empty folder: write its files, run its commands and Python."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import invalidate_caches
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.helpers.blocks import Step
from tests.helpers.folders import leave

ROOT = Path(__file__).parents[2]
PREAMBLE = Path(__file__).with_name("preamble")

GIVEN = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
import dstrun

model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
example = torch.zeros(1, 1, 28, 28)
"""  # names that the blocks of Python on a page assume


class Failed(AssertionError):
    """A step that did not do what its page says, with its output."""


class Walk:
    """A reader's folder, and what has been run in it so far."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}
        self._site = Path("site").absolute()  # pip installs to it
        for part in ("docs", "benchmarks"):  # commands name these as from a checkout
            Path(part).symlink_to(ROOT / part)

    def take(self, step: Step) -> None:
        """Do one step; raise Failed with the output if it does not succeed."""
        {"file": self._write, "python": self._python, "shell": self._shell}[step.kind](step)

    def _write(self, step: Step) -> None:
        file = Path(step.name.replace("NAME", "network").replace("<model>-<data>", "lenet5-digits"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.text + "\n")
        group = (
            file.parent.name.removesuffix("s") if file.parent.name == "sweeps" else file.parent.name
        )
        if group in ("sweep", "experiment"):
            self._run(step, f"dstrun {group}={file.stem} dry_run=true")

    def _python(self, step: Step) -> None:
        if not self._names:
            exec(GIVEN, self._names)
            if "outputs" in step.text and not Path("outputs").is_dir():
                leave(Path("outputs/made"))
        try:
            exec(self.fill_in(step.text), self._names)
        except Exception as error:
            raise Failed(
                f"{step.page}:{step.line}: {type(error).__name__}: {error}\n{step.text}"
            ) from error

    def _shell(self, step: Step) -> None:
        if step.command.startswith("dstrun report") and not Path("outputs").is_dir():
            leave(Path("outputs/table1"))
            leave(Path("outputs/table1"), seed=1, reg__method="dense")
        if step.command.startswith("pip ") and not Path("pyproject.toml").is_file():
            self._run(step, f"cd {self._checkout()} && {step.text}")
            return
        if step.command.startswith("dstrun dashboard"):
            self._dashboard(step)
        else:
            self._run(step, step.text)

    def _checkout(self) -> Path:
        """Return a copy of the tracked files, because building a package leaves files behind."""
        listed = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("docs/runs/", "tests/")):
                (file := Path("checkout", name)).parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes((ROOT / name).read_bytes())
        return Path("checkout").absolute()

    def _run(self, step: Step, text: str) -> None:
        bash = ["bash", "-c", self.fill_in(text)]
        done = subprocess.run(
            bash,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        code, said = done.returncode, done.stdout
        invalidate_caches()  # the command may have been pip
        if code or "Traceback" in said:
            raise Failed(f"{step.page}:{step.line}: exit code {code}: {text}\n{said}")

    def _dashboard(self, step: Step) -> None:
        """Start a dashboard, request its page once, and stop it by Ctrl-C."""
        with Path("dashboard.log").open("w+") as log:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {self.fill_in(step.text)}"],
                env=self._environment(),
                stdout=log,
                stderr=log,
                preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                ),  # which a shell's & has it ignore
            )
            try:
                page = urlopen(self._address(server)).read().decode()
                server.send_signal(signal.SIGINT)
                code = server.wait()
            except Exception as error:
                raise Failed(
                    f"{step.page}:{step.line}: {error}: {step.text}\n{Path(log.name).read_text()}"
                ) from error
            finally:
                server.kill()
        said = Path("dashboard.log").read_text()
        if code or "Traceback" in said or "<html" not in page:
            raise Failed(f"{step.page}:{step.line}: exit code {code}: {step.text}\n{said}")

    def _address(self, server: subprocess.Popen) -> str:
        while server.poll() is None:
            if found := re.search(r"http://\S+/", Path("dashboard.log").read_text()):
                return found[0]
            time.sleep(0.05)
        raise ChildProcessError("it ended before it said an address")

    def fill_in(self, text: str) -> str:
        """Return the text with the placeholders replaced, such as RUN."""
        if re.search(r"\bRUN\b|-…", text):
            run = self._first_run()
            text = re.sub(r"\bRUN\b", str(run), text)
            text = re.sub(r"outputs/single/[\w]+-…", str(run), text)
        text = re.sub(r"\bNAME\b", "network", text)
        return re.sub(r"\bFILE\b", "page.html", text)

    def _first_run(self) -> Path:
        """Return the first single run; if there is none, train one with `dstrun`."""
        if not (runs := list(Path("outputs/single").glob("*/checkpoint.pt"))):
            self._run(Step("", 0, "shell", "dstrun"), "dstrun")
            runs = list(Path("outputs/single").glob("*/checkpoint.pt"))
        return min(runs, key=lambda file: file.stat().st_mtime_ns).parent

    def _environment(self) -> dict[str, str]:
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PREAMBLE), str(self._site), *before])),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PIP_TARGET": str(self._site),
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_DEPS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
