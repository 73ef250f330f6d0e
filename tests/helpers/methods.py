"""The least options that each method is made with, for tests over all of them."""

from typing import Any

from dstrun.config.sparsity_options import METHODS, WITH_DENSITY

LEAST: dict[str, dict[str, Any]] = {
    name: {"reg.method": name}
    | ({"reg.density": 0.25} if name in WITH_DENSITY and name != "dst" else {})
    | ({"reg.rounds": 1} if name == "imp" else {})
    for name in METHODS
}
