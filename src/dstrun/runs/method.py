"""The method of a run: `reg` of its config as an object of `dstrun.methods`."""

from typing import TYPE_CHECKING, Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.registry import (
    accepted_options,
    check_arguments,
    lookup,
    named_parameters,
)
from dstrun.methods import METHODS, method_class
from dstrun.runs.identity import applies
from dstrun.system.errors import InputError, user_code_error

if TYPE_CHECKING:
    from dstrun.methods.base import Method

NOT_PASSED = ("reg.method", "reg.args")


def make_method(config: Config) -> "Method":
    """Return the method that `reg` asks for, with every option that applies to it.

    Raises InputError where the method of an installed package cannot be made.
    """
    name, options = config.reg.method, _options(config)
    if name in METHODS:
        return method_class(name)(**options)
    return _of_a_package(name, options, config.reg.args)


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


def _of_reg(options: dict[str, Any]) -> set[str]:
    return {name for name in options if f"reg.{name}" in OPTIONS}


def _default(name: str) -> Any:
    """Return the default of an option of `reg`; None for those of other sections."""
    key = f"reg.{name}"
    return OPTIONS[key].metadata["default"] if key in OPTIONS else None
