"""Makes every process of a document's commands short. Python imports it at its start: its folder is
on PYTHONPATH.

The commands stay as they are written; what is made smaller is what they come to (short.py), as soon
as the module that decides it has been imported."""

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
    """Finds those modules as Python would, and has `short` shorten them once they are loaded."""

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
