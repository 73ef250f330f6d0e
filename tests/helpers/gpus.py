"""GPUs that are not there: what torch says of them, as far as a run asks before it trains."""

import warnings
from types import SimpleNamespace

import pytest
import torch

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: http://www.nvidia.com/"
    "Download/index.aspx Alternatively, go to: https://pytorch.org to install a PyTorch version "
    "that has been compiled with your version of the CUDA driver."
)


def emulate_gpus(
    monkeypatch: pytest.MonkeyPatch,
    count: int = 1,
    capability: tuple[int, int] = (9, 0),
    free: int = 40 << 30,
) -> list[torch.device]:
    """Make torch report `count` GPUs; return the list of those that are made current."""
    current: list[torch.device] = []
    properties = SimpleNamespace(
        name="NVIDIA H100", major=capability[0], minor=capability[1], total_memory=80 << 30
    )
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: count,
        "init": lambda: None,
        "set_device": current.append,
        "current_device": lambda: current[-1].index,
        "get_device_properties": lambda device=None: properties,
        "mem_get_info": lambda device=None: (free, 80 << 30),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return current


def emulate_unusable_gpu(
    monkeypatch: pytest.MonkeyPatch, message: str, kind: type[Exception] = RuntimeError
) -> None:
    """Make torch refuse CUDA with `message`; where it is only asked for, a warning says so once."""

    warned: list[str] = []

    def is_available() -> bool:
        if not warned:
            warned.append(message)
            warnings.warn(f"CUDA initialization: {message} (Triggered inside.)", stacklevel=1)
        return False

    def refuse() -> None:
        raise kind(message)

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # which NVML counts
    monkeypatch.setattr(torch.cuda, "init", refuse)
