"""GPUs that can and cannot be used, emulated by what torch says of them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dstrun.system import machine
from dstrun.system.gpu import find_gpu, number_format
from dstrun.system.machine import choose_device, is_out_of_memory
from tests.helpers.gpus import TOO_OLD, emulate_gpus, emulate_unusable_gpu
from tests.helpers.runs import QUICK


def test_the_gpu_that_is_named_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current = emulate_gpus(monkeypatch, count=2)
    for name, chosen in (("cuda:1", "cuda:1"), ("cuda", "cuda:0"), ("auto", "cuda:0")):
        assert choose_device(name) == torch.device(chosen) == current[-1]
    assert choose_device("cpu") == torch.device("cpu")
    assert len(current) == 3


@pytest.mark.parametrize("name", ["cuda:2", "cuda:3", "cuda:x", "cuda:-1", "gpu", "cpu:x"])
def test_the_devices_that_there_are_are_named_for_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    current = emulate_gpus(monkeypatch, count=2)
    with pytest.raises(ValueError, match="expected auto or a device of this m") as refused:
        choose_device(name)
    expected = "expected auto or a device of this machine: cpu, cuda:0, cuda:1"
    assert str(refused.value) == f"got {name!r}, {expected}"
    assert not current


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (
            TOO_OLD,
            RuntimeError,
            f"the NVIDIA driver is too old for torch {torch.__version__} (found version 11040); "
            "update it, or install a torch for an older CUDA",
        ),
        (
            "Torch not compiled with CUDA enabled",
            AssertionError,
            f"torch {torch.__version__} is built without CUDA; install one that is built with it",
        ),
        ("No CUDA GPUs are available", RuntimeError, "no CUDA GPUs are available"),
        (
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
            RuntimeError,
            "found no NVIDIA driver on your system",
        ),
        (
            "CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors mig",
            RuntimeError,
            "CUDA error: all CUDA-capable devices are busy or unavailable",
        ),
    ],
)
def test_why_no_gpu_can_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, message: str, kind: type[Exception], words: str
) -> None:
    emulate_unusable_gpu(monkeypatch, message, kind)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match="expected auto or a device") as refused:
            choose_device(name)
        expected = "expected auto or a device of this machine: cpu"
        assert str(refused.value) == f"got {name!r}, {expected}; {words}"


def test_a_gpu_that_is_there_and_refuses_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulate_gpus(monkeypatch)

    def refuse() -> None:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronous")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    with pytest.raises(ValueError, match=r": cpu, cuda:0; CUDA error: out of memory$"):
        choose_device("auto")


def test_torchs_warning_about_a_driver_is_kept_from_the_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes once in a process; the reason is given every time."""
    emulate_unusable_gpu(monkeypatch, TOO_OLD)
    for _ in range(2):
        found, reason = find_gpu()
        assert not found
        assert reason.startswith("the NVIDIA driver is too old")
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    "message",
    [
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "No CUDA GPUs are available",
        "Torch not compiled with CUDA enabled",
    ],
)
def test_a_machine_without_a_gpu_is_no_surprise(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    emulate_unusable_gpu(monkeypatch, message)
    assert find_gpu() == (False, "")


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.version.cuda or not shutil.which("gcc"), reason="needs torch with CUDA, and gcc"
)
def test_commands_with_a_driver_that_is_too_old(tmp_path: Path) -> None:
    """Give CUDA's runtime such a driver: a run and a sweep train on the CPU and say why, once."""
    source = Path(__file__).parents[1] / "helpers" / "old_driver.c"
    library = tmp_path / "libcuda.so.1"
    build = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source]
    subprocess.run(build, check=True)
    environment = {
        name: text for name, text in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"
    }
    environment["LD_LIBRARY_PATH"] = str(tmp_path)

    def answer(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "dstrun", *QUICK, *words]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout + ran.stderr

    reason = f"the NVIDIA driver is too old for torch {torch.__version__} (found version 11040); "
    code, said = answer("device=cuda")
    expected = f"expected auto or a device of this machine: cpu; {reason}update it"
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"dstrun: device: got 'cuda', {expected}")
    assert not Path("outputs").exists()
    for words in (["device=auto"], ["-m", "device=auto", "seed=0,1"]):
        code, said = answer(*words)
        assert (code, said.count(f"note: device: the CPU is used, since {reason}")) == (0, 1)
        assert "Warning" not in said


@pytest.mark.parametrize(
    ("message", "free", "is_memory"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", 40, True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", 40, True),
        ("CUDA error: out of memory", 40, True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", 40, False),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", 0.2, True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", 0, True),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", 1, False),
        ("GET was unable to find an engine to execute this computation", 0.1, True),
        ("CUDA error: an illegal memory access was encountered", 0, False),
    ],
)
def test_errors_of_cudas_libraries_that_mean_memory(
    monkeypatch: pytest.MonkeyPatch, message: str, free: float, is_memory: bool
) -> None:
    emulate_gpus(monkeypatch, free=int(free * 2**30))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert is_out_of_memory(RuntimeError(message)) == is_memory


def test_without_a_gpu_its_memory_is_not_asked_for() -> None:
    assert not is_out_of_memory(RuntimeError("CUDNN_STATUS_INTERNAL_ERROR"))


@pytest.fixture
def tf32() -> Iterator[None]:
    """Put torch's switches for TF32 back."""
    matrix, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matrix.allow_tf32, cudnn.allow_tf32
    assert before == (False, True), "torch's default, as the help of schedule.precision says"
    yield
    matrix.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("capability", "products", "convolutions", "words"),
    [
        ((9, 0), False, True, "TF32 in convolutions"),
        ((9, 0), True, True, "TF32"),
        ((8, 0), True, False, "TF32 in matrix products"),
        ((8, 0), False, False, "fp32"),
        ((7, 5), False, True, "fp32"),
    ],
)
@pytest.mark.usefixtures("tf32")
def test_the_number_format_is_what_torch_is_set_to(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    products: bool,
    convolutions: bool,
    words: str,
) -> None:
    emulate_gpus(monkeypatch, capability=capability)
    choose_device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
    assert number_format("fp32") == words
    assert number_format("bf16") == "bf16"


def test_compilation_on_a_gpu_needs_a_c_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert (
        machine.missing_for_compilation(torch.device("cuda")) == "a C compiler (no-such-compiler)"
    )
