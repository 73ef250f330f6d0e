"""Identity of a run: a hash of the options that can change a figure, and the run folder's name.

Two configs are the same run when they agree in every option that applies and can change a figure.
Options at their default are left out of the hash, so an option added later renames no run.
"""

import hashlib
import json
import re
from typing import Any

from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.sparsity_options import METHODS, OTHERS
from dstrun.runs.target_density import as_asked
from dstrun.system.numbers import short

# told apart by model.name and data.name
NAMED_BY_OTHERS = ("model.builder", "model.args", "data.builder", "data.args")
SETTINGS = {key: option for key, option in OPTIONS.items() if option.metadata["identity"]}


def settings(config: Config) -> dict[str, Any]:
    """Return {dotted key: value} of the options that apply and differ from their default."""
    found, config = {}, as_asked(config)
    for key, entry in SETTINGS.items():
        value, identity = value_of(config, key), entry.metadata["identity"]
        if callable(identity):
            value = identity(value)
        if applies(config, key) and value != entry.metadata["default"]:
            found[key] = value
    return found


def applies(config: Config, key: str) -> bool:
    """Return whether an option has an effect in this run; α, say, has none in a dense one."""
    when = OPTIONS[key].metadata["when"]
    if not when:
        return True
    value = value_of(config, when[0])
    return value in when[1:] or (OTHERS in when and value not in METHODS)


def compiles(config: Config) -> bool:
    """Return whether torch.compile gets anything: of dstrun's methods only dst compiles masks."""
    what, method = config.schedule.compile, config.reg.method
    return what == "step" or (what == "mask" and (method == "dst" or method not in METHODS))


def run_hash(config: Config) -> str:
    """Return eight hexadecimal digits of the SHA-256 of `settings`."""
    canonical = json.dumps(settings(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_name(config: Config) -> str:
    """Return the name of the run folder, such as lenet_300_100-mnist-a5e-4-s0-1f3c9a2b.

    It has no '=' and no space.
    """
    words = [
        config.model.name,
        config.data.name,
        _sparsity(config),
        f"s{config.seed}",
        run_hash(config),
    ]
    return "-".join(re.sub(r"[^\w.-]+", "_", word) for word in words)


def _sparsity(config: Config) -> str:
    reg = config.reg
    if reg.method != "dst":
        is_asked = reg.density and applies(config, "reg.density")
        return f"{reg.method}-d{short(reg.density)}" if is_asked else reg.method
    return f"d{short(reg.target_density)}" if reg.is_steered else f"a{short(reg.alpha)}"
