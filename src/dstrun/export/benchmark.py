"""How fast a network is on this machine: dense, and in what else can be made of it. Ratios of one
run.

Variants take turns, round after round, so that what else the machine does meets all of them alike.
Knows shrink, csr and onnx_file."""

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
from dstrun.export.csr import to_csr
from dstrun.export.shrink import CannotShrinkError, shrink

BATCHES = (1, 64)
ROUNDS, SECONDS = 15, 0.03  # of each variant: so many measurements of at least so long
Network = Callable[[Tensor], object]


class Timed(NamedTuple):
    """One variant at one batch size and number of threads: milliseconds a batch, median and
    quartiles."""

    network: str
    threads: int
    batch: int
    median: float
    low: float
    high: float


def timings(model: nn.Module, shape: tuple[int, int, int], threads: int) -> Iterator[Timed]:
    """Of a plain model for images of that (C, H, W): on one thread, and on `threads`."""
    before = torch.get_num_threads()
    try:
        found = variants(model, shape)
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            made = _that_run(found, count, shape)
            for batch in BATCHES:
                images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
                for name, (low, median, high) in _in_turns(made, images).items():
                    yield Timed(name, count, batch, median, low, high)
    finally:
        torch.set_num_threads(before)


def variants(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, Callable[[int], Network]]:
    """dense, and by name what else can be made of the model on this machine; each for a number of
    threads."""
    made: dict[str, nn.Module] = {"dense": model}
    with suppress(CannotShrinkError):
        made["shrunk"] = shrink(model, torch.zeros(1, *shape))
    plain = dict(made)
    for name, network in plain.items():
        made[_beside("CSR", name)] = to_csr(deepcopy(network))
    found: dict[str, Callable[[int], Network]] = {
        name: partial(_itself, network) for name, network in made.items()
    }
    if not onnx.missing():
        for name, network in plain.items():
            with suppress(
                Exception
            ):  # torch's and ONNX's, of their own kinds, for what they cannot express
                found[_beside("ONNX Runtime", name)] = partial(
                    onnx.network, onnx.serialised(network, shape)
                )
    half = deepcopy(model).to(torch.bfloat16)
    found["bf16"] = partial(_itself, lambda images: half(images.to(torch.bfloat16)))
    return found


def _beside(kind: str, network: str) -> str:
    return kind if network == "dense" else f"{kind}, {network}"


def _itself(network: Network, threads: int) -> Network:
    """torch has one number of threads for all."""
    return network


@torch.inference_mode()
def _that_run(
    found: dict[str, Callable[[int], Network]], threads: int, shape: tuple[int, ...]
) -> dict[str, Network]:
    """Not every operation has a kernel for sparse matrices, or for bf16, or in ONNX Runtime."""
    made = {}
    for name, make in found.items():
        with suppress(Exception):
            network = make(threads)
            network(torch.zeros(2, *shape))
            made[name] = network
    return made


@torch.inference_mode()
def _in_turns(made: dict[str, Network], images: Tensor) -> dict[str, tuple[float, ...]]:
    """Quartiles of the milliseconds of one call, by variant."""
    repeats = {}
    for name, network in made.items():
        network(images)
        repeats[name] = max(1, round(SECONDS / max(_seconds(network, images, 1), 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, network in made.items():
            found[name].append(1000 * _seconds(network, images, repeats[name]))
    return {
        name: tuple(statistics.quantiles(times, n=4, method="inclusive"))
        for name, times in found.items()
    }


def _seconds(network: Network, images: Tensor, repeats: int) -> float:
    begun = time.perf_counter()
    for _ in range(repeats):
        network(images)
    return (time.perf_counter() - begun) / repeats
