"""Options of every method: the least that it is made with, and those of a run on few images.

A method that is added to the registry is tested by all tests that go through `NAMES`; one that
needs more than a density has a line in `OWN`.
"""

from typing import Any

from dstrun.config.groups import packaged_folder
from dstrun.config.sparsity_options import METHODS, WITH_DENSITY, WITH_UPDATES
from dstrun.config.yaml_files import read_yaml
from dstrun.methods import METHODS as REGISTRY
from dstrun.methods import method_class
from dstrun.methods.fixed.method import FixedMaskMethod

LEAST: dict[str, dict[str, Any]] = {
    name: {"reg.method": name}
    | ({"reg.density": 0.25} if name in WITH_DENSITY and name != "dst" else {})
    | ({"reg.rounds": 1} if name == "imp" else {})
    for name in METHODS
} | {"l1": {"reg.method": "l1", "reg.start": 0.5, "reg.cutoff": 0.25}}
OWN: dict[str, dict[str, Any]] = {
    "dst": {"reg.target_density": 0.3},
    "dense": {},
    "imp": {"reg.density": 0.3, "reg.rounds": 2},
    "str": {"reg.threshold_start": -4.0},
}
NAMES = tuple(REGISTRY)
FIXED = [name for name in NAMES if issubclass(method_class(name), FixedMaskMethod)]


def options(name: str) -> dict[str, Any]:
    """Return the options of a short run, masks updated every second step: {dotted key: value}."""
    found = OWN.get(name, {"reg.density": 0.3})
    return found | {"reg.every": 2} if name in WITH_UPDATES else found


def config_options(name: str) -> dict[str, Any]:
    """Return `options` on top of the method's own in conf/reg, for `config.check.check`."""
    file = packaged_folder("conf") / "reg" / f"{name}.yaml"
    own = {f"reg.{key}": value for key, value in read_yaml(file, "reg").items()}
    return own | options(name)


def words(name: str) -> list[str]:
    """Return the words of the command line for it."""
    return [f"reg={name}", *(f"{key}={value}" for key, value in options(name).items())]
