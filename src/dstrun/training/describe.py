"""Lines of the console about a run: what is trained, and the result."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from dstrun.config.options import Config
from dstrun.config.sections import ScheduleConfig
from dstrun.config.sparsity import asked_density
from dstrun.runs.labels import quantity
from dstrun.runs.rounds import Rounds, rounds_of
from dstrun.runs.tasks import task_of
from dstrun.system.errors import InputError, error_line, first_line
from dstrun.system.machine import is_out_of_memory
from dstrun.training.ranks import OTHER_ENDED, is_of_lost_rank

# torch's words after the name of an operation, under use_deterministic_algorithms
WITHOUT_DETERMINISTIC_FORM = " does not have a deterministic implementation"
ALMOST_DENSE = 0.995
SPARSER = {  # of methods that are asked for no density: what prunes more
    "dst": "a higher reg.alpha",
    "str": "a reg.threshold_start nearer to 0, more schedule.weight_decay",
    "l1": "a higher reg.l1, a higher reg.cutoff",
}
NAMED = 3  # how many classes, options or weights left dense a line names


class Size(NamedTuple):
    """Size of a model: its own parameters, those with a mask, and those that a method adds."""

    parameters: int
    masked: int
    added: int


def data_line(name: str, data: Mapping[str, Any]) -> str:
    """Return 'pets: 40 training and 10 test images of 3×32×32, 2 classes (cat, dog)'.

    Of a text: 'kjv: 30,000 training and 3,000 test sequences of 128 bytes'. data: the record of the
    data in status.json.
    """
    parts = {"training": data["train"], "validation": data["validation"], "test": data["test"]}
    counts = [f"{count:,} {part}" for part, count in parts.items() if count]
    classes = data.get("class_names", [])
    some = [*classes[:NAMED], "…"] if len(classes) > NAMED else classes
    named = f" ({', '.join(some)})" if classes else ""
    shape = "×".join(map(str, data["shape"]))
    if len(data["shape"]) == 1:
        return f"{name}: {_enumeration(counts)} sequences of {shape} bytes"
    return f"{name}: {_enumeration(counts)} images of {shape}, {data['classes']} classes{named}"


def model_line(config: Config, size: Size, has_masks: bool) -> str:
    """Return 'lenet_300_100: 266,610 parameters, 266,200 weights in masked layers'."""
    masked = f", {size.masked:,} weights in masked layers" if has_masks else ", all of them dense"
    return f"{config.model.name}: {size.parameters:,} parameters{masked}"


def dense_line(weights: Mapping[str, int], reasons: Mapping[str, str], masked: int) -> str:
    """Return the number of weights without a mask, their share of all, and some names.

    weights, reasons: size of each such parameter, and why it has no mask. '' if there are none.
    """
    if not weights:
        return ""
    count = sum(weights.values())
    named = [f"{name} ({reasons[name]})" for name in list(weights)[:NAMED]]
    more = f" and {len(weights) - NAMED} more" if len(weights) > NAMED else ""
    return f"{count:,} weights, {count / (count + masked):.1%} of all: {', '.join(named)}{more}"


def schedule_line(
    config: Config,
    steps: int,
    recipe: str | None,
    changed: Sequence[str] = (),
    examples: str = "images",
) -> str:
    """Return '20 epochs of 23 steps, 64 images each; sgd, learning rate 0.01 (constant); recipe …'.

    steps: those of an epoch. examples: what a batch consists of.
    recipe, changed: name of the recipe, and options that have other values than in it.
    """
    schedule = config.schedule
    epochs = f"{quantity(schedule.epochs, 'epoch')} of {quantity(steps, 'step')}"
    rounds = f"{count} rounds of " if (count := rounds_of(config).count) > 1 else ""
    words = f"{rounds}{epochs}, {schedule.batch_size} {examples} each"
    words += f"; {schedule.optimiser}, learning rate {schedule.base_lr:g} ({schedule.rate})"
    if schedule.lr_per:
        words += f", {schedule.lr:g} per {schedule.lr_per} images"
    if schedule.ema:
        words += f"; weights averaged, decay {schedule.ema:g}"
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    but_for = f" but for {', '.join(changed[:NAMED])}{more}" if changed else ""
    return words + (f"; recipe {recipe}{but_for}" if recipe else "")


def round_words(rounds: Rounds, epoch: int) -> str:
    """Return 'round 2 of 4' for the first epoch of a round, '' for another; epochs from 0."""
    if rounds.count == 1 or not rounds.is_first(epoch):
        return ""
    return f"round {rounds.place(epoch)[0] + 1} of {rounds.count}"


def device_line(
    device: str, name: str, threads: int, schedule: ScheduleConfig, gpu: Sequence[str] = ()
) -> str:
    """Return 'cpu, 2 threads', or 'cuda:0, NVIDIA H100 (80 GiB), bf16, channels_last'.

    gpu: memory and number format of a GPU.
    """
    if not gpu:
        return f"{device}, {quantity(threads, 'thread')}"
    memory, *words = gpu
    if schedule.channels_last:
        words.append("channels_last")
    if schedule.compile != "off":
        words.append(f"compile={schedule.compile}")
    return ", ".join([device, f"{name} ({memory})", *words])


def ranks_line(ranks: int, images: int, examples: str = "images") -> str:
    """Return '2, each with 50 of the 100 images of a step'; '' for one rank."""
    if ranks == 1:
        return ""
    return f"{ranks}, each with {images / ranks:g} of the {images} {examples} of a step"


def density_words(masked: float, model: float | None, style: str = ".2%") -> str:
    """Return 'density 4.25%', or the densities of masked layers and of the model if they differ.

    style: format of a density.
    """
    if model is None or abs(model - masked) < 5e-7:
        return f"density {masked:{style}}"
    return f"density {masked:{style}} of masked layers, {model:{style}} of the model"


def result_line(summary: Mapping[str, Any], time: str) -> str:
    """Return 'test accuracy 96.66%  density 4.25%  multiply-adds 4.25%  14 of 26 parameters  2 s'.

    summary: the content of summary.json.
    """
    words, headline = [], task_of(summary).headline
    for split in ("validation", "test"):
        if (value := summary.get(headline.column(split))) is not None:
            words.append(f"{split} {headline.title} {headline.shown(value)}")
    words.append(density_words(summary["density"], summary["density_model"]))
    words.append(f"multiply-adds {summary['flops_fraction']:.2%}")
    words.append(f"{summary['parameters_kept']:,} of {summary['parameters']:,} parameters")
    return "  ".join([*words, time])


def begun_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a resumed run was begun with and no longer has, of status.json: device, ranks,
    decoder.
    """
    figures = "the figures to come may differ in their last digits"
    if before["device"] != now["device"]:
        yield f"begun on {before['device']}: {figures}"
    if before.get("ranks", 1) != now["ranks"]:
        yield f"begun on {quantity(before.get('ranks', 1), 'rank')}: {figures}"
    decoders = before.get("decoder"), now.get("decoder")
    if all(decoders) and decoders[0] != decoders[1]:
        yield f"begun with {decoders[0]}: pixels of {decoders[1]} may differ in their last bits"


def failure_line(error: BaseException, config: Config, device: str) -> str:
    """Return an error of a run in one line.

    With advice where memory, or a form of an operation that repeats bit for bit, lacks.
    """
    if is_of_lost_rank(error):
        return OTHER_ENDED
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        schedule = config.schedule
        pieces = f" in {schedule.accumulate} pieces" if schedule.accumulate > 1 else ""
        return (
            f"out of memory at schedule.batch_size={schedule.batch_size}{pieces} on {device}: "
            f"schedule.accumulate={2 * schedule.accumulate} computes the same batches in smaller "
            "pieces"
        )
    operation, found, _ = first_line(error).partition(WITHOUT_DETERMINISTIC_FORM)
    if not found:
        return error_line(error)
    return (
        f"deterministic=true: {operation} has no form on this device that repeats bit for bit; "
        "deterministic=false or device=cpu computes it"
    )


def advice(config: Config, density: float) -> str:
    """Return what prunes more where a run without a density to reach stayed dense, else ''."""
    way = SPARSER.get(config.reg.method, "")
    if not way or asked_density(config.reg) or density < ALMOST_DENSE or not config.schedule.epochs:
        return ""
    return f"almost nothing was pruned: {way} or more epochs prune more"


def next_commands(folder: Path, sparse: bool) -> dict[str, str]:
    """Return commands to type after a run, by their purpose; '' for export of a dense run."""
    export = f"dstrun export {quote(str(folder))} --to network.safetensors" if sparse else ""
    return {"compare": f"dstrun report {quote(str(folder.parent))}", "export": export}


def _enumeration(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
