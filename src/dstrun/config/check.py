"""Check of a config: types, bounds, combinations of values, and text that must not be stored."""

import math
import operator
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
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
from omegaconf.errors import OmegaConfBaseException, UnsupportedValueType, ValidationError

from dstrun.config.groups import entry_names
from dstrun.config.keys import check_key
from dstrun.config.messages import expected, explained, near, quoted
from dstrun.config.options import OPTIONS, Config, flat, value_of
from dstrun.config.sections import ScheduleConfig
from dstrun.config.sparsity import check_rounds, check_sparsity, unify_density
from dstrun.system.errors import InputError
from dstrun.system.run_files import CONFIG_FILE

NODES: dict[Any, Callable[..., ValueNode]] = {
    int: IntegerNode,
    float: FloatNode,
    bool: BooleanNode,
    str: StringNode,
}
BOUNDS: dict[str, Callable[[float, float], bool]] = {
    "low": operator.ge,
    "above": operator.gt,
    "high": operator.le,
    "below": operator.lt,
}
SECRET = re.compile(
    r"(key|token|secret|password|passwd|credential)s?(?!.*(file|path|dir)$)", re.IGNORECASE
)
SHORTEST_SECRET = 16  # characters


def check(config: DictConfig | Mapping[str, Any]) -> Config:
    """Return the config as typed objects; raise InputError for the first unusable key or value.

    The values of a mapping are used as they are, without interpolation. (OmegaConf's own merge with
    the schema takes a hundred times as long, which shows in a grid of a thousand runs.)
    """
    plain: Any = config
    if isinstance(config, DictConfig):
        try:
            plain = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raise InputError(explained(error)) from error
    given = flat(plain)
    for key in given:
        check_key(key)
    checked = _build(Config, given)
    checked.outputs = _expand_home(checked.outputs)
    checked.init = checked.init and _expand_home(checked.init)
    if checked.tracker == ["none"]:
        checked.tracker = []
    for key, entry in OPTIONS.items():
        _check_value(key, value_of(checked, key), entry.metadata)
    unify_density(checked.reg)
    _check_together(checked)
    _refuse_bytes(given)
    _refuse_secrets(given)
    return checked


def _expand_home(path: str) -> str:
    """Return a path with its ~ replaced, which no shell does after `outputs=`."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _build(section: Any, given: Mapping[str, Any], prefix: str = "") -> Any:
    """Return the dataclass `section` with the given values, converted, and its defaults."""
    values = {}
    for entry in fields(section):
        key = prefix + entry.name
        if is_dataclass(entry.type):
            values[entry.name] = _build(entry.type, given, f"{key}.")
        elif key in given:
            values[entry.name] = _convert(key, given[key], entry.type)
        elif "${" in str(default := entry.metadata["default"]):
            values[entry.name] = OmegaConf.create({"default": default}).default
    return section(**values)


def _convert(key: str, value: Any, wanted: Any) -> Any:
    """Return a value as the type that an option wants, such as 1e-4 for the text '1e-4'.

    Raise InputError for a value that has no such form.
    """
    try:
        if wanted == dict[str, Any]:
            return _mapping(value)
        if get_origin(wanted) is not list:
            return _scalar(value, wanted)
        if not isinstance(value, list | tuple):
            raise ValidationError
        (item_type,) = get_args(wanted)
        return [_convert(key, item, item_type) for item in value]
    except (ValidationError, UnsupportedValueType) as error:
        raise InputError(f"{key}: got {quoted(value)}, expected {expected(key)}") from error


def _mapping(value: Any) -> dict[str, Any]:
    """Return a mapping whose keys are text; raise ValidationError for any other value."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValidationError
    return dict(value)


def _scalar(value: Any, wanted: Any) -> Any:
    """Return a single value as OmegaConf converts it; raise its errors if it cannot."""
    if value == "???":  # OmegaConf's sign for a value that is missing
        raise ValidationError
    if type(value) is wanted:
        return value
    is_optional = wanted == str | None
    if value is None and not is_optional:
        raise ValidationError
    return NODES[str if is_optional else wanted]().validate_and_convert(value)


def _check_value(key: str, value: Any, meta: Mapping[str, Any]) -> None:
    """Raise InputError for a value that its option does not allow."""
    own = meta["choices"]
    for word in value if isinstance(value, list) else [value]:
        if own and word not in own:
            known = (*own, *entry_names(meta["entry_points"]))  # 6 ms: only if it is none of ours
            if word not in known:
                wanted = f"one of {', '.join(known)}"
                raise InputError(f"{key}: got {word!r}, expected {wanted}{near(word, known)}")
    check_text(key, value, meta)
    for number in value if isinstance(value, list) else [value]:
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if is_number and not _is_within(number, meta):
            raise InputError(f"{key}: got {value}, expected {expected(key)}")


def _is_within(number: float, meta: Mapping[str, Any]) -> bool:
    """Return whether a number is finite and keeps the bounds of its option."""
    for name, holds in BOUNDS.items():
        if meta[name] is not None and not holds(number, meta[name]):
            return False
    return math.isfinite(number)


def check_text(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    """Raise InputError, under `name`, for text that does not match the pattern of an option.

    Of a list, each text is checked.
    """
    for text in value if isinstance(value, list) else [value]:
        if meta["pattern"] and text is not None and not re.fullmatch(meta["pattern"], text):
            raise InputError(f"{name}: got {text!r}, expected {meta['words']}")


def _check_together(config: Config) -> None:
    """Raise InputError for values that are allowed alone but not together."""
    check_sparsity(config.reg)
    check_rounds(config.reg, config.schedule.epochs)
    _check_schedule(config.schedule)
    _check_momentum(config)
    for key, what in (("wandb.tags", "tag"), ("tracker", "tracker")):
        words = value_of(config, key)
        if len(set(words)) < len(words):
            raise InputError(f"{key}: got {words}, expected each {what} once")


def _check_schedule(schedule: ScheduleConfig) -> None:
    """Raise InputError for options of the schedule that do not fit together."""
    milestones = schedule.milestones
    if len(schedule.betas) != 2:
        raise InputError(f"schedule.betas: got {schedule.betas}, expected two numbers")
    if milestones != sorted(set(milestones)):
        raise InputError(
            f"schedule.milestones: got {milestones}, expected epochs in ascending order"
        )
    if schedule.rate == "multistep" and not milestones:
        raise InputError(
            "schedule.milestones: got [] with schedule.rate=multistep, expected at least one epoch"
        )
    if schedule.optimiser == "sgd" and schedule.nesterov and schedule.momentum == 0:
        raise InputError(
            "schedule.nesterov: got true with schedule.momentum=0, expected a momentum > 0"
        )


def _check_momentum(config: Config) -> None:
    """Raise InputError for a method that grows weights by a momentum that is 0."""
    schedule = config.schedule
    if config.reg.method == "snfs" and schedule.optimiser == "sgd" and schedule.momentum == 0:
        raise InputError(
            "schedule.momentum: got 0 with reg=snfs, which grows weights by their momentum: "
            "expected a number > 0"
        )


def is_text(value: Any) -> bool:
    """Return whether a value can be written in UTF-8.

    The name of a file may contain bytes that are no character.
    """
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _refuse_bytes(given: Mapping[str, Any]) -> None:
    """Raise InputError for text that cannot be written in UTF-8."""
    for key, value in given.items():
        if not is_text(value):
            raise InputError(
                f"{key}: got {value!r}, expected text in UTF-8; "
                "a link to the folder can have such a name"
            )


def _refuse_secrets(given: Mapping[str, Any]) -> None:
    """Raise InputError for a value that contains a secret of the environment.

    It would be written to config.yaml and to W&B.
    """
    for name, secret in os.environ.items():
        if len(secret) < SHORTEST_SECRET or not SECRET.search(name):
            continue
        for key, value in given.items():
            if secret in str(value):
                raise InputError(
                    f"{key}: got the value of ${name}, a secret that {CONFIG_FILE} would show"
                )
