"""Dataclass fields of options, with the metadata that check, help and identity read."""

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
    entry_points: str = "",
    identity: bool | Callable[[Any], Any] = True,
) -> Any:
    """Return the dataclass field of an option.

    `low` and `high` are inclusive bounds, `above` and `below` exclusive ones, of a number or of
    each number in a list. A text, or each text in a list, must match `pattern` as a whole; `words`
    describes the pattern in messages. `when` = (key, value, …): the option applies only if that key
    has one of these values. `entry_points`: the group, such as reg, for which the names of
    installed packages are choices too. `identity`: whether the option is part of a run's identity,
    or a function that returns the part of the value that is.
    """
    metadata = {
        "default": default,
        "doc": doc,
        "low": low,
        "above": above,
        "high": high,
        "below": below,
        "choices": choices,
        "pattern": pattern,
        "words": words,
        "when": when,
        "entry_points": entry_points,
        "identity": identity,
    }
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)
