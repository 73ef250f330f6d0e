"""Two libraries that a process preloads so that torch takes fake CUDA tensors without a GPU.

Autograd's engine and the choice of a convolution ask the driver for devices and a context, which
torch refuses where there is no driver. Building takes g++, gcc and the CUDA headers that triton
brings along. Only `make_devices` imports torch.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = Path(__file__).parents[3] / "build" / "fake_cuda"
DEVICE, DRIVER = "libdevice.so", "libcuda.so.1"


def missing() -> str:
    """Return what building the libraries lacks here, '' where it lacks nothing."""
    lacking = [compiler for compiler in ("g++", "gcc") if shutil.which(compiler) is None]
    if _headers() is None:
        lacking.append("the CUDA headers of triton")
    return ", ".join(lacking)


def environment() -> dict[str, str]:
    """Return the variables of a process that is to have the libraries, which are built if needed.

    `make_devices` goes on from there in that process. Raises RuntimeError where `missing()` names
    something.
    """
    folder = build()
    return {
        "LD_PRELOAD": str(folder / DEVICE),
        "LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":"),
        "CUDA_VISIBLE_DEVICES": "",
    }


def restart_with_libraries() -> None:
    """Begin this process again with the libraries, unless it has them."""
    wanted = environment()
    if os.environ.get("LD_PRELOAD") != wanted["LD_PRELOAD"]:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def make_devices() -> None:
    """Let torch find CUDA devices, in a process that has been started with `environment()`."""
    import torch

    torch._C._ensureCUDADeviceGuardSet()  # one that asks no driver, where there is no device yet
    # as many as an index can count: autograd's engine asks for the context of each
    ctypes.CDLL(None).set_device_count(127)
    torch.cuda.is_available = lambda: False  # else fake tensors begin with a real one on the device


def build() -> Path:
    """Return the folder of the libraries, built once for these sources and headers."""
    headers = _headers()
    if headers is None or missing():
        raise RuntimeError(f"the libraries of fake CUDA cannot be built without {missing()}")
    device, driver = SOURCES / "device.cpp", SOURCES / "driver.c"
    content = device.read_bytes() + driver.read_bytes() + str(headers).encode()
    folder = BUILT / hashlib.sha256(content).hexdigest()[:12]
    if not folder.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as made:
            shared = ["-shared", "-fPIC", "-O1"]
            _compile("g++", *shared, f"-I{headers}", "-o", f"{made}/{DEVICE}", str(device))
            name = f"-Wl,-soname,{DRIVER}"
            _compile("gcc", *shared, name, "-o", f"{made}/{DRIVER}", str(driver))
            _keep(Path(made), folder)
    return folder


def _headers() -> Path | None:
    triton = find_spec("triton")
    if triton is None or triton.origin is None:
        return None
    headers = Path(triton.origin).parent / "backends" / "nvidia" / "include"
    return headers if (headers / "driver_types.h").exists() else None


def _compile(*words: str) -> None:
    subprocess.run(words, check=True)


def _keep(made: Path, folder: Path) -> None:
    """Move the libraries to their folder, unless another process has built them meanwhile."""
    kept = Path(tempfile.mkdtemp(dir=BUILT))
    for library in made.iterdir():
        library.rename(kept / library.name)
    try:
        kept.rename(folder)
    except OSError:
        shutil.rmtree(kept)
