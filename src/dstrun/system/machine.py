"""Device, CPU threads, memory and installed packages of this machine."""

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
    """Return the device of a name; 'auto' is the GPU if there is one, else the CPU.

    Raise ValueError for a device that this machine has not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"no runs on {device.type}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise ValueError(
            f"got {name!r}, expected auto or a device of this machine: {', '.join(['cpu', *gpus])}"
        ) from error
    return device


def set_threads(threads: int) -> int:
    """Set the number of CPU threads that torch uses (0: the default) and return it."""
    torch.set_num_threads(threads or THREADS_AT_FIRST)
    return torch.get_num_threads()


THREADS_AT_FIRST = min(torch.get_num_threads(), usable_cores())


def share_cores(threads: int) -> None:
    """Set the default number of threads, because other processes need the other cores."""
    global THREADS_AT_FIRST
    THREADS_AT_FIRST = threads


def keep_freed_memory() -> None:
    """Make the C library keep the memory that a step frees, instead of returning it to the system.

    Temporary tensors are allocated again in every step. Memory that was returned costs a page fault
    per 4 KiB then, which takes longer than the arithmetic in it. This needs glibc; elsewhere
    nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means a lack of memory: of torch on GPU or CPU, or of Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def missing_for_compilation(device: torch.device) -> str | None:
    """Return, in words, what torch.compile lacks on this machine for a device; None if nothing."""
    is_cpu = device.type == "cpu"
    if is_cpu:
        default = "clang++" if sys.platform == "darwin" else "g++"
        language, compiler = "C++", os.environ.get("CXX", default)
    else:
        language, compiler = "C", os.environ.get("CC", "gcc")
    if not shutil.which(compiler):
        return f"a {language} compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Debian: python3-dev)"
    if not is_cpu and not find_spec("triton"):
        return "the package triton"
    return None


def set_deterministic(wanted: bool) -> None:
    """Restrict torch to operations that repeat bit for bit, or lift the restriction."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted


def facts(device: torch.device) -> dict[str, Any]:
    """Return what results may depend on: device, package versions, git commit of the folder."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "versions": _versions(),
        "git_commit": _git_commit(),
    }


def _versions() -> dict[str, str]:
    """Return the versions of Python, CUDA and the packages that are installed."""
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
    """Return the commit of the current folder, with -dirty for changes; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
