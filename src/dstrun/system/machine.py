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
from dstrun.system.gpu import find_gpu, free_memory, gpu_names, select_gpu

MALLOPT = {
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
    "M_TRIM_THRESHOLD": (-1, 1 << 30),
    "M_TOP_PAD": (-2, 64 << 20),
}
OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
# What CUDA's libraries report, too, where they find no memory of their own on a full GPU.
ON_A_FULL_GPU = (
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
)
FULL = 2**28  # bytes, fewer than which are free on a GPU: less than such a library may take
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
    """Return the device of a name, made the current one if it is a GPU.

    'auto' is the GPU if torch can use one, else the CPU. Raise ValueError for a device that this
    machine has not, or that cannot be used.
    """
    if name == "auto":
        name = "cuda" if find_gpu()[0] else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cpu" and (index.isdecimal() or name == "cpu"):
        return torch.device(name)
    gpus, reason = gpu_names(), ""
    if name in ("cuda", *gpus) or (kind == "cuda" and not gpus):
        try:
            return select_gpu(gpus.index(name) if name in gpus else 0)
        except RuntimeError as error:
            reason = f"; {error}"
    raise ValueError(
        f"got {name!r}, expected auto or a device of this machine: {', '.join(['cpu', *gpus])}"
        f"{reason}"
    )


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
    if not isinstance(error, RuntimeError):
        return False
    message = str(error)
    if any(words in message for words in OUT_OF_MEMORY):
        return True
    is_hint = torch.cuda.is_initialized() and any(words in message for words in ON_A_FULL_GPU)
    return is_hint and free_memory() < FULL


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
    """Restrict torch to operations that repeat bit for bit, or lift the restriction.

    Without it, cuDNN measures at the first step which of its convolutions are fastest.
    """
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = not wanted


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
