"""The method of a run: `reg` of its config as an object of `dstrun.methods`."""

from typing import TYPE_CHECKING, Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.registry import accepted_options, check_arguments, lookup
from dstrun.methods import METHODS, method_class
from dstrun.runs.identity import applies

if TYPE_CHECKING:
    from dstrun.methods.base import Method

NOT_PASSED = ("reg.method", "reg.args")


def make_method(config: Config) -> "Method":
    """Return the method that `reg` asks for, with every option that applies to it.

    Raises InputError where the method of an installed package cannot be made of them.
    """
    name, options = config.reg.method, _options(config)
    if name in METHODS:
        return method_class(name)(**options)
    builder = lookup("reg.method", name, {}, "dstrun.methods")
    given = {key: value for key, value in options.items() if value != _default(key)}
    options = accepted_options(builder, options) | given | config.reg.args
    check_arguments("reg.args", name, builder, **options)
    return builder(**options)


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


def _default(name: str) -> Any:
    key = f"reg.{name}"
    return OPTIONS[key].metadata["default"] if key in OPTIONS else None
