"""Networks and options that training on fake CUDA tensors is tried with."""

from dataclasses import dataclass

from tests.helpers.methods import NAMES, words


@dataclass(frozen=True)
class Network:
    """A network and its data: words of the command line, and the shape of an image."""

    words: tuple[str, ...]
    shape: tuple[int, int, int]
    classes: int = 10


def _on(data: str, model: str, shape: tuple[int, int, int], classes: int = 10) -> Network:
    return Network((f"data={data}", f"model={model}"), shape, classes)


SHORTENED = "lstm_a, 4 rows"  # of 28: the same calls, sooner
MNIST, CIFAR, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)
NETWORKS = {
    "lenet_300_100": _on("mnist", "lenet_300_100", MNIST),
    "lenet5": _on("mnist", "lenet5", MNIST),
    "lstm_a": _on("mnist", "lstm_a", MNIST),
    SHORTENED: _on("mnist", "lstm_a", (1, 4, 28)),
    "vgg16": _on("cifar10", "vgg16", CIFAR),
    "wrn_16_8": _on("cifar10", "wrn_16_8", CIFAR),
    "resnet50": _on("imagenet", "resnet50", IMAGENET, 1000),
}

BF16_TARGET = ("schedule.precision=bf16", "reg.target_density=0.05")
CASES: dict[str, tuple[str, ...]] = {
    "dense": ("reg=dense",),
    "neuron": (),
    "layer": ("reg.granularity=layer",),
    "weight": ("reg.granularity=weight",),
    "without guard": ("reg.floor=0",),
    "guard 0.9": ("reg.floor=0.01", "reg.guard=0.9"),
    "target": ("reg.target_density=0.05",),
    "target, weight": ("reg.target_density=0.05", "reg.granularity=weight"),
    "target, layer": ("reg.target_density=0.05", "reg.granularity=layer"),
    "freeze": ("reg.freeze=0.5",),
    "bf16": ("schedule.precision=bf16",),
    "bf16, channels last, target": (*BF16_TARGET, "schedule.channels_last=true"),
    "bf16, target, freeze, clip": (*BF16_TARGET, "reg.freeze=0.5", "schedule.clip=1"),
    "accumulate": ("schedule.accumulate=3",),
    "clip": ("schedule.clip=1",),
    "threshold clip, adam": ("schedule.threshold_clip=0.1", "schedule.optimiser=adam"),
    "threshold decay, adamw": ("schedule.threshold_decay=0", "schedule.optimiser=adamw"),
    "mixup": ("schedule.mixup=0.8",),
    "mixup, step": ("schedule.mixup=0.8", "schedule.compile=step"),
    "nesterov": ("schedule.optimiser=sgd", "schedule.nesterov=true"),
    "deterministic": ("deterministic=true",),
    "mask": ("schedule.compile=mask",),
    "mask, bf16, target, freeze": (*BF16_TARGET, "reg.freeze=0.5", "schedule.compile=mask"),
    "step": ("schedule.compile=step",),
    "step, adam": ("schedule.compile=step", "schedule.optimiser=adam"),
    "step, accumulate, guard 0.9": (
        "schedule.compile=step",
        "schedule.accumulate=2",
        "reg.guard=0.9",
    ),
    "step, bf16, target, freeze": (*BF16_TARGET, "reg.freeze=0.5", "schedule.compile=step"),
    "step, target, clip": (
        "schedule.compile=step",
        "reg.target_density=0.05",
        "schedule.clip=1",
        "schedule.threshold_clip=0.1",
    ),
    "dense, step": ("reg=dense", "schedule.compile=step"),
    "rigl, bf16, clip, adam": (
        *words("rigl"),
        "schedule.precision=bf16",
        "schedule.clip=1",
        "schedule.optimiser=adam",
    ),
    "rigl, step": (*words("rigl"), "schedule.compile=step"),
    "set, accumulate": (*words("set"), "schedule.accumulate=2"),
}
# with one case of each method of the registry, on one network; a fake weight cannot become fp64
UNLIKE = ("dense", "synflow")
OF_METHODS = {name: tuple(words(name)) for name in NAMES if name not in UNLIKE}
MATRIX = [
    (network, case)
    for network in ("lenet_300_100", "lenet5", SHORTENED, "vgg16", "wrn_16_8")
    for case in CASES
]
MATRIX += [("lenet_300_100", name) for name in OF_METHODS]
MATRIX += [(network, case) for network in ("lstm_a", "resnet50") for case in ("dense", "neuron")]
MATRIX.append(("resnet50", "bf16, channels last, target"))
CASES |= OF_METHODS

# Where a run may wait for the device, or copy from the host: the data when they are read, the order
# of an epoch at its start, scores before training, and figures. In a step only where masks move, or
# a state is kept to be rewound to.
MAY_WAIT = {
    "step": (
        "methods.fixed.method.FixedMaskMethod._take_masks",
        "methods.imp.IMP.before_step",
        "methods.snfs.SNFS._shares",
    ),
    "setup": (
        "data.batches.Batches.__init__",
        "data.batches.Order.__init__",
        "data.batches.Batches.shuffled",
        "methods.fixed.at_start.AtStart._choose",
        "methods.fixed.at_start.some_of_each_class",
        "methods.mask_history.MaskHistory.load_state_dict",
        "methods.dst.density_controller.DensityController.__init__",
        "methods.dst.density_controller.DensityController.load_state_dict",
        "methods.dst.masking._load_frozen",
        "methods.fixed.method.FixedMaskMethod._take_masks",
        "training.trainer.Trainer._restore",
    ),
    "batches": ("data.batches.Batches.shuffled",),
    "between steps": (
        "methods.fixed.method.FixedMaskMethod._take_masks",
        "methods.imp.IMP.end_round",
        "methods.mask_stats._read_rows",
        "training.divergence.not_finite",
        "training.recorder.Recorder.figures_so_far",
    ),
    "epoch end": (
        "methods.dst.method.DynamicSparseTraining.metrics",
        "methods.l1.L1.metrics",
        "methods.mask_stats._read_rows",
        "training.loop._training_figures",
    ),
    "evaluation": ("training.evaluate.evaluate",),
}
