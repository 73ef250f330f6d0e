"""The dataclass field of an option: its default, and what check, help and identity need to know."""

from collections.abc import Callable
from dataclasses import field
from typing import Any


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str | None = None,
    words: str = "one word of letters, digits, '_', '-' and '.'",
    when: tuple[str, ...] = (),
    identity: bool | Callable[[Any], Any] = True,
) -> Any:
    """A dataclass field with what the check, the help and the identity of a run need to know about
    it.

    low and high are inclusive bounds, above and below exclusive ones, of a number or of each number
    in a list; a text, or each in a list, must match `pattern` whole, which `words` says; `when` =
    (key, value, …) says that the option applies only where the key has one of the values;
    identity=False: not part of what a run is; a function: what of the value is."""
    metadata = locals().copy()
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)
