"""Every option: its type, meaning, unit and bounds; and the check that every run's config goes
through.

The defaults here are the base that recipes, experiments and the command line build on. A default
never changes: a run's identity is made of the options that differ from it, so a changed default
would rename every old run. A new option gets the value that means "as before". Knows omegaconf and
errors, and no torch."""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

from omegaconf import (
    BooleanNode,
    DictConfig,
    FloatNode,
    IntegerNode,
    OmegaConf,
    StringNode,
    ValueNode,
)
from omegaconf.errors import (
    GrammarParseError,
    OmegaConfBaseException,
    UnsupportedValueType,
    ValidationError,
)

from dstrun.system.errors import InputError

STEADY = 0.1  # about the gradient of a live filter's threshold; a dead one's, through batch norm, is 3.5 and far more


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str | None = None,
    words: str = "one word of letters, digits, '_', '-' and '.'",
    when: tuple[str, ...] = (),
    identity: bool | Callable[[Any], Any] = True,
) -> Any:
    """A dataclass field with what the check, the help and the identity of a run need to know about
    it.

    low and high are inclusive bounds, above and below exclusive ones, of a number or of each number
    in a list; a text, or each in a list, must match `pattern` whole, which `words` says; `when` =
    (key, value, …) says that the option applies only where the key has one of the values;
    identity=False: not part of what a run is; a function: what of the value is."""
    metadata = locals().copy()
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


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


@dataclass
class CheckpointConfig:
    every: float = option(
        300.0, "seconds between checkpoints (0: one at every row)", low=0, identity=False
    )


@dataclass
class LogConfig:
    steps: int = option(
        0,
        "rows in layers.csv every so many updates (0: at epochs' ends only)",
        low=0,
        identity=False,
    )


@dataclass
class WandbConfig:
    mode: str = option(
        "auto",
        "auto: what WANDB_MODE says; without it, online where a key is set, else offline",
        choices=("auto", "online", "offline", "disabled"),
        identity=False,
    )
    project: str = option(
        "dstrun",
        "W&B project (or WANDB_PROJECT)",
        pattern=r"[^/\\#?%:]{1,128}",
        words=r"at most 128 characters, none of / \ # ? % :",
        identity=False,
    )
    entity: str | None = option(
        None,
        "W&B user or team (or WANDB_ENTITY)",
        pattern=r"[^/\\#?%:\s]+",
        words="the name of a user or team",
        identity=False,
    )
    tags: list[str] = option(
        [],
        "W&B tags (or WANDB_TAGS, between commas)",
        pattern=r".{1,64}",
        words="tags of 1 to 64 characters",
        identity=False,
    )


@dataclass
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reg: RegConfig = field(default_factory=RegConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**32 - 1)
    init: str | None = option(
        None,
        "folder of a run whose weights and thresholds to start from",
        identity=lambda path: path and Path(path).resolve().name,
    )
    device: str = option(
        "auto", "auto (a GPU where there is one), cpu, cuda, cuda:1, …", identity=False
    )
    threads: int = option(
        0, "CPU threads (0: as many as torch finds right)", low=0, high=4096, identity=False
    )
    deterministic: bool = option(False, "only operations that repeat bit for bit on a GPU; slower")
    outputs: str = option("outputs", "folder of all runs", identity=False)
    group: str | None = option(
        None,
        "folder of this run in it (default: single, grid or the sweep's)",
        pattern=r"\w[\w.-]*",
        identity=False,
    )
    name: str | None = option(None, "a label for people", identity=False)
    overwrite: bool = option(False, "start over where the run exists already", identity=False)
    dry_run: bool = option(False, "say what would be done, and do nothing", identity=False)
    n_jobs: int = option(
        0,
        "runs of a sweep at a time on this machine (0: one a GPU, or else one a core)",
        low=0,
        identity=False,
    )
    retry: str = option(
        "failed",
        "what a sweep does again: runs that failed, or none",
        choices=("failed", "none"),
        identity=False,
    )
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)


GROUPS = ("model", "data", "reg", "schedule", "experiment", "sweep")


def options(section: Any = Config, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every option as (dotted key, field), in order."""
    for entry in fields(section):
        key = prefix + entry.name
        if is_dataclass(entry.type):
            yield from options(entry.type, f"{key}.")
        else:
            yield key, entry


OPTIONS = dict(options())
FREE = tuple(key for key, entry in OPTIONS.items() if entry.type == dict[str, Any])


def check(config: DictConfig | Mapping[str, Any]) -> Config:
    """The config as typed objects, or InputError for the first key or value that no run could use.

    A mapping is taken as it stands, without interpolations. (omegaconf's own merge with the schema
    takes a hundred times as long, which a grid of a thousand runs would wait for.)"""
    try:
        plain: Any = (
            OmegaConf.to_container(config, resolve=True)
            if isinstance(config, DictConfig)
            else config
        )
    except OmegaConfBaseException as error:
        raise InputError(explained(error)) from error
    given = flat(plain)
    for key in given:
        check_key(key)
    checked = _typed(Config, given)
    checked.outputs, checked.init = (
        _from_home(checked.outputs),
        checked.init and _from_home(checked.init),
    )
    for key, entry in OPTIONS.items():
        _check_value(key, value_of(checked, key), entry.metadata)
    _check_together(checked)
    _refuse_bytes(given)
    _refuse_secrets(given)
    return checked


def _from_home(path: str) -> str:
    """Return a path with its ~ replaced, which no shell does after outputs=."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _typed(section: Any, given: Mapping[str, Any], prefix: str = "") -> Any:
    """The dataclass with the given values as its types have them, and its own where none is
    given."""
    values = {}
    for entry in fields(section):
        key = prefix + entry.name
        if is_dataclass(entry.type):
            values[entry.name] = _typed(entry.type, given, f"{key}.")
        elif key in given:
            values[entry.name] = _converted(key, given[key], entry.type)
        elif "${" in str(default := entry.metadata["default"]):
            values[entry.name] = OmegaConf.create({"default": default}).default
    return section(**values)


NODES: dict[Any, Callable[..., ValueNode]] = {
    int: IntegerNode,
    float: FloatNode,
    bool: BooleanNode,
    str: StringNode,
}


def _converted(key: str, value: Any, wanted: Any) -> Any:
    """The value as an option of that type has it: 1e-4 for the text '1e-4', and so on; InputError
    for what has none."""
    try:
        if wanted == dict[str, Any]:
            if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
                raise ValidationError
            return dict(value)
        if get_origin(wanted) is list:
            if not isinstance(value, list | tuple):
                raise ValidationError
            return [_converted(key, item, *get_args(wanted)) for item in value]
        if value == "???":
            raise ValidationError
        if type(value) is wanted:
            return value
        optional = wanted == str | None
        return NODES[str if optional else wanted](value, is_optional=optional)._value()
    except (ValidationError, UnsupportedValueType) as error:
        raise InputError(
            f"{key}: got {'null' if value is None else repr(value)}, expected {expected(key)}"
        ) from error


OTHER_NAMES = {
    "learning_rate": "schedule.lr",
    "optimizer": "schedule.optimiser",
    "wd": "schedule.weight_decay",
    "bs": "schedule.batch_size",
    "amp": "schedule.precision",
    "lambda": "reg.alpha",
    "regularizer": "reg",
    "density": "reg.target_density",
    "sparsity": "reg.target_density",
    "network": "model",
    "arch": "model",
    "dataset": "data",
    "data_dir": "data.root",
    "gpu": "device",
    "gpus": "device",
    "workers": "n_jobs",
    "jobs": "n_jobs",
    "output": "outputs",
    "output_dir": "outputs",
    "out": "outputs",
    "resume": "init",
    "pretrained": "init",
    "config": "experiment",
}


def check_key(key: str, value: str = "", besides: Sequence[str] = ()) -> None:
    """Raise InputError, with near names, for a dotted key that is no option, nor one of `besides`.

    An option whose last part is the key comes with the value, ready to be typed.
    """
    if key in OPTIONS or key in besides or any(key.startswith(f"{free}.") for free in FREE):
        return
    last = key.rpartition(".")[2].replace("-", "_").lower()
    known = [*GROUPS, *OPTIONS]
    exact = [option for option in known if option.rpartition(".")[2] == last]
    exact += [OTHER_NAMES[last]] if last in OTHER_NAMES and not exact else []
    hint = did_you_mean(exact, value) or near(key, known)
    raise InputError(f"{key}: there is no such option{hint}")


def plain_key(full_key: str | None) -> str:
    """omegaconf's key without the index into a list."""
    return (full_key or "").split("[")[0]


def near(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean …?' for the closest of the known words, or nothing."""
    by_last = {key.rsplit(".", 1)[-1]: key for key in known}
    found = get_close_matches(word, list(known), n=3, cutoff=0.7)
    found += [
        by_last[last]
        for last in get_close_matches(word.rsplit(".", 1)[-1], by_last, n=1, cutoff=0.7)
    ]
    return did_you_mean(dict.fromkeys(found))


def did_you_mean(words: Iterable[str], value: str = "") -> str:
    """Return '; did you mean …?', each word with its value where there is one; nothing without
    words."""
    spelled = " or ".join(f"{word}={value}" if value else word for word in words)
    return f"; did you mean {spelled}?" if spelled else ""


def value_of(config: Any, key: str) -> Any:
    """The value at a dotted key of typed objects."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def flat(section: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted key: value}; options that are themselves mappings are kept
    whole."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in FREE:
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found


def expected(key: str) -> str:
    """What an option takes, in words: 'a number > 0', 'one of sgd, adam, adamw'."""
    entry = OPTIONS[key]
    meta = entry.metadata
    if meta["choices"]:
        return f"one of {', '.join(meta['choices'])}"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        str | None: "text or null",
        list[int]: "a list of whole numbers",
        list[float]: "a list of numbers",
        list[str]: "a list of words",
    }
    bounds = [
        f"{sign} {meta[bound]:.10g}"
        for sign, bound in (("≥", "low"), (">", "above"), ("≤", "high"), ("<", "below"))
        if meta[bound] is not None
    ]
    return " ".join([words.get(entry.type, "key: value pairs"), " and ".join(bounds)]).strip()  # type: ignore[arg-type]


def _check_value(key: str, value: Any, meta: Mapping[str, Any]) -> None:
    if meta["choices"] and value not in meta["choices"]:
        raise InputError(
            f"{key}: got {value!r}, expected {expected(key)}{near(value, meta['choices'])}"
        )
    check_text(key, value, meta)
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if not (
            math.isfinite(number)
            and (meta["low"] is None or number >= meta["low"])
            and (meta["above"] is None or number > meta["above"])
            and (meta["high"] is None or number <= meta["high"])
            and (meta["below"] is None or number < meta["below"])
        ):
            raise InputError(f"{key}: got {value}, expected {expected(key)}")


def check_text(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    """InputError, under that name, for a text, or one of a list, that does not match an option's
    pattern."""
    for text in value if isinstance(value, list) else [value]:
        if meta["pattern"] and text is not None and not re.fullmatch(meta["pattern"], text):
            raise InputError(f"{name}: got {text!r}, expected {meta['words']}")


def _check_together(config: Config) -> None:
    schedule, reg = config.schedule, config.reg
    if reg.steered and not reg.alpha:
        raise InputError(
            "reg.alpha: got 0 with a reg.target_density, which steers from there: expected a number > 0"
        )
    if len(schedule.betas) != 2:
        raise InputError(f"schedule.betas: got {schedule.betas}, expected two numbers")
    if schedule.milestones != sorted(set(schedule.milestones)):
        raise InputError(
            f"schedule.milestones: got {schedule.milestones}, expected epochs in ascending order"
        )
    if schedule.rate == "multistep" and not schedule.milestones:
        raise InputError(
            "schedule.milestones: got [] with schedule.rate=multistep, expected at least one epoch"
        )
    if len(set(config.wandb.tags)) < len(config.wandb.tags):
        raise InputError(f"wandb.tags: got {config.wandb.tags}, expected each tag once")
    if schedule.optimiser == "sgd" and schedule.nesterov and schedule.momentum == 0:
        raise InputError(
            "schedule.nesterov: got true with schedule.momentum=0, expected a momentum > 0"
        )


def is_text(value: Any) -> bool:
    """Whether a value can be written in UTF-8: the name of a file may hold bytes that are no
    character."""
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _refuse_bytes(given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if not is_text(value):
            raise InputError(
                f"{key}: got {value!r}, expected text in UTF-8; a link to the folder can have such a name"
            )


SECRET = re.compile(
    r"(key|token|secret|password|passwd|credential)s?(?!.*(file|path|dir)$)", re.IGNORECASE
)


def _refuse_secrets(given: Mapping[str, Any]) -> None:
    """InputError for a value that holds a secret of the environment: it would end in config.yaml
    and in W&B."""
    secrets = [
        (name, value)
        for name, value in os.environ.items()
        if len(value) >= 16 and SECRET.search(name)
    ]
    for name, value in secrets:
        if found := next((key for key, word in given.items() if value in str(word)), None):
            raise InputError(
                f"{found}: got what ${name} holds, which config.yaml would show to everybody"
            )


def explained(error: OmegaConfBaseException) -> str:
    """omegaconf's complaint in one line: the option, what came, what was expected."""
    key = plain_key(error.full_key)
    if key in OPTIONS and isinstance(error, ValidationError):
        return f"{key}: got {'null' if error.value is None else repr(error.value)}, expected {expected(key)}"
    if isinstance(error, GrammarParseError):
        return f"{key}: got text with ${{ in it, which begins an interpolation such as ${{seed}}"
    if "." in str(error.key):
        section, _, last = str(error.key).rpartition(".")
        return f"{key}: in a file it is written as `{section}:` and, indented below that, `{last}:`"
    first = str(error.msg or error).splitlines()[0]
    return f"{key}: {first}" if key else first
