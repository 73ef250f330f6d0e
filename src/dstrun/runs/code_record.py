"""Digests of the code of installed packages that a run uses, in status.json.

Of each model, data set and method of a package: the file of the module that its entry point names.
Of a model such as timm:NAME: the version of the package.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dstrun.config.groups import ENTRY_POINTS, is_of_package
from dstrun.config.options import Config, value_of
from dstrun.config.sections import DATA_BUILDERS, MODEL_BUILDERS
from dstrun.config.sparsity_options import METHODS
from dstrun.system.files import sha256

BUILT_IN = {"model.builder": MODEL_BUILDERS, "data.builder": DATA_BUILDERS, "reg.method": METHODS}


def code_of(config: Config) -> dict[str, str]:
    """Return {option: SHA-256 of a file, or version} of the packages' code that a config names.

    What is dstrun's own, and what cannot be found, is left out.
    """
    found = {}
    for key, ours in BUILT_IN.items():
        name = value_of(config, key)
        if name not in ours and (digest := _digest(key.partition(".")[0], name)):
            found[key] = digest
    return found


def changed_code(config: Config, recorded: Mapping[str, Any]) -> list[str]:
    """Return a line for each option whose code is not what was recorded."""
    lines = []
    if not isinstance(recorded, Mapping):  # in a damaged file
        return []
    for key, digest in code_of(config).items():
        if recorded.get(key, digest) != digest:
            lines.append(f"the code of {key}={value_of(config, key)} has changed since")
    return lines


def _digest(group: str, name: str) -> str:
    """Return the digest of an entry point's module, or the version of a package with models.

    '' where it cannot be found.
    """
    if is_of_package(group, name):
        package = name.partition(":")[0]
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return ""
    for entry in entry_points(group=ENTRY_POINTS[group], name=name):
        try:
            spec = find_spec(entry.module)
        except (Exception, SystemExit):  # it imports the package around a module
            continue
        if spec and spec.origin:
            return sha256(Path(spec.origin))
    return ""
