"""Time of a step and of an epoch, kernels, memory: dense and sparse, in one process.

    build all variants → compile → say "ready" → "time" → rounds in which each variant trains alike

The ratio is taken within a round. The parent says "time" to one process at a time, so that the card
is its own; what is not compiled by then is left out.
"""

import statistics
from typing import Any

import torch
from common import SHAPES, VARIANTS, Training, base_of, training
from gpu_child import Child, made_up
from torch.profiler import ProfilerActivity, profile

from dstrun.data import Splits
from dstrun.methods.flops import multiply_adds
from dstrun.runs.rounds import Rounds
from dstrun.training.build import make_batches, make_rate_for
from dstrun.training.evaluate import evaluate
from dstrun.training.loop import Progress, train
from dstrun.training.prepare import Prepared


def speed(child: Child) -> None:
    """Time the variants of one network."""
    made = build(child, child.spec["variants"])
    first = next(iter(made.values()))
    count = multiply_adds(first.model, first.images[:1]).total
    flops = 6 * count * len(first.images)  # forward, and twice that backward
    child.say(gflop_a_step=flops / 1e9)
    ready = warmed_up(child, made)
    child.say(said="ready")
    while child.hear() != "time":
        pass
    time_steps(child, ready, flops)
    data = child.spec["words"][1].removeprefix("data=")
    for name, one in ready.items():
        with child.case(f"evaluation, {name}"):
            child.say(**evaluation_memory(child, name, one, data))
    if child.is_cuda:
        for name, one in ready.items():
            with child.case(f"profile, {name}"):
                child.say(profile={name: profiled(one)})
    if child.spec["epochs"]:
        for name in reversed(ready):  # compiled ones first, since time may cut off the rest
            with child.case(f"epoch, {name}"):
                child.say(**epoch(child, name, ready[name], data))


def build(child: Child, variants: list[str]) -> dict[str, Training]:
    """Return the variants, all built before one is compiled: building resets what is compiled."""
    words = [*child.spec["words"], f"device={child.device}", "seed=0"]
    return {name: training([*words, *VARIANTS[name]]) for name in variants}


def warmed_up(child: Child, made: dict[str, Training]) -> dict[str, Training]:
    """Do first steps of each variant, compiled steps first; return those there was time for."""
    ready: dict[str, Training] = {}
    for name, one in sorted(made.items(), key=lambda pair: "compile=step" not in pair[0]):
        if child.is_waited_for and "compile" in name and ready:
            child.say(left_out={name: "not compiled in time"})
            continue
        with child.case(name):
            before = begin_peak(child)
            first = child.seconds(lambda one=one: one.update(1))
            child.say(first_step_s={name: round(first, 2)})
            one.update(4)
            if child.is_cuda:
                child.say(update_peak_mib={name: peak(one, before)})
            ready[name] = one
    if child.is_cuda:
        torch.cuda.empty_cache()
    return {name: ready[name] for name in made if name in ready}


def begin_peak(child: Child) -> int:
    """Forget peaks of memory so far; return the bytes on the card now."""
    if not child.is_cuda:
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak(one: Training, before: int) -> int:
    """Return MiB on the card at most since `begin_peak`, with the model's own, without others'."""
    tensors = [*one.model.parameters(), *one.model.buffers()]
    own = sum(tensor.nbytes for tensor in tensors)
    return round((torch.cuda.max_memory_allocated() - before + own) / 2**20)


def time_steps(child: Child, made: dict[str, Training], flops: float) -> None:
    """Say the time of a step, its spread, and its ratio to the dense variant compiled alike."""
    each, rounds = (0.05, 3) if child.tiny else (0.15, 5)
    counts = {}
    for name, one in made.items():
        three = min(child.seconds(lambda one=one: one.update(3)) for _ in range(3))
        counts[name] = max(1, round(each / (three / 3)))
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, one in made.items():
            took = child.seconds(lambda one=one, name=name: one.update(counts[name]))
            times[name].append(took / counts[name])
    for name, values in times.items():
        middle = statistics.median(values)
        figures: dict[str, Any] = {"ms": 1e3 * middle, "tflops": flops / middle / 1e12}
        figures |= {"low": 1e3 * min(values), "high": 1e3 * max(values)}
        base = base_of(name, made)
        if name.startswith("DST") and base in made:
            ratios = [a / b for a, b in zip(values, times[base], strict=True)]
            figures |= {"ratio": statistics.median(ratios), "to": base}
        child.say(step={name: figures})


def prepared(child: Child, train_images: int, test_images: int, data: str) -> Prepared:
    """Return made-up images of a data set's shape, as a run has them."""
    shape = SHAPES[data]
    splits = Splits(made_up(train_images, shape), made_up(test_images, shape, seed=1), 10)
    return Prepared(child.device, splits, None, torch.nn.Identity)


def evaluation_memory(child: Child, name: str, one: Training, data: str) -> dict[str, Any]:
    """Return the peak of evaluating a few batches of the size that a run evaluates in."""
    if not child.is_cuda:
        return {}
    _, splits = make_batches(one.config, prepared(child, 64, 1024, data))
    before = begin_peak(child)
    evaluate(one.model, splits["test"](), one.one_update.autocast)
    return {"evaluation_peak_mib": {name: peak(one, before)}}


def epoch(child: Child, name: str, one: Training, data: str) -> dict[str, Any]:
    """Return seconds of an epoch with evaluation, and images a second.

    Two batches come first, of which the second is an epoch's last, smaller one.
    """
    images = 256 if child.tiny else 50_000 if data == "cifar10" else 60_000
    size, figures = one.config.schedule.batch_size, {}
    for count in (size + images % size, images):
        batches, splits = make_batches(one.config, prepared(child, count, images // 5, data))
        rate, progress = make_rate_for(one.config, len(batches)), Progress()
        records = train(one.one_update, batches, rate, splits, rounds=Rounds(1), progress=progress)
        figures = [record.figures for record in records][-1]
    seconds, speed = figures["seconds"], figures["images_per_second"]
    return {"epoch_s": {name: seconds}, "images_a_second": {name: speed}}


def profiled(one: Training, updates: int = 5) -> dict[str, float]:
    """Return a step's launches of kernels or graphs, its kernels, and the card's time in them."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        one.update(updates)
    kernels = [e for e in found.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    launches = [e for e in found.events() if "LaunchKernel" in e.name or "GraphLaunch" in e.name]
    figures = {"launches": len(launches), "kernels": len(kernels)}
    figures["busy_ms"] = sum(event.device_time_total for event in kernels) / 1e3
    return {name: value / updates for name, value in figures.items()}


def share(child: Child) -> None:
    """Train one variant whenever the parent says how many processes do; say ms a step."""
    name = child.spec["variants"][-1]
    (one,) = warmed_up(child, build(child, [name])).values()
    child.say(said="ready")
    while (word := child.hear()) != "end":
        count = max(1, round((0.3 if child.tiny else 2.0) / child.seconds(lambda: one.update(1))))
        took = child.seconds(lambda count=count: one.update(count))
        child.say(ms={word: 1e3 * took / count})
        child.say(said=f"did {word}")
