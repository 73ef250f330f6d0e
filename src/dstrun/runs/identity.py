"""What a run is: a short hash over the options that make a difference, and the folder name that
carries it.

Two configs are the same run when they agree in every option that applies and can change a figure.
Options at their default are left out of the hash, so one that is added later, with its old
behaviour as default, renames no run. Knows config."""

import hashlib
import json
import re
from typing import Any

from dstrun.config.options import OPTIONS, Config, RegConfig, value_of

TOLD_BY_NAMES = (
    "model.builder",
    "model.args",
    "data.builder",
    "data.args",
)  # the names stand for them
SETTINGS = {key: option for key, option in OPTIONS.items() if option.metadata["identity"]}


def settings(config: Config) -> dict[str, Any]:
    """The options that make this run what it is: {dotted key: value} of what applies and differs
    from its default."""
    found = {}
    for key, entry in SETTINGS.items():
        value, identity = value_of(config, key), entry.metadata["identity"]
        if callable(identity):
            value = identity(value)
        if applies(config, key) and value != entry.metadata["default"]:
            found[key] = value
    return found


def applies(config: Config, key: str) -> bool:
    """Whether an option has any say in this run, as α has none in a dense one."""
    when = OPTIONS[key].metadata["when"]
    return not when or value_of(config, when[0]) in when[1:]


def run_hash(config: Config) -> str:
    """Eight hexadecimal digits over `settings`."""
    canonical = json.dumps(settings(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_name(config: Config) -> str:
    """The name of the run's folder, such as lenet_300_100-mnist-a5e-4-s0-1f3c9a2b: no '=', no
    space."""
    words = [
        config.model.name,
        config.data.name,
        _sparsity(config.reg),
        f"s{config.seed}",
        run_hash(config),
    ]
    return "-".join(re.sub(r"[^\w.-]+", "_", word) for word in words)


def _sparsity(reg: RegConfig) -> str:
    if reg.method != "dst":
        return reg.method
    return f"d{short(reg.target_density)}" if reg.steered else f"a{short(reg.alpha)}"


def short(number: float) -> str:
    """A number in as few characters as tell it apart: 5e-4, 1.5e-5, 0, 0.02 as 2e-2."""
    mantissa, exponent = f"{number:.6e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    return digits if int(exponent) == 0 else f"{digits}e{int(exponent)}"
