"""Options of the sparsity, and the methods that each of them applies to."""

from dataclasses import dataclass
from typing import Any

from dstrun.config.field import option

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
SEARCHED = {  # words that people look for: the methods here
    "lth": ("imp",),
    "lottery": ("imp",),
    "lottery_ticket": ("imp",),
    "magnitude": ("gmp", "one_shot"),
    "prune": ("gmp", "one_shot"),
    "pruning": ("gmp", "one_shot"),
    "itop": ("rigl", "set"),
    "srigl": ("rigl reg.structure=fan_in",),
    "random": ("static",),
    "sparse_momentum": ("snfs",),
    "lasso": ("l1",),
    "none": ("dense",),
    "baseline": ("dense",),
}
# Beside the methods named, an option is for those of installed packages, as all with OTHERS are.
OTHERS = "other packages' methods"

STRUCTURES = "none, fan_in, or N:M such as 2:4, with N < M"


def with_method(*methods: str) -> tuple[str, ...]:
    """Return the `when` of an option for some methods."""
    return ("reg.method", *methods)


WITH_DST = with_method("dst")
RANDOM_START = ("static", "set", "rigl", "snfs", "dsr", "granet")
AT_START = ("snip", "grasp", "synflow")
WITH_DENSITY = with_method(
    "dst", *RANDOM_START, "gmp", "one_shot", "imp", *AT_START, "acdc", "l1", OTHERS
)
WITH_DISTRIBUTION = with_method(*RANDOM_START, OTHERS)
WITH_STRUCTURE = with_method("static", "set", "rigl", "gmp", "one_shot", "imp", *AT_START, OTHERS)
WITH_UPDATES = with_method("set", "rigl", "snfs", "dsr", "gmp", "granet", OTHERS)
WITH_DROP = with_method("set", "rigl", "snfs", "dsr", "granet", OTHERS)
WITH_START = with_method("gmp", "one_shot", "granet", "acdc", "l1", OTHERS)
WITH_UNTIL = with_method("set", "rigl", "snfs", "dsr", "gmp", "granet", "acdc", OTHERS)
WITH_SCOPE = with_method("gmp", "one_shot", "imp", "acdc", "l1", OTHERS)


@dataclass
class RegConfig:
    """Options of the sparsity."""

    method: str = option(
        "dst",
        "Method that makes the network sparse (dense: none), or that of an installed package",
        choices=METHODS,
        entry_points="reg",
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
    include: list[str] = option([], "Glob patterns of the names of embeddings that get a mask")
    tied: str = option(
        "leave",
        "Whether weights that layers share stay dense (leave) or have one mask (share)",
        choices=("leave", "share"),
    )
    distribution: str = option(
        "erk",
        "Distribution of the density over layers",
        choices=("uniform", "er", "erk"),
        when=WITH_DISTRIBUTION,
    )
    layer_densities: dict[str, Any] = option(
        {},
        "Densities of some layers, {glob pattern: density}. The others keep what is left of "
        "reg.density",
        when=WITH_DISTRIBUTION,
    )
    structure: str = option(
        "none",
        "Pattern of the weights that are kept: fan_in (as many in each row), or N:M (N of every M "
        "inputs of a neuron or filter). The density of N:M is N / M",
        pattern=r"none|fan_in|\d+:\d+",
        words=STRUCTURES,
        when=WITH_STRUCTURE,
    )
    every: int = option(
        0,
        "Number of steps between updates of the masks (0: one between epochs)",
        low=0,
        when=WITH_UPDATES,
    )
    drop: float = option(
        0.3,
        "Fraction of the kept weights that an update drops and replaces, at the first one "
        "(snfs and granet: down to 0.005 along a cosine; dsr: about so much at each)",
        above=0,
        below=1,
        when=WITH_DROP,
    )
    drop_schedule: str = option(
        "constant",
        "Schedule of reg.drop (cosine: down to 0 at reg.until)",
        choices=("constant", "cosine"),
        when=with_method("set", "rigl", OTHERS),
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
        "Fraction of the steps after which masks stay as they are (granet: the density alone)",
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
        when=with_method("gmp"),
    )
    rounds: int = option(
        0,
        "Number of prunings, each after a round of training of schedule.epochs epochs",
        low=0,
        when=with_method("imp"),
    )
    rewind: str = option(
        "weights",
        "What starts again after a pruning: weights and learning rate, or the learning rate alone",
        choices=("weights", "learning_rate"),
        when=with_method("imp"),
    )
    rewind_epoch: int = option(
        0, "Epoch from which a round starts again (0: the start)", low=0, when=with_method("imp")
    )
    initial_density: float = option(
        0.5, "Density at the start", above=0, high=1, when=with_method("granet")
    )
    images: int = option(
        128,
        "Number of training images by which weights are scored (0: ten of each class)",
        low=0,
        when=with_method("snip", "grasp"),
    )
    iterations: int = option(
        1, "Number of rounds of scoring and pruning", low=1, when=with_method(*AT_START)
    )
    temperature: float = option(
        200.0, "Divisor of the logits while weights are scored", above=0, when=with_method("grasp")
    )
    threshold_start: float = option(
        -3200.0,
        "Initial parameter s of the threshold sigmoid(s); with schedule.weight_decay it sets how "
        "sparse the network gets",
        when=with_method("str"),
    )
    phase: float = option(
        0.05,
        "Length of a dense or sparse phase, fraction of the steps",
        above=0,
        below=1,
        when=with_method("acdc"),
    )
    l1: float = option(1e-5, "Weight λ of the penalty Σ |W|", low=0, when=with_method("l1"))
    cutoff: float = option(
        0.0,
        "Magnitude at or below which weights are pruned (0: as reg.density says)",
        low=0,
        when=with_method("l1"),
    )
    args: dict[str, Any] = option(
        {}, "Keyword arguments of a method of an installed package", when=with_method(OTHERS)
    )

    @property
    def is_steered(self) -> bool:
        """Return whether α is adjusted to reach a target density."""
        return self.method == "dst" and self.target_density > 0
