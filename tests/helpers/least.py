"""Oldest versions that pyproject.toml allows, as constraints for pip; `make oldest` tests them."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def least_versions(project: Mapping[str, Any]) -> list[str]:
    """Return NAME==VERSION for each NAME>=VERSION of a pyproject's [project] table.

    Optional dependencies are included. Raises ValueError for a requirement without >=, of which pip
    would install the newest version.
    """
    extras = project["optional-dependencies"].values()
    requirements = project["dependencies"] + [
        requirement for extra in extras for requirement in extra
    ]
    constraints = []
    for requirement in requirements:
        if requirement.startswith(f"{project['name']}["):  # a group of extras that names the others
            continue
        found = re.match(r"([\w.-]+)>=([\w.]+)", requirement)
        if found is None:
            raise ValueError(f"got {requirement!r}, expected NAME>=VERSION")
        constraints.append("==".join(found.groups()))
    return constraints


if __name__ == "__main__":
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    print(*least_versions(tomllib.loads(pyproject.read_text())["project"]), sep="\n")
