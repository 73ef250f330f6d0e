"""The method of a run: `reg` of its config as an object of `dstrun.methods`."""

from typing import TYPE_CHECKING, Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.methods import method_class
from dstrun.runs.identity import applies

if TYPE_CHECKING:
    from dstrun.methods.base import Method


def make_method(config: Config) -> "Method":
    """Return the method that `reg` asks for, with every option that applies to it."""
    options: dict[str, Any] = {"compile": config.schedule.compile}
    for key, option in OPTIONS.items():
        if key.startswith("reg.") and key != "reg.method" and applies(config, key):
            options[option.name] = value_of(config, key)
    if applies(config, "schedule.threshold_clip"):
        options["threshold_clip"] = config.schedule.threshold_clip
    return method_class(config.reg.method)(**options)
