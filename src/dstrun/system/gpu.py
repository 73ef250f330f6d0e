"""GPUs as torch sees them: why none can be used, which one is current, its memory and formats."""

import os
import re
import subprocess
import warnings

import torch

# torch's reasons that are no surprise: there is no GPU, or this torch is not for one
NOTHING_TO_USE = ("Found no NVIDIA driver", "No CUDA GPUs are available", "not compiled with CUDA")
TENSOR_CORES_WITH_TF32 = (8, 0)  # compute capability


def find_gpu() -> tuple[bool, str]:
    """Return whether torch can use a GPU, and why not if one seems to be there, else ''.

    torch's own warning, which takes five lines and comes once in a process, is not shown.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if torch.cuda.is_available():
            return True, ""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        is_plain = any(words in str(error) for words in NOTHING_TO_USE)
        return False, "" if is_plain else _in_short(str(error))
    return False, ""


def gpu_names() -> list[str]:
    """Return the names of the GPUs that torch can use: cuda:0, cuda:1, …"""
    found, _ = find_gpu()
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] if found else []


def visible_gpus() -> list[str]:
    """Return the GPUs of this process by the names that CUDA_VISIBLE_DEVICES uses.

    Of several MIG instances a process can use one, so torch counts one; here each counts.
    """
    count = len(gpu_names())
    variable = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [name.strip() for name in variable.split(",") if name.strip()]
    if count == 1 and not named:
        named = _mig_instances()
    if count == 1 and all(name.startswith("MIG-") for name in named):
        count = max(count, len(named))
    return (named or [str(index) for index in range(count)])[:count]


def _mig_instances() -> list[str]:
    """Return the names of the MIG instances of this machine, as nvidia-smi lists them."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"UUID: (MIG-[^)]+)\)", listed)


def select_gpu(index: int) -> torch.device:
    """Make a GPU the current one, on which a library's own memory lies, and return it.

    Raise RuntimeError, with the reason in one line, where it cannot be used.
    """
    device = torch.device("cuda", index)
    try:
        torch.cuda.init()
        torch.cuda.set_device(device)
        torch.cuda.mem_get_info()  # makes its context, which a busy or full GPU refuses
    except (RuntimeError, AssertionError) as error:
        raise RuntimeError(_in_short(str(error))) from error
    return device


def _in_short(message: str) -> str:
    """Return the first sentence of torch's message on CUDA, and what to do where that is known."""
    first = message.strip().split("\n")[0].split(". ")[0].rstrip(".")
    if "driver on your system is too old" in first:
        return (
            f"the NVIDIA driver is too old for torch {torch.__version__}"
            f"{first.partition('too old')[2]}; update it, or install a torch for an older CUDA"
        )
    if "not compiled with CUDA" in first:
        return f"torch {torch.__version__} is built without CUDA; install one that is built with it"
    return first[:1].lower() + first[1:] if first.startswith(("Found", "No ", "The ")) else first


def free_memory() -> int:
    """Return the bytes that are free on the current GPU."""
    return int(torch.cuda.mem_get_info()[0])


def total_memory() -> int:
    """Return the bytes of the current GPU's memory."""
    return int(torch.cuda.mem_get_info()[1])


def has_bf16() -> bool:
    """Return whether the current GPU computes in bf16 itself and does not emulate it."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def number_format(precision: str) -> str:
    """Return, in words, the number format in which the current GPU computes fp32 or bf16 layers."""
    if precision != "fp32":
        return precision
    if torch.cuda.get_device_capability() < TENSOR_CORES_WITH_TF32:
        return "fp32"
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if products and convolutions:
        return "TF32"
    if products or convolutions:
        return "TF32 in convolutions" if convolutions else "TF32 in matrix products"
    return "fp32"
