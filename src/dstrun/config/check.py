"""The check of a config: types, bounds and combinations of values."""

import math
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

from dstrun.config.keys import check_key
from dstrun.config.messages import expected, explained, near
from dstrun.config.options import OPTIONS, Config, flat, value_of
from dstrun.system.errors import InputError


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
