"""Builders by name: those of dstrun and those that installed packages register as entry points."""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from dstrun.config.messages import near, near_of_package
from dstrun.config.options import OPTIONS
from dstrun.system.entry_points import load, words_of
from dstrun.system.errors import InputError, user_code_error


class Package(Protocol):
    """A package with builders of its own: names, a function that takes a name, what to install,
    and the call that lists the names.
    """

    @property
    def names(self) -> Callable[[], Collection[str]]: ...
    @property
    def build(self) -> Callable: ...
    @property
    def install(self) -> str: ...
    @property
    def listed(self) -> str: ...


def lookup(
    option: str,
    name: str,
    builtin: Mapping[str, Callable],
    group: str,
    packages: Mapping[str, Package] | None = None,
) -> Callable:
    """Return the builder of a name: one of `builtin`, or of the entry points of `group`.

    packages: those whose builders are called PACKAGE:NAME. Raise InputError for an unknown name,
    for an entry point that cannot be loaded, and for a package that is missing.
    """
    if name in builtin:
        return builtin[name]
    package, colon, own = name.partition(":")
    if colon and package in (packages or {}):
        return _of_package(option, package, own, (packages or {})[package])
    entries = entry_points(group=group)
    if name not in entries.names:
        known = sorted({*builtin, *entries.names})
        hint = near_of_package(name, packages or ()) or near(name, known)
        known += [f"{one}:NAME" for one in packages or ()]
        raise InputError(f"{option}: there is no {name!r}{hint} (known: {', '.join(known)})")
    return _load(option, entries[name])


def _of_package(option: str, name: str, own: str, package: Package) -> Callable:
    """Return what builds `own` of a package; raise InputError where that cannot be found."""
    try:
        known = package.names()
    except ModuleNotFoundError as error:
        problem = f"{name}:{own} needs the package {error.name}, which is not installed"
        raise InputError(f"{option}: {problem}: pip install {package.install}") from error
    except Exception as error:  # of another version, or damaged
        raise InputError(
            f"{option}: {name} cannot be imported: {user_code_error(error)}"
        ) from error
    if own not in known:
        hint = near(own, known) or f"; {package.listed} lists its models"
        raise InputError(f"{option}: {name} has no model {own!r}{hint}")
    return partial(package.build, own)


def _load(option: str, entry: EntryPoint) -> Callable:
    """Return the builder of an entry point; raise InputError if it cannot be imported or called."""
    builder: Callable = load(entry, option)
    if not callable(builder):
        kind = type(builder).__name__
        wanted = "class" if entry.group == "dstrun.methods" else "function"
        raise InputError(
            f"{option}: {words_of(entry)} is a {kind}, expected a {wanted} "
            f"(MODULE:{wanted.upper()})"
        )
    return builder


def accepted_options(builder: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a builder has parameters for: all of them if it takes **options."""
    parameters = _parameters(builder)
    if parameters is None or any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return dict(options)
    return {name: value for name, value in options.items() if name in parameters}


def named_parameters(builder: Callable) -> dict[str, inspect.Parameter]:
    """Return a builder's parameters by name, without **options itself.

    Those of a class include those of the bases to which **options are handed on.
    """
    makers: list[Callable] = [builder]
    if isinstance(builder, type):
        makers = [vars(one)["__init__"] for one in builder.__mro__ if "__init__" in vars(one)]
    found: dict[str, inspect.Parameter] = {}
    for maker in makers:
        parameters = (_parameters(maker) or {}).values()
        kinds = {one.kind for one in parameters}
        for one in parameters:
            if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL) and one.name != "self":
                found.setdefault(one.name, one)
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found


def default_options(builder: Callable, section: str) -> dict[str, Any]:
    """Return the defaults of a builder's parameters that are options of a section."""
    found = {}
    for name, parameter in named_parameters(builder).items():
        has_default = parameter.default not in (parameter.empty, None)
        if has_default and f"{section}.{name}" in OPTIONS:
            found[name] = parameter.default
    return found


def check_arguments(option: str, name: str, builder: Callable, *given: Any, **named: Any) -> None:
    """Raise InputError, with near names, for arguments that do not fit a builder's signature.

    A TypeError that the builder raises later is therefore a mistake inside the builder, and not one
    in `option`, which holds its keyword arguments.
    """
    parameters = _parameters(builder)
    if parameters is None:
        return
    try:
        inspect.signature(builder).bind(*given, **named)
    except TypeError as error:
        unknown = next((key for key in named if key not in parameters), "")
        hint = near(unknown, parameters) if unknown else ""
        raise InputError(f"{option}: {name}() {error}{hint}") from error


def _parameters(builder: Callable) -> Mapping[str, inspect.Parameter] | None:
    """Return a builder's parameters by name, or None if Python does not know them.

    Some functions written in C have no signature.
    """
    try:
        return inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return None
