"""Names → builders: dstrun's own, and those that installed packages offer through entry points.

Knows config (for near names) and errors.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from dstrun.config import near
from dstrun.errors import InputError


def registered(option: str, name: str, builtin: Mapping[str, Callable], group: str) -> Callable:
    """The builder of that name: one of ours, or of an installed package's entry points; InputError for none."""
    if name in builtin:
        return builtin[name]
    offered = entry_points(group=group)
    if name not in offered.names:
        known = sorted({*builtin, *offered.names})
        raise InputError(f"{option}: there is no {name!r}{near(name, known)} (known: {', '.join(known)})")
    return offered[name].load()
