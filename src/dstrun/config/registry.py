"""Names → builders: dstrun's own, and those that installed packages offer through entry points.

Knows config (for near names) and errors.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dstrun.config.messages import near
from dstrun.system.errors import InputError, user_code_error


def registered(option: str, name: str, builtin: Mapping[str, Callable], group: str) -> Callable:
    """Return the builder of that name: one of ours, or of an installed package's entry points.

    Raises InputError for a name that nobody offers, and for an entry point that cannot be loaded.
    """
    if name in builtin:
        return builtin[name]
    offered = entry_points(group=group)
    if name not in offered.names:
        known = sorted({*builtin, *offered.names})
        raise InputError(
            f"{option}: there is no {name!r}{near(name, known)} (known: {', '.join(known)})"
        )
    return _load(option, offered[name])


def _load(option: str, entry: EntryPoint) -> Callable:
    """Import what an entry point names; InputError where that fails, or is nothing that can be
    called."""
    told = f"{option}: the entry point `{entry.group}: {entry.name} = {entry.value}`"
    try:
        builder = entry.load()
    except (
        Exception,
        SystemExit,
    ) as error:  # a user's module may raise anything while it is imported
        raise InputError(f"{told} cannot be loaded: {user_code_error(error)}") from error
    if not callable(builder):
        raise InputError(
            f"{told} is a {type(builder).__name__}, expected a function (MODULE:FUNCTION)"
        )
    return builder


def accepted(builder: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that the builder has parameters for: all where it takes
    **options."""
    parameters = _parameters(builder)
    if parameters is None or any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return dict(options)
    return {name: value for name, value in options.items() if name in parameters}


def check_arguments(option: str, name: str, builder: Callable, *given: Any, **named: Any) -> None:
    """Raise InputError, with near names, for arguments that do not fit the builder's signature.

    A TypeError that a builder raises after this is a mistake inside it, and not one of `option`,
    its keywords."""
    parameters = _parameters(builder)
    if parameters is None:
        return
    try:
        inspect.signature(builder).bind(*given, **named)
    except TypeError as error:
        unknown = next((key for key in named if key not in parameters), "")
        raise InputError(
            f"{option}: {name}() {error}{near(unknown, parameters) if unknown else ''}"
        ) from error


def _parameters(builder: Callable) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters of a builder by name; None for what does not tell, as some functions in
    C."""
    try:
        return inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return None
