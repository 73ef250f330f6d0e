"""The machine a run is on: its device and threads, and what is installed.

Knows torch and cores.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from dstrun.system.cores import usable_cores

MALLOPT = {
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
    "M_TRIM_THRESHOLD": (-1, 1 << 30),
    "M_TOP_PAD": (-2, 64 << 20),
}
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
PACKAGES = (
    "dstrun",
    "torch",
    "torchvision",
    "hydra-core",
    "omegaconf",
    "numpy",
    "wandb",
    "scikit-learn",
)


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one, else the CPU. ValueError for a device that is not
    here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"no runs on {device.type}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise ValueError(
            f"got {name!r}, expected auto or a device of this machine: {', '.join(there)}"
        ) from error
    return device


def set_threads(threads: int) -> int:
    """Lets torch use so many CPU threads (0: as it finds right) and says how many it uses."""
    torch.set_num_threads(threads or THREADS_AT_FIRST)
    return torch.get_num_threads()


THREADS_AT_FIRST = min(torch.get_num_threads(), usable_cores())


def share_cores(threads: int) -> None:
    """From now on so many threads are what torch finds right: other processes need the rest."""
    global THREADS_AT_FIRST
    THREADS_AT_FIRST = threads


def keep_freed_memory() -> None:
    """Lets the C library keep what a step frees for the next one, instead of returning it to the
    system.

    A step's temporaries come and go; given back, each costs a page fault per 4 KiB on its way in
    again, which is more than the arithmetic done in it. Of glibc; elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says: torch on a GPU, torch on the CPU, or Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def missing_for_compilation(device: torch.device) -> str | None:
    """What torch.compile needs for code of that device and does not find here, in words; None where
    all is there."""
    cpu = device.type == "cpu"
    default = ("clang++" if sys.platform == "darwin" else "g++") if cpu else "gcc"
    compiler = os.environ.get("CXX" if cpu else "CC", default)
    if not shutil.which(compiler):
        return f"a C++ compiler ({compiler})" if cpu else f"a C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Debian: python3-dev)"
    if not cpu and not find_spec("triton"):
        return "the package triton"
    return None


def set_deterministic(wanted: bool) -> None:
    """Makes torch use only operations that repeat bit for bit, or leaves it free to use faster
    ones."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted


def facts(device: torch.device) -> dict[str, Any]:
    """What figures may depend on: device, versions of packages, the git commit of the folder we are
    in."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "device": str(device),
        "device_name": name,
        "versions": _versions(),
        "git_commit": _git_commit(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
