"""How fast a network is on this machine: dense, and in what else can be made of it. Ratios of one run.

Variants take turns, round after round, so that what else the machine does meets all of them alike. Knows shrink, csr
and onnx_file.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dstrun import onnx_file
from dstrun.csr import to_csr
from dstrun.shrink import CannotShrinkError, shrink

BATCHES = (1, 64)
ROUNDS, SECONDS = 15, 0.03  # of each variant: so many measurements of at least so long
Network = Callable[[Tensor], object]


class Timed(NamedTuple):
    """One variant at one batch size and number of threads: milliseconds a batch, median and quartiles."""

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
        for count in sorted({1, threads}):
            torch.set_num_threads(count)
            made = variants(model, shape, count)
            for batch in BATCHES:
                images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
                for name, (low, median, high) in _in_turns(made, images).items():
                    yield Timed(name, count, batch, median, low, high)
    finally:
        torch.set_num_threads(before)


def variants(model: nn.Module, shape: tuple[int, int, int], threads: int) -> dict[str, Network]:
    """dense, and by name what else can be made of the model on this machine."""
    made: dict[str, Network] = {"dense": model}
    smaller: nn.Module | None = None
    with suppress(CannotShrinkError):
        made["shrunk"] = smaller = shrink(model, torch.zeros(1, *shape))
    made["CSR"] = to_csr(deepcopy(model))
    if smaller is not None:
        made["CSR, shrunk"] = to_csr(deepcopy(smaller))
    if not onnx_file.missing():
        with suppress(Exception):  # torch's and ONNX's, of their own kinds, for what they cannot express
            made["ONNX Runtime"] = _in_onnx_runtime(model, shape, threads)
            if smaller is not None:
                made["ONNX Runtime, shrunk"] = _in_onnx_runtime(smaller, shape, threads)
    half = deepcopy(model).to(torch.bfloat16)
    made["bf16"] = lambda images: half(images.to(torch.bfloat16))
    return {name: network for name, network in made.items() if _runs(network, shape)}


@torch.inference_mode()
def _runs(network: Network, shape: tuple[int, int, int]) -> bool:
    """Not every operation has a kernel for sparse matrices, or for bf16."""
    try:
        network(torch.zeros(2, *shape))
    except Exception:
        return False
    return True


def _in_onnx_runtime(model: nn.Module, shape: tuple[int, int, int], threads: int) -> Network:
    with TemporaryDirectory() as place:
        file = Path(place, "model.onnx")
        onnx_file.write(file, model, shape)
        return onnx_file.read(file, threads)


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
    return {name: tuple(statistics.quantiles(times, n=4, method="inclusive")) for name, times in found.items()}


def _seconds(network: Network, images: Tensor, repeats: int) -> float:
    begun = time.perf_counter()
    for _ in range(repeats):
        network(images)
    return (time.perf_counter() - begun) / repeats
