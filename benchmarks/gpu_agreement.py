"""The same training in several ways: eager and compiled, on the CPU and on the device."""

import tempfile
from pathlib import Path

import torch
from gpu_child import Child, finish, largest_difference, small_trainer

from dstrun.runs import checkpoint

ADAM = ["schedule.optimiser=adam", "schedule.lr=0.001"]
CASES = {
    "masks": {
        "neuron": [],
        "layer": ["reg.granularity=layer"],
        "weight": ["reg.granularity=weight"],
        "dense": ["reg=dense"],
    },
    "options": {
        "target": ["reg.target_density=0.4", "reg.freeze=0.6"],
        "adam": ADAM,
        "clip": ["schedule.clip=0.1", "schedule.threshold_clip=0.01"],
        "accumulate": ["schedule.accumulate=2"],
    },
    "bf16": {"bf16": ["schedule.precision=bf16", "schedule.epochs=1"]},
}
LARGEST = {"bf16": 0.05}  # of a weight or threshold; 1e-3 in the others, where sums differ alone
CPU = torch.device("cpu")


def agreement(child: Child) -> None:
    """Train a small network by each mode and compare with eager training on the device."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    which = child.spec["which"]
    modes = ["on the CPU", "mask", "step"]
    if child.tiny and which != "masks":  # a trial compiles once
        modes = modes[:1]
    for name, words in child.some(CASES[which]).items():
        eager = finish(small_trainer(child.device, words))
        for mode in modes:
            case = f"{name}: {mode}"
            with child.case(case):
                how = [] if mode == "on the CPU" else [f"schedule.compile={mode}"]
                device = CPU if mode == "on the CPU" else child.device
                apart = largest_difference(finish(small_trainer(device, [*words, *how])), eager)
                close = apart < LARGEST.get(which, 1e-3)
                child.say(differences={case: apart}, ok={case: close})


def devices(child: Child) -> None:
    """Resume a CPU's checkpoint on the device, and one of the device on the CPU."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    words = ["reg.target_density=0.4"]
    whole = finish(small_trainer(CPU, words))
    ways = {"begun on the CPU": (CPU, child.device), "ended on the CPU": (child.device, CPU)}
    for name, (first, second) in ways.items():
        with child.case(name):
            folder = Path(tempfile.mkdtemp(dir=child.work))
            begun = small_trainer(first, words)
            next(begun.records(lambda progress: progress.step == 6, evaluates=False))
            checkpoint.save(folder, begun.state_dict())
            state = checkpoint.load_newest(folder)
            apart = largest_difference(finish(small_trainer(second, words, state=state)), whole)
            child.say(differences={name: apart}, ok={name: apart < 1e-3})
