"""How torch.compile is called: the same options for every part of a step that is compiled."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


def options_for(
    device: torch.device,
    *,
    is_replayed: bool = False,
    orders_loops: bool = True,
    combines: bool = False,
) -> dict[str, Any]:
    """Return the options of torch.compile for a device: none for the CPU.

    is_replayed: whether a GPU replays the call as one CUDA graph, which writes its results over
    those of the call before. orders_loops: whether the compiler may change the order of a kernel's
    loops to join it with another. combines: whether one kernel does the same for many layers.
    """
    if device.type != "cuda":
        return {}
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    return {
        # torch sets it for one thread alone; a GPU's backward pass compiles in another
        "deterministic": is_deterministic,
        # such a kernel is chosen by time among some that sum in another order
        "combo_kernels": combines and not is_deterministic,
        "loop_ordering_after_fusion": orders_loops,
        "triton.cudagraphs": is_replayed,
    }


def compile_for(function: Callable, device: torch.device, **options: bool) -> Callable:
    """Return the function compiled, on its first call, for the shapes it is called with.

    `options` are those of `options_for`.
    """
    options_of_torch = options_for(device, **options)
    return torch.compile(function, dynamic=False, fullgraph=True, options=options_of_torch)


def compiled(function: Callable, device: torch.device) -> Callable:
    """Return a function of all layers compiled, the same one for the same options."""
    return _compiled(function, device, tuple(options_for(device, combines=True).items()))


@cache
def _compiled(function: Callable, device: torch.device, _: tuple[tuple[str, Any], ...]) -> Callable:
    return compile_for(function, device, combines=True)


def keep_address(tensor: Tensor) -> None:
    """Tell the compiler that a tensor is changed in place, which a CUDA graph must know."""
    torch._dynamo.mark_static_address(tensor)
