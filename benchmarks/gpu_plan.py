"""What `benchmarks/gpu.py` does, in which order, and how its time is divided; needs no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

KINDS = ("facts", "checks", "speed", "share", "runs")
# Of the time that is left when a phase begins, it gets its weight over those of the phases to come.
WEIGHTS = {"facts": 0.08, "checks": 0.42, "speed": 0.25, "share": 0.05, "runs": 0.2}

DENSE, EAGER, MASK = "dense", "DST, eager", "DST, compile=mask"
DENSE_STEP, STEP = "dense, compile=step", "DST, compile=step"  # keys of VARIANTS in common.py
ALL = (DENSE, EAGER, MASK, DENSE_STEP, STEP)
BF16 = ("schedule.precision=bf16", "schedule.channels_last=true")
DATA = {
    "vgg16": "cifar10",
    "wrn_16_8": "cifar10",
    "lenet_300_100": "mnist",
    "lstm_a": "mnist",
    "resnet50": "imagenet",
}


@dataclass(frozen=True)
class Part:
    """One process: its name, its kind, the job that gpu_part.py runs, and what that is told."""

    name: str
    kind: str
    job: str
    arguments: dict[str, Any]


def timing(
    model: str,
    batch: int,
    precision: str,
    variants: Sequence[str] = ALL,
    epochs: bool = False,
    more: Sequence[str] = (),
) -> Part:
    """Return a part that times the variants of a network, and epochs of them if asked."""
    words = [f"model={model}", f"data={DATA[model]}", f"schedule.batch_size={batch}", *more]
    words += BF16 if precision == "bf16" else ()
    name = f"{model} {batch} {precision}"
    arguments = {"words": words, "variants": list(variants), "epochs": epochs}
    return Part(name, "speed", "speed", arguments)


EAGER_ONLY, THREE, COMPILED = (DENSE, EAGER), (DENSE, EAGER, MASK), (DENSE_STEP, STEP)
SPEED = (  # what matters most comes first, so that a cut at the budget costs the least
    timing("vgg16", 64, "bf16", epochs=True),
    timing("wrn_16_8", 64, "bf16"),
    timing("resnet50", 256, "bf16", COMPILED),
    timing("vgg16", 512, "bf16", epochs=True),
    timing("wrn_16_8", 128, "bf16"),
    timing("vgg16", 128, "bf16", epochs=True),
    timing("lenet_300_100", 64, "fp32", epochs=True),
    timing("vgg16", 64, "fp32"),
    timing("lstm_a", 64, "fp32", THREE),
    timing("wrn_16_8", 512, "bf16"),
    timing("wrn_16_8", 64, "fp32", THREE),
    timing("vgg16", 512, "fp32", THREE),
    timing("vgg16", 128, "fp32", THREE),
    timing("wrn_16_8", 128, "fp32", THREE),
    timing("lenet_300_100", 128, "fp32", THREE),
    timing("lenet_300_100", 512, "fp32", THREE),
    timing("lstm_a", 128, "fp32", THREE),
    timing("lstm_a", 512, "fp32", THREE),
    timing("wrn_16_8", 512, "fp32", THREE),
)
# Processes of one network at once; the counts are tried one after the other.
SHARING = (1, 2, 4)
SHARED = [Part(f"share {n + 1}", "share", "share", {**SPEED[0].arguments}) for n in range(4)]
CHECKS = [
    Part(name, "checks", job, arguments)
    for name, job, arguments in (
        ("reference", "reference", {}),
        ("no wait, eager", "waits", {"which": "eager"}),
        ("agreement of masks", "agreement", {"which": "masks"}),
        ("agreement of options", "agreement", {"which": "options"}),
        ("agreement in bf16", "agreement", {"which": "bf16"}),
        ("no wait, compiled", "waits", {"which": "compiled"}),
        ("no recompilation", "recompilation", {}),
        ("resume, off", "resume", {"compile": "off"}),
        ("resume, mask", "resume", {"compile": "mask"}),
        ("resume, step", "resume", {"compile": "step"}),
        ("two processes, first", "repeat", {}),
        ("two processes, second", "repeat", {"own_caches": True}),
        ("checkpoints across devices", "devices", {}),
        ("commands", "commands", {}),
        ("sweep of four", "sweep", {}),
        ("out of memory", "memory", {}),
    )
]
TINY_SPEED = (
    timing("lenet_300_100", 16, "fp32", EAGER_ONLY, True, ["data.train_limit=256"]),
    timing("vgg16", 2, "bf16", EAGER_ONLY, False, ["model.args.depth=11"]),
)
TINY_SHARING = (1, 2)
TINY_SHARED = [
    Part(f"share {n + 1}", "share", "share", {**TINY_SPEED[0].arguments}) for n in range(2)
]


@dataclass(frozen=True)
class Row:
    """One row of table 2: the group of its runs, words of the command, and seconds an epoch.

    `network` is the part whose figures tell how long an epoch takes; `guess`: seconds without them.
    """

    name: str
    group: str
    words: tuple[str, ...]
    network: str
    guess: float
    epochs: int = 160


VGG, WRN = ("model=vgg16", "data=cifar10"), ("model=wrn_16_8", "data=cifar10")
BEST_VGG = ("experiment=best_vgg16", "reg.target_density=0.05")
BEST_WRN = ("experiment=best_wrn_16_8", "reg.target_density=0.05")
OF_VGG, OF_WRN = ("vgg16 64 bf16", 3.0), ("wrn_16_8 64 bf16", 12.0)
ROWS = (
    Row("VGG-16 DST, α 5e-6", "table2", (*VGG, "reg.alpha=5e-6"), *OF_VGG),
    Row("VGG-16, our recipe at 5 %", "best_table2", (*VGG, *BEST_VGG), *OF_VGG),
    Row("VGG-16 dense", "table2", (*VGG, "reg=dense"), *OF_VGG),
    Row("WRN-16-8, our recipe at 5 %", "best_table2", (*WRN, *BEST_WRN), *OF_WRN),
    Row("WRN-16-8 DST, α 1.5e-5", "table2", (*WRN, "reg.alpha=1.5e-5"), *OF_WRN),
)
TINY_WORDS = ("model=lenet_300_100", "data=digits", "schedule.epochs=2", "schedule.batch_size=64")
TINY_ROWS = (Row("LeNet-300-100 on digits", "tiny", TINY_WORDS, "", 1.0, 2),)


def parts(tiny: bool) -> list[Part]:
    """Return all parts but the real runs, in the order of their importance."""
    speed, shared = (TINY_SPEED, TINY_SHARED) if tiny else (SPEED, SHARED)
    return [Part("facts", "facts", "facts", {}), *CHECKS, *speed, *shared]


def chosen(words: Sequence[str], tiny: bool) -> list[Part]:
    """Return the parts of these kinds, or whose names hold one of the words; all without words.

    Raises ValueError for a word that matches nothing.
    """
    everything = [*parts(tiny), Part("runs", "runs", "", {})]
    found = [part for part in everything if not words or any(map(matches(part), words))]
    for word in words:
        if not any(matches(part)(word) for part in everything):
            names = "; ".join(part.name for part in everything if part.name not in KINDS)
            kinds = ", ".join(KINDS)
            raise ValueError(
                f"got {word!r}, expected {kinds}, or part of one of the names: {names}"
            )
    return found


def matches(part: Part) -> Callable[[str], bool]:
    """Return the test whether a word means this part."""
    return lambda word: word == part.kind or word in part.name


def until(phase: str, phases: Sequence[str], now: float, end: float) -> float:
    """Return when a phase that begins now has to end; what earlier phases left is divided anew."""
    later = KINDS[KINDS.index(phase) + 1 :]
    to_come = [phase, *(name for name in later if name in phases)]
    share = WEIGHTS[phase] / sum(WEIGHTS[name] for name in to_come)
    return now + (end - now) * share


def interleaved(*queues: Sequence[Part]) -> list[Part]:
    """Return one queue that takes from each in turn, each in its own order."""
    return [part for turn in zip_longest(*queues) for part in turn if part is not None]


def seeds_at_once(
    seconds_left: float, epoch: float, epochs: int, sharing: dict[int, float], most: int
) -> int:
    """Return how many runs of a row to train side by side: the most that end in time and pay.

    epoch: seconds of one run alone. sharing: how many times longer a step takes, by the number of
    processes; one more has to bring 10 % more work done. 1 where none would end in time: its
    checkpoint is kept.
    """
    start = 40.0  # to import, to read the data, to compile
    best, rate = 1, 1.0
    for count, slower in sorted(sharing.items()):
        ends = start + epoch * epochs * slower <= seconds_left
        if count <= most and ends and count / slower >= 1.1 * rate:
            best, rate = count, count / slower
    return best
