"""The options of a run in groups: network, data set, sparsity and schedule, each a dataclass."""

from dataclasses import dataclass
from typing import Any

from dstrun.config.field import option

STEADY = 0.1  # about the gradient of a live filter's threshold; a dead one's, through batch norm, is 3.5 and far more


@dataclass
class ModelConfig:
    name: str = option("", "label of the network, in names, tables and plots")
    builder: str = option(
        "", "registered builder: lenet_300_100, lenet5, lstm, vgg, wide_resnet, resnet50, or yours"
    )
    args: dict[str, Any] = option({}, "keyword arguments of the builder")


@dataclass
class DataConfig:
    name: str = option("", "label of the data set, in names, tables and plots")
    builder: str = option(
        "", "registered builder: digits, mnist, fashion_mnist, cifar10, cifar100, folder, or yours"
    )
    args: dict[str, Any] = option({}, "keyword arguments of the builder")
    root: str = option("${oc.env:DSTRUN_DATA,data}", "folder the data lies below", identity=False)
    download: bool = option(False, "fetch the data set where it is missing", identity=False)
    train_limit: int = option(
        0, "number of training images, chosen once for all seeds (0: all)", low=0
    )
    test_limit: int = option(0, "number of test images, chosen once for all seeds (0: all)", low=0)
    validation: float = option(
        0.0, "share of each class held out of training for validation", low=0, below=1
    )
    size: int = option(
        32, "side of the images, pixels, where the files leave it open (folder)", low=1
    )
    mean: list[float] = option(
        [0.0], "subtracted from pixels in [0, 1]: one value, or one a channel"
    )
    std: list[float] = option(
        [1.0], "divides them after that: one value, or one a channel", above=0
    )
    pad: int = option(0, "random crops after padding by so many pixels", low=0)
    flip: bool = option(False, "mirror half of the training images")


@dataclass
class RegConfig:
    method: str = option("dst", "what makes the network sparse", choices=("dst", "dense"))
    alpha: float = option(
        5e-4, "weight of the penalty Σ exp(−t)", low=0, when=("reg.method", "dst")
    )
    granularity: str = option(
        "neuron",
        "what shares a threshold",
        choices=("neuron", "layer", "weight"),
        when=("reg.method", "dst"),
    )
    floor: float = option(
        0.01,
        "density at or under which the guard sets in on a layer's thresholds (0: never); with a target_density a "
        "quarter of that at most",
        low=0,
        below=1,
        when=("reg.method", "dst"),
    )
    guard: float = option(
        0.0,
        "what the guard multiplies thresholds by at every update (0: the paper's reset to 0); with a target_density "
        "0.9 at least",
        low=0,
        below=1,
        when=("reg.method", "dst"),
    )
    target_density: float = option(
        0.0,
        "density to end at, alpha being steered there from reg.alpha on (0: alpha stays as it is)",
        low=0,
        below=1,
        when=("reg.method", "dst"),
    )
    freeze: float = option(
        1.0,
        "share of the updates after which masks stay as they are (1: never); with a target_density 0.8 at most",
        above=0,
        high=1,
        when=("reg.method", "dst"),
    )
    exclude: list[str] = option([], "globs of layer names left dense")

    @property
    def steered(self) -> bool:
        """Whether α is steered to a density."""
        return self.method == "dst" and self.target_density > 0


@dataclass
class ScheduleConfig:
    epochs: int = option(20, "passes over the training images", low=0)
    batch_size: int = option(64, "images an update", low=1)
    accumulate: int = option(1, "pieces a batch is computed in, to save memory", low=1)
    optimiser: str = option("sgd", "update rule", choices=("sgd", "adam", "adamw"))
    lr: float = option(
        0.01, "learning rate: the base of the rate, or its peak for onecycle", above=0
    )
    momentum: float = option(0.9, "momentum", low=0, below=1, when=("schedule.optimiser", "sgd"))
    nesterov: bool = option(False, "Nesterov's momentum", when=("schedule.optimiser", "sgd"))
    betas: list[float] = option(
        [0.9, 0.999],
        "Adam's two decay rates",
        low=0,
        below=1,
        when=("schedule.optimiser", "adam", "adamw"),
    )
    weight_decay: float = option(0.0, "weight decay", low=0)
    threshold_decay: float = option(
        1.0,
        "share of the weight decay that thresholds get (the paper: 1)",
        low=0,
        when=("reg.method", "dst"),
    )
    rate: str = option(
        "constant",
        "course of the learning rate",
        choices=("constant", "multistep", "cosine", "onecycle"),
    )
    milestones: list[int] = option(
        [],
        "epochs at which the rate is multiplied by gamma",
        low=1,
        when=("schedule.rate", "multistep"),
    )
    gamma: float = option(
        0.1, "factor at a milestone", above=0, when=("schedule.rate", "multistep")
    )
    warmup: float = option(0.0, "epochs over which the rate first rises from 0", low=0)
    clip: float = option(0.0, "bound on the norm of the gradient (0: none)", low=0)
    threshold_clip: float = option(
        0.0,
        f"bound on thresholds' gradients (0: none, but {STEADY} with a target_density behind batch norm or of layers)",
        low=0,
        when=("reg.method", "dst"),
    )
    precision: str = option(
        "fp32",
        "arithmetic of the layers (fp32 as torch does it: TF32 in a GPU's convolutions); masks are fp32",
        choices=("fp32", "bf16"),
    )
    channels_last: bool = option(
        False,
        "convolutions' weights and images with the channels innermost, as a GPU's bf16 units want them",
    )
    compile: str = option(
        "off",
        "what torch.compile makes faster: the masks, or the masks and the forward and backward pass of a step",
        choices=("off", "mask", "step"),
    )
