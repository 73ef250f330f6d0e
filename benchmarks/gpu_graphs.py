"""A step never waits for the device, and nothing is compiled again once training is under way."""

import warnings

import torch
from gpu_child import Child, network, small_trainer
from torch._dynamo.utils import counters

from dstrun.training.loop import Progress
from dstrun.training.trainer import Trainer

TARGET, ADAM = "reg.target_density=0.4", ["schedule.optimiser=adam", "schedule.lr=0.001"]
MASK, STEP = "schedule.compile=mask", "schedule.compile=step"
CASES = {
    "eager": {
        "DST": [],
        "dense": ["reg=dense"],
        "weight": ["reg.granularity=weight"],
        "target": [TARGET],
        "guard": ["reg.guard=0.9"],
        "clip": ["schedule.clip=1", "schedule.threshold_clip=0.1"],
        "accumulate": ["schedule.accumulate=2"],
        "adam": ADAM,
        "bf16": ["schedule.precision=bf16", "schedule.channels_last=true"],
    },
    "compiled": {
        "mask": [MASK],
        "mask, target": [MASK, TARGET],
        "step": [STEP],
        "step, target": [STEP, TARGET],
        "dense step": [STEP, "reg=dense"],
        "step, adam": [STEP, *ADAM],
        "step, weight": [STEP, "reg.granularity=weight"],
    },
}
RATES = ["schedule.rate=multistep", "schedule.milestones=[1,2]", "schedule.epochs=4"]


def trainer(child: Child, words: list[str]) -> Trainer:
    """Return a trainer over four epochs with another rate each and a last small batch."""
    if child.tiny:
        return small_trainer(child.device, [*RATES, *words])
    shape = (1, 28, 28)
    build = network("lenet5", shape)
    words = [*RATES, "schedule.batch_size=32", *words]
    return small_trainer(child.device, words, build, shape=shape, images=32 * 6 + 16)


def compiled() -> int:
    """Return the number of graphs that were compiled so far in this process."""
    return counters["stats"]["unique_graphs"]


def waits(child: Child) -> None:
    """Train under torch's own watch for synchronisation.

    Not watched: an epoch's first step, for which its order is copied to the device, and the steps
    in which something is compiled or a CUDA graph is recorded.
    """
    for name, words in child.some(CASES[child.spec["which"]]).items():
        with child.case(name), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = waits_of(trainer(child, words), caught, child.is_cuda)
            child.say(waits={name: found[:5]}, ok={name: not found}, watched=child.is_cuda)


def waits_of(
    training: Trainer, caught: list[warnings.WarningMessage], is_cuda: bool
) -> list[tuple[int, str]]:
    """Return step and place of each operation in a step that waited for the device."""
    found: list[tuple[int, str]] = []
    begun, last = compiled(), -9

    def after_step(progress: Progress) -> bool:
        nonlocal begun, last
        if compiled() > begun:
            begun, last = compiled(), progress.step
        said = [w for w in caught if "synchronizing CUDA" in str(w.message)]
        if progress.step > last + 2:
            found.extend((progress.step, f"{w.filename}:{w.lineno}") for w in said)
        caught.clear()
        if is_cuda:
            more = progress.batch < len(training.batches)
            torch.cuda.set_sync_debug_mode("warn" if more else "default")
        return False

    try:
        for _ in training.records(after_step):
            caught.clear()
    finally:
        if is_cuda:
            torch.cuda.set_sync_debug_mode("default")
    return found


def recompilation(child: Child) -> None:
    """Count graphs after each step, over rates, small batches, freezing and resuming."""
    for name, words in child.some(CASES["compiled"]).items():
        with child.case(name):
            counters.clear()
            training, graphs = trainer(child, words), []
            steps = 4 * len(training.batches)
            for record in training.records(lambda _, graphs=graphs: graphs.append(compiled())):
                child.say(cudagraphs={name: recorded()}) if record.epoch == 3 else None
            at = [step for step in range(1, steps) if graphs[step] > graphs[step - 1]]
            frozen = round(0.8 * steps) if TARGET in words else steps
            epoch = len(training.batches)
            late = [step for step in at if epoch <= step < frozen or step > frozen + epoch]
            skipped = recorded().get("cudagraph_skips", 0) if child.is_cuda and STEP in words else 0
            good = not late and not skipped
            child.say(graphs={name: graphs[-1]}, compiled_at={name: at}, ok={name: good})


def recorded() -> dict[str, int]:
    """Return what torch's compiler counts of CUDA graphs: how many, and what was skipped."""
    return {key: count for key, count in counters["inductor"].items() if "cudagraph" in key}
