"""Notes on a checked config: options without effect, schedules longer than the run, no recipe."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from types import MappingProxyType

from dstrun.config.messages import condition
from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.sections import DEFAULT_THRESHOLD_CLIP
from dstrun.runs.identity import applies, compiles
from dstrun.runs.rounds import rounds_of
from dstrun.runs.target_density import as_used
from dstrun.runs.trackers.start import other_trackers
from dstrun.runs.wandb_options import wandb_options
from dstrun.training.data_notes import reason_in_data
from dstrun.training.recipes import BASE, TUNED, nearest_recipes, recipe_of, value_words

WITHOUT_CONVOLUTIONS = ("lenet_300_100", "lstm", "mlp", "gpt")
FOR_SWEEPS = ("n_jobs", "retry")
MOST = 8  # notes on a sweep
WITH_TARGET = "there is a reg.target_density"


def notes(config: Config, given: Set[str] = frozenset(), launcher: str = "local") -> list[str]:
    """Return a line for each thing in the config of a single run that its user may not expect.

    given: the keys on the command line. Only they can be without effect: what a recipe or an
    experiment sets is no mistake of the user's.
    """
    found = _without_effect(config, given, is_sweep=False)
    lines = [f"{key} has no effect: {reason}" for key, reason in found]
    lines += _cautions(config, given)
    if launcher != "local":
        lines.append(
            f"hydra/launcher={launcher} has no effect: it is for sweeps, and this is one run"
        )
    return lines


def sweep_notes(
    configs: Sequence[Config],
    given: Set[str] = frozenset(),
    combinations: int = 0,
    repeated: Mapping[str, Config] = MappingProxyType({}),
) -> list[str]:
    """Return the notes on the runs of a sweep, each once.

    An option is without effect in a sweep if it is without effect in every run; a density, which
    reads as if all were to reach it, in some. `repeated`: keys in which some of the `combinations`
    of the sweep differ and are the same run, with its config.
    """
    counts: Counter[tuple[str, str]] = Counter()
    cautions: dict[str, None] = {}  # as a set in order
    for config in configs:
        counts.update(_without_effect(config, given, is_sweep=True))
        cautions |= dict.fromkeys(_cautions(config, given))
    lines = []
    for (key, reason), runs in counts.items():
        if runs == len(configs):
            lines.append(f"{key} has no effect: {reason}")
        elif key == "reg.density" and key not in repeated:
            lines.append(f"{key} has no effect in {runs} of {len(configs)} runs: {reason}")
    lines += cautions
    if len(configs) == 1:
        lines.append("this sweep is one run: no option that tells runs apart has several values")
    elif repeated:
        reasons = []
        for key, config in repeated.items():
            reasons.append(f"{key} ({_reason(config, key, True) or 'it tells no runs apart'})")
        different = f"{combinations} combinations are {len(configs)} different runs"
        lines.append(f"{different}, since some differ only in {' and '.join(reasons)}")
    if len(lines) > MOST:
        lines[MOST:] = [f"{len(lines) - MOST} more notes"]
    return lines


def gpu_notes(configs: Sequence[Config]) -> list[str]:
    """Return a note on the options that make runs on a GPU faster, or [] if all have them."""
    faster, reasons = [], []
    if any(one.reg.method == "dst" and one.schedule.compile == "off" for one in configs):
        faster.append("schedule.compile=step (or mask)")
        reasons.append("a step of dst launches up to four times as many kernels as a dense one")
    if any(_has_slow_layout(config) for config in configs):
        faster.append("schedule.channels_last=true")
        reasons.append("convolutions in bf16 read the channels innermost")
    if not faster:
        return []
    verb = "are" if len(faster) > 1 else "is"
    return [f"on a GPU {' and '.join(faster)} {verb} faster: {', and '.join(reasons)}"]


def _has_slow_layout(config: Config) -> bool:
    schedule = config.schedule
    has_convolutions = config.model.builder not in WITHOUT_CONVOLUTIONS
    return schedule.precision == "bf16" and not schedule.channels_last and has_convolutions


def given_keys(words: Sequence[str]) -> set[str]:
    """Return the keys of overrides."""
    return {word.partition("=")[0].lstrip("+~") for word in words}


def _cautions(config: Config, given: Collection[str]) -> Iterator[str]:
    yield from _replaced(config, given)
    yield from _late_milestones(config)
    yield from _beyond_the_end(config)
    yield from _without_recipe(config)


def _without_effect(
    config: Config, given: Collection[str], is_sweep: bool
) -> Iterator[tuple[str, str]]:
    is_replaced = "reg.density" in given and not config.reg.target_density  # overrides.replacing
    for key in OPTIONS:
        if is_replaced and key == "reg.target_density":
            continue
        if key in given and (reason := _reason(config, key, is_sweep)):
            yield key, reason


def _reason(config: Config, key: str, is_sweep: bool) -> str | None:
    """Return why an option has no effect in a run; None if the config shows no such reason."""
    if not applies(config, key):
        other = OPTIONS[key].metadata["when"][0]
        if key == "reg.density":
            return f"{config.reg.method} has no density to ask for"
        return f"it is for {condition(key)}, and {other} is {value_of(config, other)}"
    if key in FOR_SWEEPS and not is_sweep:
        return "it is for sweeps, and this is one run"
    section = key.partition(".")[0]
    if section == "wandb" or (key == "tracker" and config.tracker == ["wandb"]):
        return _reason_in_wandb(config, key)
    if section == "data":
        return reason_in_data(config, key)
    return _reason_in_training(config, key)


def _reason_in_wandb(config: Config, key: str) -> str | None:
    is_alone = not other_trackers(config)
    if "wandb" not in config.tracker:
        is_shared = key in ("wandb.project", "wandb.tags") and not is_alone
        return None if is_shared else "wandb is not in tracker"
    if key == "wandb.mode" or not is_alone or wandb_options(config).mode != "disabled":
        return None
    by_option = config.wandb.mode == "disabled"
    return f"W&B is turned off by {'wandb.mode' if by_option else 'WANDB_MODE or WANDB_DISABLED'}"


def _reason_in_training(config: Config, key: str) -> str | None:
    reg, schedule = config.reg, config.schedule
    is_dense, is_launched = reg.method == "dense", "WORLD_SIZE" in os.environ
    by_groups = ":" in reg.structure, f"every layer has the density of {reg.structure}"
    reasons = {
        "reg.distribution": by_groups,
        "reg.layer_densities": by_groups,
        **dict.fromkeys(
            ("reg.exclude", "reg.include", "reg.tied"), (is_dense, "a dense run has no masks")
        ),
        "reg.guard": (reg.floor == 0, "reg.floor is 0, so thresholds are never reset"),
        "schedule.threshold_decay": (schedule.weight_decay == 0, "schedule.weight_decay is 0"),
        "schedule.channels_last": (
            config.data.builder == "text",
            f"it is for images, and {config.data.name} is text",
        ),
        "schedule.sync_bn": (config.devices == 1 and not is_launched, "devices is 1"),
        "schedule.compile": (
            schedule.compile != "off" and not compiles(config),
            f"{reg.method} has no masks to compile; schedule.compile=step compiles its step",
        ),
        "deterministic": (
            config.deterministic and config.device == "cpu",
            "it is for GPUs, and device is cpu",
        ),
    }
    holds, reason = reasons.get(key, (False, ""))
    return reason if holds else None


def _replaced(config: Config, given: Collection[str]) -> Iterator[str]:
    """Yield a note for each option of the command line in whose place a target density puts another
    value.
    """
    reg = config.reg
    if not reg.is_steered:
        return
    used = as_used(config)
    for key in ("reg.floor", "reg.guard", "reg.freeze"):
        value, asked = value_of(used, key), value_of(config, key)
        if key in given and value != asked:
            yield f"{key}: {value:g} is used instead of {asked:g}, since {WITH_TARGET}"
    if "schedule.threshold_clip" in given and not config.schedule.threshold_clip:
        bound = f"{DEFAULT_THRESHOLD_CLIP} is used behind batch norm and of layers"
        yield f"schedule.threshold_clip: {bound}, since {WITH_TARGET}"


def _late_milestones(config: Config) -> Iterator[str]:
    """Yield a note if the learning rate is to fall after the last epoch."""
    schedule, epochs = config.schedule, config.schedule.epochs
    late = [milestone for milestone in schedule.milestones if milestone >= epochs]
    if epochs and late and schedule.rate == "multistep":
        verb = "lie" if len(late) > 1 else "lies"
        stays = f": the rate stays {schedule.base_lr:g}" if late == schedule.milestones else ""
        places = ", ".join(map(str, late))
        yield f"schedule.milestones: {places} {verb} after the last epoch, {epochs}{stays}"


def _beyond_the_end(config: Config) -> Iterator[str]:
    """Yield notes if the warm-up is as long as the run, or masks freeze in the first epoch."""
    schedule, reg, epochs = config.schedule, config.reg, config.schedule.epochs
    if not epochs:
        return
    what = "a round" if rounds_of(config).count > 1 else "the run"
    if schedule.warmup >= epochs:
        reached = "" if schedule.warmup == epochs else f" and does not reach {schedule.base_lr:g}"
        yield (
            f"schedule.warmup: the rate rises over {schedule.warmup:g} epochs, "
            f"and {what} has {epochs}: it never falls{reached}"
        )
    if reg.method == "dst" and reg.freeze * epochs < 1:
        yield f"reg.freeze: masks are frozen after {reg.freeze * epochs:.2g} of an epoch"


def _without_recipe(config: Config) -> Iterator[str]:
    """Yield a note, with the nearest recipes, if there is none and base values are used.

    A config with a learning rate and an α of its own has no such note.
    """
    base = {}
    for key, value in BASE.items():
        if value_of(config, key) == value and applies(config, key):
            base[key] = value
    if recipe_of(config) or base.keys().isdisjoint(TUNED):
        return
    near = nearest_recipes(config)
    verb = "recipes are" if len(near) > 1 else "recipe is"
    hint = f"; the nearest {verb} {' and '.join(near)}" if near else ""
    pair = f"{config.model.name} on {config.data.name}"
    yield f"no recipe for {pair}: base values are used ({value_words(base)}){hint}"
