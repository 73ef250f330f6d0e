"""Let torch's compiler believe that there is an H100, for the rest of a process.

The process has been started with `fake_cuda.libraries.environment()`.
"""

import types
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch._dynamo.device_interface import CudaInterface

from tests.helpers.fake_cuda.libraries import make_devices

PROPERTIES = types.SimpleNamespace(
    name="H100",
    multi_processor_count=132,
    major=9,
    minor=0,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    total_memory=80 << 30,
    shared_memory_per_block_optin=232448,
    L2_cache_size=50 << 20,
    gcnArchName="",
)


def always(answer: Any) -> Callable[..., Any]:
    """Return a function that gives the answer for any arguments."""
    return lambda *_, **__: answer


def pretend() -> None:
    """Answer what the compiler asks about a device, as an H100 and its driver would."""
    make_devices()
    about_device = {
        "get_device_properties": PROPERTIES,
        "get_device_capability": (9, 0),
        "get_device_name": "H100",
        "current_device": 0,
        "device_count": 1,
        "is_bf16_supported": True,
    }
    for name, answer in about_device.items():
        setattr(torch.cuda, name, always(answer))
    to_dynamo = {
        "get_device_properties": PROPERTIES,
        "get_compute_capability": 90,
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "is_triton_capable": True,
        "raise_if_triton_unavailable": None,
        "is_bf16_supported": True,
        "synchronize": None,
    }
    for name, answer in to_dynamo.items():
        setattr(CudaInterface, name, staticmethod(always(answer)))
    for name in ("get_device_properties", "current_device"):
        setattr(CudaInterface.Worker, name, staticmethod(always(to_dynamo[name])))
    _pretend_triton()


def _pretend_triton() -> None:
    """Answer for Triton, which asks the driver, and for autocast, which asks for a device."""
    answers = {
        "torch.utils._triton": {"triton_hash_with_backend": "an H100", "has_triton": True},
        "torch.cuda.amp.common": {"amp_definitely_not_available": False},
        "torch.amp.autocast_mode": {"amp_definitely_not_available": False},
    }
    for name, functions in answers.items():
        for function, answer in functions.items():
            setattr(import_module(name), function, always(answer))
