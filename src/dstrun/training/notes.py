"""Notes on a checked config: options without effect, schedules too long for the run, missing
recipes. No torch."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from dstrun.config.groups import folders
from dstrun.config.options import OPTIONS, Config, flat, value_of
from dstrun.config.sections import DEFAULT_THRESHOLD_CLIP
from dstrun.config.yaml_files import read_yaml
from dstrun.runs.identity import applies
from dstrun.runs.target import as_used
from dstrun.runs.wandb_options import wandb_options
from dstrun.system.errors import InputError
from dstrun.system.numbers import short

WITHOUT_DOWNLOAD = {
    "digits": "the digits come with scikit-learn",
    "folder": "a folder's files are there or not",
}
WITHOUT_SIZE = (
    "digits",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
)  # their files say how large images are
FOR_SWEEPS = ("n_jobs", "retry")
BASE = {
    key: OPTIONS[key].metadata["default"] for key in ("schedule.lr", "reg.alpha", "schedule.epochs")
}
MOST = 8  # notes on a sweep


def notes(config: Config, given: Set[str] = frozenset(), launcher: str = "local") -> list[str]:
    """Return a line for each thing about a single run that may not be as its user thinks.

    `given`: the keys of the command line, since what a recipe or an experiment sets is no mistake
    of the user's."""
    lines = [*_without_effect(config, given, sweep=False), *_cautions(config, given)]
    if launcher != "local":
        lines.append(
            f"hydra/launcher={launcher} has no effect: it is for sweeps, and this is one run"
        )
    return lines


def sweep_notes(configs: Sequence[Config], given: Set[str] = frozenset()) -> list[str]:
    """Return the notes on the runs of a sweep, each once; an option is without effect if it is so
    in every run."""
    counted = Counter(
        line for config in configs for line in _without_effect(config, given, sweep=True)
    )
    lines = [line for line, runs in counted.items() if runs == len(configs)]
    lines += dict.fromkeys(line for config in configs for line in _cautions(config, given))
    if len(configs) == 1:
        lines.append("no option has several values, so this sweep is one run")
    return [*lines[:MOST], *[f"{len(lines) - MOST} more of the kind"] * (len(lines) > MOST)]


def given_keys(words: Sequence[str]) -> set[str]:
    """Return the keys of overrides."""
    return {word.partition("=")[0].lstrip("+~") for word in words}


def recipe_of(config: Config) -> str | None:
    """Return the name of the recipe for the config's model and data, such as vgg16-cifar10; None
    where there is none.

    It goes by the names in the config: a model or data set of the user's whose `name` is not that
    of its file is taken to have none."""
    name = f"{config.model.name}-{config.data.name}"
    return name if name in _recipes() else None


def changed_from_recipe(config: Config) -> list[str]:
    """Return the options that the recipe sets, if there is one, and that have another value
    here."""
    values = _file_values(_recipes()[name]) if (name := recipe_of(config)) else {}
    return [
        key
        for key, value in values.items()
        if key in OPTIONS and applies(config, key) and value_of(config, key) != value
    ]


def _cautions(config: Config, given: Collection[str]) -> Iterator[str]:
    yield from _replaced(config, given)
    yield from _beyond_the_end(config)
    yield from _without_recipe(config)


def _without_effect(config: Config, given: Collection[str], sweep: bool) -> Iterator[str]:
    for key in OPTIONS:
        if key in given and (reason := _reason(config, key, sweep)):
            yield f"{key} has no effect: {reason}"


def _reason(config: Config, key: str, sweep: bool) -> str | None:
    """Return why an option has no effect in a run; None where it has one, as far as the config
    tells."""
    if not applies(config, key):
        other, *values = OPTIONS[key].metadata["when"]
        return f"it is for {other}={' or '.join(values)}, and {other} is {value_of(config, other)}"
    if key in FOR_SWEEPS and not sweep:
        return "it is for sweeps, and this is one run"
    if (
        key.startswith("wandb.")
        and key != "wandb.mode"
        and wandb_options(config).mode == "disabled"
    ):
        return f"W&B is off, by {'wandb.mode' if config.wandb.mode == 'disabled' else 'WANDB_MODE or WANDB_DISABLED'}"
    data, reg, schedule = config.data, config.reg, config.schedule
    reasons = {
        "data.download": (
            data.download and data.builder in WITHOUT_DOWNLOAD,
            WITHOUT_DOWNLOAD.get(data.builder, ""),
        ),
        "data.root": (data.builder == "digits", WITHOUT_DOWNLOAD["digits"]),
        "data.size": (
            data.builder in WITHOUT_SIZE,
            f"the images of {data.name} have a size of their own",
        ),
        "reg.exclude": (reg.method == "dense", "a dense run has no masks"),
        "reg.guard": (reg.floor == 0, "reg.floor is 0, so that the guard never sets in"),
        "schedule.threshold_decay": (schedule.weight_decay == 0, "schedule.weight_decay is 0"),
        "schedule.compile": (
            schedule.compile == "mask" and reg.method == "dense",
            "a dense run has no masks to compile",
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
    value."""
    reg = config.reg
    if not reg.is_steered:
        return
    used = as_used(config)
    for key in ("reg.floor", "reg.guard", "reg.freeze"):
        value, asked = value_of(used, key), value_of(config, key)
        if key in given and value != asked:
            yield f"{key}: {value:g} is used instead of {asked:g}, since there is a reg.target_density"
    if "schedule.threshold_clip" in given and not config.schedule.threshold_clip:
        where = "behind batch norm and of layers"
        yield f"schedule.threshold_clip: {DEFAULT_THRESHOLD_CLIP} is used {where}, since there is a reg.target_density"


def _beyond_the_end(config: Config) -> Iterator[str]:
    """Yield a note for each part of a schedule that lies after the last epoch."""
    schedule, reg, epochs = config.schedule, config.reg, config.schedule.epochs
    if not epochs:
        return
    late = [milestone for milestone in schedule.milestones if milestone >= epochs]
    if schedule.rate == "multistep" and late:
        lie = f"{', '.join(map(str, late))} {'lie' if len(late) > 1 else 'lies'} after the last epoch, {epochs}"
        stays = f": the rate stays {schedule.lr:g}" if late == schedule.milestones else ""
        yield f"schedule.milestones: {lie}{stays}"
    if schedule.warmup >= epochs:
        yield (
            f"schedule.warmup: the rate rises over {schedule.warmup:g} epochs, and the run has {epochs}: "
            f"it never falls{'' if schedule.warmup == epochs else f', nor gets to {schedule.lr:g}'}"
        )
    if reg.method == "dst" and reg.freeze * epochs < 1:
        yield f"reg.freeze: masks are frozen after {reg.freeze * epochs:.2g} of an epoch"


def _without_recipe(config: Config) -> Iterator[str]:
    """Yield a note on a pair without a recipe that trains at the base rate or α, with the nearest
    recipes."""
    base = [
        key
        for key, value in BASE.items()
        if value_of(config, key) == value and applies(config, key)
    ]
    if recipe_of(config) or not {"schedule.lr", "reg.alpha"} & set(base):
        return
    near = _nearest(config)
    hint = (
        f"; the nearest recipe{'s are' if len(near) > 1 else ' is'} {' and '.join(near)}"
        if near
        else ""
    )
    used = _listed({key: value_of(config, key) for key in base})
    yield f"no recipe for {config.model.name} on {config.data.name}: base values are used ({used}){hint}"


def _nearest(config: Config) -> list[str]:
    """Return a recipe for the same data and one for the same model, with values; none whose rate
    and α are base.

    One for the same data whose α is another order of magnitude is of another kind of model, and
    left out."""
    recipes = {name: _file_values(file) for name, file in _recipes().items()}
    telling = [
        name
        for name, values in recipes.items()
        if any(values.get(key, BASE[key]) != BASE[key] for key in ("schedule.lr", "reg.alpha"))
    ]
    for_data = [name for name in telling if name.endswith(f"-{config.data.name}")]
    for_model = [name for name in telling if name.startswith(f"{config.model.name}-")]
    if for_model:
        alpha = _alpha(recipes[for_model[0]])
        for_data = [name for name in for_data if alpha / 10 < _alpha(recipes[name]) < alpha * 10]
    return [f"{name} ({_listed(recipes[name])})" for name in (*for_data[:1], *for_model[:1])]


def _alpha(values: Mapping[str, Any]) -> float:
    return float(values.get("reg.alpha", BASE["reg.alpha"]))


def _recipes() -> dict[str, Path]:
    """Return the files of all recipes by name, the user's before ours."""
    files = [
        file
        for folder in reversed(folders("recipe"))
        for file in sorted(folder.resolve().glob("*.yaml"))
    ]
    return {file.stem: file for file in files}


@cache
def _file_values(file: Path, package: str = "") -> Mapping[str, Any]:
    """Return what a recipe sets, its schedule included, as {dotted key: value}; nothing where it
    cannot be read."""
    with suppress(InputError, OSError):
        content = read_yaml(file, package)
        found: Mapping[str, Any] = {}
        for entry in content.pop("defaults", []):  # /schedule/cifar@schedule, or another recipe
            path, _, below = str(entry).partition("@")
            group, name = Path(path).parent.name or "recipe", f"{Path(path).name}.yaml"
            there = [
                folder.resolve() / name for folder in folders(group) if (folder / name).is_file()
            ]
            found = {**found, **(_file_values(there[0], below) if there else {})}
        return {**found} | {
            f"{package}.{key}".lstrip("."): value for key, value in flat(content).items()
        }
    return {}


def _listed(values: Mapping[str, Any]) -> str:
    """Return 'lr 0.1, alpha 5e-6, 160 epochs', as far as the values are there."""
    forms = {"schedule.lr": "lr {}", "reg.alpha": "alpha {}", "schedule.epochs": "{} epochs"}
    return ", ".join(
        form.format(_number(values[key])) for key, form in forms.items() if key in values
    )


def _number(value: float) -> str:
    return f"{value:g}" if value >= 0.001 else short(value)
