"""Timing of a network on this machine: dense, and in the other forms that can be made of it.

The variants take turns, round after round, so that other load on the machine affects all of them
alike. Only ratios within one run mean something.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dstrun.export import onnx
from dstrun.export.about import About
from dstrun.export.csr import to_csr
from dstrun.export.shrink import CannotShrinkError, shrink

BATCHES = (1, 64)
ROUNDS, SECONDS = 15, 0.03  # measurements of each variant, and the least duration of one
FEWEST, LONGEST = 3, 30.0  # measurements where more would take longer than that many seconds
Network = Callable[[Tensor], object]
MakeNetwork = Callable[[int], Network]  # for a number of threads


class Timing(NamedTuple):
    """Milliseconds per batch of one variant: median and quartiles."""

    network: str
    threads: int
    batch: int
    median: float
    low: float
    high: float


def measure_timings(model: nn.Module, about: About, threads: int) -> Iterator[Timing]:
    """Yield timings of a plain model on one thread, and on `threads`."""
    before = torch.get_num_threads()
    try:
        found = variants(model, about)
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            networks = _runnable(found, count, about)
            for batch in BATCHES:
                measured = measure_in_turns(networks, about.random(batch))
                for name, (low, median, high) in measured.items():
                    yield Timing(name, count, batch, median, low, high)
    finally:
        torch.set_num_threads(before)


def variants(model: nn.Module, about: About) -> dict[str, MakeNetwork]:
    """Return "dense" and the other forms of the model that this machine can make, by name."""
    plain: dict[str, nn.Module] = {"dense": model}
    with suppress(CannotShrinkError):
        plain["shrunk"] = shrink(model, about.example())
    found: dict[str, MakeNetwork] = {}
    for name, network in plain.items():
        found[name] = partial(_with_any_threads, network)
    for name, network in plain.items():
        found[_variant("CSR", name)] = partial(_with_any_threads, to_csr(deepcopy(network)))
    if not onnx.missing_packages():
        for name, network in plain.items():
            # torch and ONNX raise exceptions of their own for what they cannot express.
            with suppress(Exception):
                content = onnx.export_bytes(network, about)
                found[_variant("ONNX Runtime", name)] = partial(onnx.load_network, content)
    half = deepcopy(model).to(torch.bfloat16)
    found["bf16"] = partial(_with_any_threads, lambda inputs: half(_in_half(inputs)))
    return found


def _in_half(inputs: Tensor) -> Tensor:
    return inputs.to(torch.bfloat16) if inputs.is_floating_point() else inputs


def _variant(kind: str, network: str) -> str:
    return kind if network == "dense" else f"{kind}, {network}"


def _with_any_threads(network: Network, threads: int) -> Network:
    """Return the network; torch's number of threads is global."""
    return network


@torch.inference_mode()
def _runnable(found: dict[str, MakeNetwork], threads: int, about: About) -> dict[str, Network]:
    """Return the variants that run: some operations lack a sparse, bf16 or ONNX Runtime kernel."""
    networks = {}
    for name, make in found.items():
        with suppress(Exception):
            network = make(threads)
            network(about.example(2))
            networks[name] = network
    return networks


@torch.inference_mode()
def measure_in_turns(networks: dict[str, Network], inputs: Tensor) -> dict[str, tuple[float, ...]]:
    """Return the quartiles of the milliseconds of one call, by variant."""
    repeats: dict[str, int] = {}
    seconds = 0.0  # of a round
    times: dict[str, list[float]] = {}
    for name, network in networks.items():
        network(inputs)
        once = max(time_calls(network, inputs, 1), 1e-6)
        repeats[name] = max(1, round(SECONDS / once))
        seconds += repeats[name] * once
        times[name] = []
    for _ in range(min(ROUNDS, max(FEWEST, int(LONGEST / max(seconds, 1e-6))))):
        for name, network in networks.items():
            times[name].append(1000 * time_calls(network, inputs, repeats[name]))
    quartiles = partial(statistics.quantiles, n=4, method="inclusive")
    return {name: tuple(quartiles(measured)) for name, measured in times.items()}


def time_calls(network: Network, inputs: Tensor, repeats: int) -> float:
    """Return the seconds of one of several calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        network(inputs)
    return (time.perf_counter() - start) / repeats
