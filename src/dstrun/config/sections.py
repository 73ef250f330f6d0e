"""Options of the network, the data set, the sparsity and the schedule: a dataclass per section."""

from dataclasses import dataclass
from typing import Any

from dstrun.config.field import option

MODEL_BUILDERS = ("lenet_300_100", "lenet5", "lstm", "vgg", "wide_resnet", "resnet50")
DATA_BUILDERS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "folder")
# The gradient of a live filter's threshold is about this; that of a dead filter behind batch norm
# is 3.5 and more.
DEFAULT_THRESHOLD_CLIP = 0.1
METHODS = (
    "dst",
    "dense",
    "static",
    "set",
    "rigl",
    "gmp",
    "one_shot",
    "imp",
    "snfs",
    "dsr",
    "snip",
    "grasp",
    "synflow",
    "granet",
    "str",
    "acdc",
    "l1",
)
# Beside the methods named, an option is for those of installed packages, as all with OTHERS are.
OTHERS = "other packages' methods"


def _with(*methods: str) -> tuple[str, ...]:
    return ("reg.method", *methods)


WITH_DST = _with("dst")
RANDOM_START = ("static", "set", "rigl", "snfs", "dsr", "granet")
GRADUAL = ("gmp", "granet")
AT_START = ("snip", "grasp", "synflow")
WITH_DENSITY = _with(
    "dst", *RANDOM_START, "gmp", "one_shot", "imp", *AT_START, "acdc", "l1", OTHERS
)
WITH_DISTRIBUTION = _with(*RANDOM_START, OTHERS)
WITH_STRUCTURE = _with("static", "set", "rigl", "gmp", "one_shot", "imp", *AT_START, OTHERS)
WITH_UPDATES = _with("set", "rigl", "snfs", "dsr", "gmp", "granet")
WITH_DROP = _with("set", "rigl", "snfs", "dsr", "granet")
WITH_START = _with("gmp", "one_shot", "granet", "acdc", "l1")
WITH_UNTIL = _with("set", "rigl", "snfs", "dsr", "gmp", "granet", "acdc")
WITH_SCOPE = _with("gmp", "one_shot", "imp", "granet", "acdc", "l1")
WITH_SGD = ("schedule.optimiser", "sgd")
WITH_ADAM = ("schedule.optimiser", "adam", "adamw")
WITH_MULTISTEP = ("schedule.rate", "multistep")


@dataclass
class ModelConfig:
    """Options of the network."""

    name: str = option("", "Label of the network in run names, tables and plots")
    builder: str = option(
        "",
        f"Registered builder: {', '.join(MODEL_BUILDERS)}, or that of an installed package",
    )
    args: dict[str, Any] = option({}, "Keyword arguments of the builder")


@dataclass
class DataConfig:
    """Options of the data set and its augmentation."""

    name: str = option("", "Label of the data set in run names, tables and plots")
    builder: str = option(
        "",
        f"Registered builder: {', '.join(DATA_BUILDERS)}, or that of an installed package",
    )
    args: dict[str, Any] = option({}, "Keyword arguments of the builder")
    root: str = option(
        "${oc.env:DSTRUN_DATA,data}", "Folder that contains the data sets", identity=False
    )
    download: bool = option(False, "Whether to download a data set that is missing", identity=False)
    train_limit: int = option(
        0, "Number of training images, the same ones for every seed (0: all)", low=0
    )
    test_limit: int = option(
        0, "Number of test images, the same ones for every seed (0: all)", low=0
    )
    validation: float = option(
        0.0,
        "Fraction of each class held out of training for validation (0: none)",
        low=0,
        below=1,
    )
    size: int = option(
        32, "Side length of the images, pixels, if the files do not fix it (folder)", low=1
    )
    mean: list[float] = option(
        [0.0], "Mean subtracted from pixels in [0, 1]: one value, or one per channel"
    )
    std: list[float] = option(
        [1.0],
        "Standard deviation by which the result is divided: one value, or one per channel",
        above=0,
    )
    pad: int = option(
        0, "Padding before a random crop to the original size, pixels (0: no crops)", low=0
    )
    flip: bool = option(False, "Mirroring of a random half of the training images")


@dataclass
class RegConfig:
    """Options of the sparsity."""

    method: str = option(
        "dst",
        "Method that makes the network sparse (dense: none), or that of an installed package",
        choices=METHODS,
        entry_points="dstrun.methods",
    )
    density: float = option(
        0.0,
        "Density to reach, of all masked layers together (0: not given). "
        "With reg.method=dst it is another word for reg.target_density",
        low=0,
        below=1,
        when=WITH_DENSITY,
    )
    alpha: float = option(
        5e-4, "Weight α of the penalty Σ exp(−t) on thresholds t", low=0, when=WITH_DST
    )
    granularity: str = option(
        "neuron",
        "Part of a layer that shares one threshold",
        choices=("neuron", "layer", "weight"),
        when=WITH_DST,
    )
    floor: float = option(
        0.01,
        "Layer density at or below which its thresholds are reset (0: never). "
        "With reg.target_density: at most a quarter of it",
        low=0,
        below=1,
        when=WITH_DST,
    )
    guard: float = option(
        0.0,
        "Factor applied at every step to the thresholds of a layer at the floor (0: reset to 0, "
        "as in the paper). With reg.target_density: at least 0.9",
        low=0,
        below=1,
        when=WITH_DST,
    )
    target_density: float = option(
        0.0,
        "Density at the end of training. α is adjusted automatically, starting at reg.alpha "
        "(0: α is constant)",
        low=0,
        below=1,
        when=WITH_DST,
    )
    freeze: float = option(
        1.0,
        "Fraction of the steps after which masks are frozen (1: never). "
        "With reg.target_density: at most 0.8",
        above=0,
        high=1,
        when=WITH_DST,
    )
    exclude: list[str] = option([], "Glob patterns of the names of layers that stay dense")
    distribution: str = option(
        "erk",
        "Distribution of the density over layers",
        choices=("uniform", "er", "erk"),
        when=WITH_DISTRIBUTION,
    )
    layer_densities: dict[str, Any] = option(
        {},
        "Densities of some layers, {glob pattern: density}. The others have reg.density",
        when=WITH_DISTRIBUTION,
    )
    structure: str = option(
        "none",
        "Pattern of the weights that are kept: fan_in (as many in each row), or N:M (N of every M "
        "that follow one another in a row)",
        pattern=r"none|fan_in|\d+:\d+",
        words="none, fan_in, or N:M such as 2:4",
        when=WITH_STRUCTURE,
    )
    every: int = option(
        0,
        "Number of steps between updates of the masks (0: one at the end of each epoch)",
        low=0,
        when=WITH_UPDATES,
    )
    drop: float = option(
        0.3,
        "Fraction of the kept weights that an update drops and replaces, at the first one",
        above=0,
        below=1,
        when=WITH_DROP,
    )
    drop_schedule: str = option(
        "constant",
        "Schedule of reg.drop (cosine: down to 0 at reg.until)",
        choices=("constant", "cosine"),
        when=_with("set", "rigl"),
    )
    start: float = option(
        0.0,
        "Fraction of the steps after which pruning begins",
        low=0,
        below=1,
        when=WITH_START,
    )
    until: float = option(
        1.0,
        "Fraction of the steps after which masks stay as they are",
        above=0,
        high=1,
        when=WITH_UNTIL,
    )
    scope: str = option(
        "global",
        "Part of the network whose weights are ranked together",
        choices=("global", "layer"),
        when=WITH_SCOPE,
    )
    regrow: bool = option(
        False,
        "Whether pruned weights go on learning and may come back",
        when=_with("gmp"),
    )
    rounds: int = option(
        0, "Number of prunings, each followed by schedule.epochs epochs", low=0, when=_with("imp")
    )
    rewind: str = option(
        "weights",
        "What starts again after a pruning: weights and learning rate, or the learning rate alone",
        choices=("weights", "learning_rate"),
        when=_with("imp"),
    )
    rewind_epoch: int = option(
        0, "Epoch from which a round starts again (0: the start)", low=0, when=_with("imp")
    )
    initial_density: float = option(
        0.5, "Density at the start", above=0, high=1, when=_with("granet")
    )
    images: int = option(
        128,
        "Number of training images by which weights are scored",
        low=1,
        when=_with("snip", "grasp"),
    )
    iterations: int = option(
        1, "Number of rounds of scoring and pruning", low=1, when=_with(*AT_START)
    )
    temperature: float = option(
        200.0, "Divisor of the logits while weights are scored", above=0, when=_with("grasp")
    )
    threshold_start: float = option(
        -3200.0,
        "Initial parameter s of the threshold sigmoid(s); with schedule.weight_decay it sets how "
        "sparse the network gets",
        when=_with("str"),
    )
    phase: float = option(
        0.05,
        "Length of a dense or sparse phase, fraction of the steps",
        above=0,
        below=1,
        when=_with("acdc"),
    )
    l1: float = option(1e-5, "Weight λ of the penalty Σ |W|", low=0, when=_with("l1"))
    cutoff: float = option(
        0.0,
        "Magnitude at or below which weights are pruned (0: as reg.density says)",
        low=0,
        when=_with("l1"),
    )
    args: dict[str, Any] = option(
        {}, "Keyword arguments of a method of an installed package", when=_with(OTHERS)
    )

    @property
    def is_steered(self) -> bool:
        """Return whether α is adjusted to reach a target density."""
        return self.method == "dst" and self.target_density > 0


@dataclass
class ScheduleConfig:
    """Options of training: epochs, batches, optimiser, learning rate, precision."""

    epochs: int = option(20, "Number of passes over the training images", low=0)
    batch_size: int = option(64, "Number of images per step", low=1)
    accumulate: int = option(
        1, "Number of parts in which a batch is computed, to save memory", low=1
    )
    optimiser: str = option("sgd", "Optimiser", choices=("sgd", "adam", "adamw"))
    lr: float = option(0.01, "Base learning rate (onecycle: peak learning rate)", above=0)
    momentum: float = option(0.9, "Momentum of SGD", low=0, below=1, when=WITH_SGD)
    nesterov: bool = option(False, "Nesterov momentum", when=WITH_SGD)
    betas: list[float] = option(
        [0.9, 0.999],
        "Decay rates of Adam's estimates of both moments",
        low=0,
        below=1,
        when=WITH_ADAM,
    )
    weight_decay: float = option(0.0, "Weight decay", low=0)
    threshold_decay: float = option(
        1.0,
        "Factor on the weight decay of thresholds (paper: 1)",
        low=0,
        when=_with("dst", "str"),
    )
    rate: str = option(
        "constant",
        "Learning-rate schedule",
        choices=("constant", "multistep", "cosine", "onecycle"),
    )
    milestones: list[int] = option(
        [],
        "Epochs after which the learning rate is multiplied by schedule.gamma",
        low=1,
        when=WITH_MULTISTEP,
    )
    gamma: float = option(
        0.1, "Factor on the learning rate at a milestone", above=0, when=WITH_MULTISTEP
    )
    warmup: float = option(
        0.0, "Number of epochs in which the learning rate first rises from 0 (0: none)", low=0
    )
    clip: float = option(0.0, "Upper bound on the norm of the gradient (0: none)", low=0)
    threshold_clip: float = option(
        0.0,
        "Bound on the gradients of thresholds (0: none). With reg.target_density, 0 means "
        f"{DEFAULT_THRESHOLD_CLIP} behind batch norm and for reg.granularity=layer",
        low=0,
        when=WITH_DST,
    )
    precision: str = option(
        "fp32",
        "Number format of the layers' arithmetic (fp32: TF32 in convolutions on a GPU, torch's "
        "default). Masks are computed in fp32",
        choices=("fp32", "bf16"),
    )
    channels_last: bool = option(
        False,
        "Memory layout with the channels innermost, of images and convolution weights; faster in "
        "bf16 on a GPU",
    )
    compile: str = option(
        "off",
        "Part of a step that torch.compile compiles: the masks (mask), or the forward and "
        "backward pass with the masks (step)",
        choices=("off", "mask", "step"),
    )
