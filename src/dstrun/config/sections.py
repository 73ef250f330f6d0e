"""Options of the network, the data set, the sparsity and the schedule: a dataclass per section."""

from dataclasses import dataclass
from typing import Any

from dstrun.config.field import option
from dstrun.config.sparsity_options import WITH_DST, with_method

MODEL_BUILDERS = (
    "lenet_300_100",
    "lenet5",
    "lstm",
    "vgg",
    "wide_resnet",
    "resnet50",
    "resnet18",
    "cifar_resnet",
    "mobilenet_v2",
    "mlp",
    "vit",
    "gpt",
)

DATA_BUILDERS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "folder", "text")
# The gradient of a live filter's threshold is about this; that of a dead filter behind batch norm
# is 3.5 and more.
DEFAULT_THRESHOLD_CLIP = 0.1
WITH_SGD = ("schedule.optimiser", "sgd")
WITH_ADAM = ("schedule.optimiser", "adam", "adamw")
WITH_MULTISTEP = ("schedule.rate", "multistep")


@dataclass
class ModelConfig:
    """Options of the network."""

    name: str = option("", "Label of the network in run names, tables and plots")
    builder: str = option(
        "",
        f"Registered builder: {', '.join(MODEL_BUILDERS)}, timm:NAME or torchvision:NAME with a "
        "name of theirs, or that of an installed package",
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
        0,
        "Number of training images, the same ones for every seed, or of the first sequences of a "
        "text (0: all)",
        low=0,
    )
    test_limit: int = option(
        0,
        "Number of test images, the same ones for every seed, or of the first sequences of a text "
        "(0: all)",
        low=0,
    )
    stream: bool = option(
        False,
        "Whether to read images from their files when they are needed, random crops of them in "
        "training, instead of all at the start (folder)",
    )
    workers: int = option(
        -1,
        "Number of processes that read the images of a stream (-1: one per core, 0: none but the "
        "run's own)",
        low=-1,
        high=1024,
        identity=False,
    )
    validation: float = option(
        0.0,
        "Fraction of each class, or the last of a text, held out of training for validation "
        "(0: none)",
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
class ScheduleConfig:
    """Options of training: epochs, batches, optimiser, learning rate, precision."""

    epochs: int = option(20, "Number of passes over the training images", low=0)
    batch_size: int = option(64, "Number of images per step", low=1)
    accumulate: int = option(
        1, "Number of parts in which a batch is computed, to save memory", low=1
    )
    optimiser: str = option("sgd", "Optimiser", choices=("sgd", "adam", "adamw"))
    lr: float = option(0.01, "Base learning rate (onecycle: peak learning rate)", above=0)
    lr_per: int = option(
        0,
        "Batch size that schedule.lr is for: the rate is schedule.lr · schedule.batch_size / "
        "schedule.lr_per (0: schedule.lr as it stands)",
        low=0,
    )
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
    decay_norm_and_bias: bool = option(
        True, "Whether weight decay acts on biases and on the parameters of batch norm, too"
    )
    threshold_decay: float = option(
        1.0,
        "Factor on the weight decay of thresholds (paper: 1)",
        low=0,
        when=with_method("dst", "str"),
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
    label_smoothing: float = option(
        0.0,
        "Share of each training label that is spread over all classes. The training loss has it, "
        "held-out losses do not",
        low=0,
        below=1,
    )
    mixup: float = option(
        0.0,
        "Parameter a of the distribution Beta(a, a) of the shares in which two images of a batch, "
        "and their labels, are mixed for training (0: not mixed). Training figures are those of "
        "the mixed images",
        low=0,
    )
    sync_bn: bool = option(
        False,
        "Batch norm over the images of all ranks (GPUs, devices > 1), by torch's SyncBatchNorm. "
        "Without it every rank normalises its own, and only the running statistics are averaged",
    )
    ema: float = option(
        0.0,
        "Decay of an exponential moving average of the weights, which is then what is evaluated, "
        "exported and saved as the network (0: none). In step k it is at most (1 + k) / (10 + k)",
        low=0,
        below=1,
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

    @property
    def base_lr(self) -> float:
        """The learning rate in effect, scaled with the batch (Goyal et al., 2017) if asked to."""
        return self.lr * self.batch_size / self.lr_per if self.lr_per else self.lr
