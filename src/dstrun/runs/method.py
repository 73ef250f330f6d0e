"""The method of a run: `reg` of its config as an object of `dstrun.methods`."""

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from dstrun.config.check import check
from dstrun.config.messages import near
from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.registry import (
    accepted_options,
    check_arguments,
    default_options,
    lookup,
    named_parameters,
)
from dstrun.config.sparsity_options import RegConfig
from dstrun.methods import METHODS, method_class
from dstrun.runs.identity import applies
from dstrun.system.errors import InputError, user_code_error

if TYPE_CHECKING:
    from dstrun.methods.base import Method

NOT_PASSED = ("reg.method", "reg.args")
OF_THRESHOLDS = ("schedule.threshold_decay", "schedule.threshold_clip")


def method(name: str, **options: Any) -> "Method":
    """Return a method by its name, for a training loop of one's own.

    options: as `reg` has them, such as density=0.1; the others are the authors' defaults. Raises
    ValueError, in one line, for an unknown name or option, for values that a run refuses, too, and
    for imp, which trains for several rounds.
    """
    known = [one for one in METHODS if one != "imp"]
    if name not in known:
        raise ValueError(f"name is {name!r}, expected one of {', '.join(known)}{near(name, known)}")
    taken = [*_options(Config(reg=RegConfig(name))), *(["density"] if name == "dst" else [])]
    given: dict[str, Any] = {"reg.method": name}
    for option, default in default_options(method_class(name), "reg").items():
        given[_key(option)] = default
    for option, value in options.items():
        if option not in taken:
            raise ValueError(
                f"{option}: got {value!r}, and {name} has no such option{near(option, taken)}"
            )
        given[_key(option)] = value
    try:
        return make_method(check(given))
    except InputError as error:
        raise ValueError(re.sub(r"\b(reg|schedule)\.", "", str(error))) from error


def options_of(method: "Method") -> dict[str, Any]:
    """Return {key: value} of the options of a run with this method, those at their default too.

    Raises ValueError for a method that neither `method` nor the class of DST has made, and for
    values that a run refuses.
    """
    if not method.made_with:
        name = type(method).__name__
        raise ValueError(f"method: got a {name} of unknown options, make it by dstrun.method(…)")
    given: dict[str, Any] = {"reg.method": _name_of(type(method))}
    for option, value in method.made_with.items():
        if _is_option(option):
            given[_key(option)] = value
        else:
            given.setdefault("reg.args", {})[option] = value
    try:
        config = check(given)
    except InputError as error:
        raise ValueError(str(error)) from error
    found = {key: value_of(config, key) for key in OPTIONS if _is_of_method(config, key)}
    return {key: value for key, value in found.items() if key in given or key.startswith("reg.")}


def _name_of(kind: type) -> str:
    """Return the name of a method's class in `reg.method`."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    registered = {entry.value: entry.name for entry in entry_points(group="dstrun.methods")}
    names = {value: name for name, value in METHODS.items()} | registered
    if place not in names:
        raise ValueError(
            f"method: got {kind.__name__}, expected one of dstrun's methods, or of a package that "
            f"registers it under dstrun.methods as {place}"
        )
    return names[place]


def _is_of_method(config: Config, key: str) -> bool:
    """Return whether an option is the method's, and has an effect."""
    is_one = key.startswith("reg.") or key in ("schedule.compile", *OF_THRESHOLDS)
    return is_one and applies(config, key)


def make_method(config: Config) -> "Method":
    """Return the method that `reg` asks for, with every option that applies to it.

    Raises InputError where the method of an installed package cannot be made.
    """
    name, options = config.reg.method, _options(config)
    if name not in METHODS:
        return _of_a_package(name, options, config.reg.args)
    made = method_class(name)(**options)
    made.made_with = options
    return made


def _of_a_package(name: str, options: dict[str, Any], arguments: dict[str, Any]) -> "Method":
    """Return a method of an installed package.

    It gets the options that its class or a base of it names, those of its **options that were
    changed, and arguments of its own.
    """
    from dstrun.methods.base import Method

    made_of = lookup("reg.method", name, {}, "dstrun.methods")
    named, taken = named_parameters(made_of), accepted_options(made_of, options)
    changed = {key for key, value in options.items() if value != _default(key)}
    for key in changed & _of_reg(options) - taken.keys():
        raise InputError(f"reg.{key}: {name} has no such option")
    passed = {key: value for key, value in taken.items() if key in named or key in changed}
    passed |= arguments
    check_arguments("reg.args", name, made_of, **passed)
    try:
        method = made_of(**passed)
    except (Exception, SystemExit) as error:  # a user's own code may raise anything
        raise InputError(f"reg.method={name}: {user_code_error(error)}") from error
    if not isinstance(method, Method):
        raise InputError(
            f"reg.method: {name} is a {type(method).__name__}, "
            "expected a subclass of dstrun.methods.base.Method"
        )
    method.made_with = passed
    return method


def _options(config: Config) -> dict[str, Any]:
    """Return the keyword arguments of a method: options of `reg`, and of others what it uses."""
    options: dict[str, Any] = {"compile": config.schedule.compile}
    for key, option in OPTIONS.items():
        if key.startswith("reg.") and key not in NOT_PASSED and applies(config, key):
            options[option.name] = value_of(config, key)
    if config.reg.method in ("dst", "str"):
        options["threshold_decay"] = config.schedule.threshold_decay
    if config.reg.method == "dst":
        options["threshold_clip"] = config.schedule.threshold_clip
        del options["density"]  # it is in target_density
    elif config.reg.method != "dense":
        options["seed"] = config.seed
    return options


def _key(name: str) -> str:
    """Return the key of an argument that is an option of a run."""
    return next(key for key in (f"reg.{name}", f"schedule.{name}", name) if key in OPTIONS)


def _is_option(name: str) -> bool:
    return any(key in OPTIONS for key in (f"reg.{name}", f"schedule.{name}", name))


def _of_reg(options: dict[str, Any]) -> set[str]:
    return {name for name in options if f"reg.{name}" in OPTIONS}


def _default(name: str) -> Any:
    """Return the default of an option of `reg`; None for those of other sections."""
    key = f"reg.{name}"
    return OPTIONS[key].metadata["default"] if key in OPTIONS else None
