"""The place in dstrun at which something happens."""

import sys
from types import FrameType


def place() -> str:
    """Return the innermost function of dstrun that is running, as package.module.Class.function."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("dstrun."):
            function = frame.f_code.co_qualname.split(".<locals>")[0]
            return f"{name.removeprefix('dstrun.')}.{function}"
        frame = frame.f_back
    return "outside dstrun"
