"""What torch's fake tensors lack for a whole training run, put in for the whole process.

Only for a process of its own: torch stays changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.cuda.amp.common
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from tests.helpers.fake_cuda.libraries import make_devices

LIBRARY = torch.library.Library("aten", "IMPL")


def prepare_torch() -> None:
    """Make torch train on fake CUDA tensors, and run what is to be compiled as it is."""
    make_devices()
    LIBRARY.impl("_fused_sgd_", lambda *_, **__: None, "Meta")  # of the optimisers this alone lacks
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.amp.autocast_mode.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.get_rng_state = lambda *_: torch.zeros(16, dtype=torch.uint8)
    torch.cuda.set_rng_state = torch.set_rng_state = lambda *_: None
    nn.Module.to = _moved_module
    FakeTensor.__deepcopy__ = lambda self, memo: self.detach().clone()  # else with its mode
    FakeTensor.data_ptr = lambda self: self.untyped_storage()._cdata
    torch._dynamo.mark_static_address = lambda tensor, guard=True: None
    torch.nn.utils.clip_grad._has_foreach_support = lambda *_: True  # else a kernel a gradient
    torch.compile = _as_it_is


def _moved_module(self: nn.Module, *args: Any, **options: Any) -> nn.Module:
    """Move a module so that each parameter stays the object it is, as real ones do."""
    device, _, _, layout = torch._C._nn._parse_to(*args, **options)
    for tensor in [*self.parameters(), *self.buffers()]:
        if layout is not None and tensor.dim() == 4:
            with torch.no_grad():
                tensor.data = tensor.detach().to(memory_format=layout)
        if device is not None:
            tensor.fake_device = torch.device(device.type, device.index or 0)
            tensor.constant = None  # the value, on the CPU, of one that torch.tensor has made
    return self


def _as_it_is(function: Callable | None = None, **_: Any) -> Callable:
    """Return, in place of compiled code, the function, which is told that it is compiled."""
    if function is None:
        return _as_it_is

    def call(*args: Any, **options: Any) -> Any:
        with _said_to_be_compiling():
            return function(*args, **options)

    return call


@contextmanager
def _said_to_be_compiling() -> Iterator[None]:
    before = torch.compiler.is_compiling
    torch.compiler.is_compiling = lambda: True
    try:
        yield
    finally:
        torch.compiler.is_compiling = before


def on_the_host(state: Any) -> Any:
    """Return the content of a checkpoint as reading it gives it, with its tensors on the CPU."""
    if isinstance(state, dict):
        return {key: on_the_host(value) for key, value in state.items()}
    if isinstance(state, list):
        return [on_the_host(value) for value in state]
    return state.detach().to("cpu") if isinstance(state, FakeTensor) else state
