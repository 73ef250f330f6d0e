"""Start-up hook that makes every process of a document's commands short.

Python imports this file at start-up, because its folder is on PYTHONPATH. The commands stay as
written; once a module that decides the size of the work has been imported, short.py replaces parts
of it.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

MODULES = (
    "dstrun.config.check",
    "dstrun.sweep.plan",
    "dstrun.sweep.search",
    "dstrun.data",
    "dstrun.export.benchmark",
    "common",
)  # of benchmarks


class Shortening(MetaPathFinder):
    """An import finder that has `short` change those modules once they are loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if (
            name not in MODULES
            or (spec := PathFinder.find_spec(name, path, target)) is None
            or spec.loader is None
        ):
            return None
        execute = spec.loader.exec_module

        def and_shorten(module: ModuleType) -> None:
            execute(module)
            import short

            short.SHORTENED[name](module)

        spec.loader.exec_module = and_shorten  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Shortening())
