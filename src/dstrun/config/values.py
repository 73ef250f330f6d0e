"""Values as people type them, converted to Hydra's grammar.

Text stays text, lists get brackets, choices get their spelling. Values that are in Hydra's grammar
already stay unchanged: 'quoted', ${interpolation}, choice(a,b), range(3), and with -m a,b.
"""

import re
import shlex
from collections.abc import Sequence
from typing import get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

from dstrun.config.groups import find_choice
from dstrun.config.hydra_errors import one_line
from dstrun.config.literals import plain_spelling, takes_text
from dstrun.config.messages import expected
from dstrun.config.options import FREE, GROUPS, OPTIONS
from dstrun.system.errors import InputError

FUNCTION = re.compile(
    r"(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool)\s*\((.*)\)", re.DOTALL
)
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
ESCAPED = re.compile(r"\\[()\[\]{}:=, \t]")
PLAIN = re.compile(r"[\w.+-]*", re.ASCII)
TYPOGRAPHIC = re.compile("[“”„‘’‚«»](.*)[“”„‘’‚«»]", re.DOTALL)
CLOSING = {"[": "]", "(": ")", "{": "}"}


class SeveralValues(InputError):
    """Several values for an option that takes one here."""


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Return the overrides that words mean in Hydra's grammar; raise InputError for other words."""
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except (OverrideParseException, HydraException) as error:
        name, _, value = (words[0] if len(words) == 1 else "").partition("=")
        if re.fullmatch(r"[+]*[\w.]+", name) and not QUOTED.fullmatch(value):
            raise InputError(
                f"{name}: got {value!r}, which Hydra's grammar cannot read; "
                f"as text: {_text_word(name, value)}"
            ) from error
        raise InputError(f"{' '.join(words)}: expected KEY=VALUE ({one_line(error)})") from error


def in_hydras_grammar(key: str, value: str, several: bool) -> str:
    """Return the value of an option or group in Hydra's grammar.

    With `several`, as with -m, commas separate the values of an axis. Keys that are neither option
    nor group (model.args.width, hydra.launcher.x), options that are mappings (model.args) and empty
    values are returned unchanged. Raise InputError for several values without `several`, and for a
    list without brackets among several.
    """
    value = value.strip()
    if not value or key in FREE or (key not in OPTIONS and key not in GROUPS):
        return value
    if key in OPTIONS and get_origin(OPTIONS[key].type) is list:
        return _list(key, value, several)
    return _value_or_axis(key, value, several)


def _value_or_axis(key: str, value: str, several: bool) -> str:
    """Return one value, or with `several` an axis of values; raise SeveralValues for several."""
    if function := FUNCTION.fullmatch(value):
        is_axis = function[1] == "choice" and several
        return _axis(key, split_values(function[2])) if is_axis else value
    parts = split_values(value)
    if len(parts) == 1:
        return _element(key, value)
    if several:
        _refuse_decimal_commas(key, value)
        return _axis(key, parts)
    if _is_free_text(key):
        return _element(key, value)
    raise SeveralValues(f"{key}: got {value!r}, expected {_expected(key)}{_hint(key, value)}")


def _axis(key: str, parts: Sequence[str]) -> str:
    """Return the values of an axis, separated by commas."""
    return ",".join(_element(key, part) for part in parts)


def _is_free_text(key: str) -> bool:
    """Return whether an option takes any text, and not a choice."""
    return takes_text(key) and not OPTIONS[key].metadata["choices"]


def _text_word(key: str, value: str) -> str:
    """Return the word to type in a shell for a value that is text: 'name="range(3)"'."""
    quoted = f'"{value}"' if not set("\"\\'") & set(value) else quote(value)
    return shlex.quote(f"{key}={quoted}")


def refuse_several(override: Override) -> None:
    """Raise SeveralValues for an override that needs -m: range(3), or a list without brackets."""
    if override.is_sweep_override():
        key, value = override.key_or_group, override.get_value_string()
        as_text = f"; as text: {_text_word(key, value)}" if takes_text(key) else ""
        raise SeveralValues(
            f"{key}: got {value!r}, expected {_expected(key)}; several need -m{as_text}"
        )


def split_values(text: str, separators: str = ",") -> list[str]:
    """Return the parts of a text between the separators outside of quotes and brackets."""
    parts, start, place, depth = [], 0, 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        quoted = QUOTED.match(text, place)
        if quoted and text[start:place].strip(" \t[({") == "":
            place = quoted.end()
            continue
        depth += (text[place] in CLOSING) - (text[place] in CLOSING.values())
        if text[place] in separators and depth <= 0:
            parts.append(text[start:place].strip())
            start = place + 1
        place += 1
    return [*parts, text[start:].strip()]


def quote(text: str) -> str:
    """Return text in quotes if Hydra reads it as something else without quotes.

    Text that is quoted, text with Hydra's escapes, and null are returned unchanged.
    """
    if QUOTED.fullmatch(text) or text.lower() == "null":
        return text
    read = _as_hydra_reads(text)
    if isinstance(read, str) and (read == text or ESCAPED.search(text)):
        return text
    return str(QuotedString(text, Quote.single).with_quotes())


def _as_hydra_reads(value: str) -> object:
    """Return the value that Hydra reads in unquoted text; None if it reads none, or several."""
    try:
        override = OverridesParser.create().parse_override(f"key={value}")
        return None if override.is_sweep_override() else override.value()
    except HydraException:
        return None


def _element(key: str, value: str) -> str:
    """Return one value: a choice in its spelling, text in quotes, a number in digits."""
    if key in GROUPS:
        return _group_choice(key, value)
    if _is_free_text(key):
        return quote(value)
    if "${" in value or QUOTED.fullmatch(value):
        return value
    return _plain(plain_spelling(key, _without_quotes(value)))


def _group_choice(group: str, value: str) -> str:
    """Return a choice of a group in its spelling; raise InputError for several words."""
    bare = value[1:-1] if QUOTED.fullmatch(value) else _without_quotes(value)
    if re.search(r"\s[\w.]+=", bare):
        raise InputError(
            f"{group}: got {bare!r}, expected one choice; each KEY=VALUE is a word of its own"
        )
    if "${" in value or bare[:1] in CLOSING:
        return value
    return _plain(find_choice(group, bare))


def _plain(value: str) -> str:
    """Return a value unchanged if it is one word or number in Hydra's grammar, else in quotes."""
    return value if PLAIN.fullmatch(value) else quote(value)


def _without_quotes(value: str) -> str:
    """Return a value without typographic quotes around it."""
    typographic = TYPOGRAPHIC.fullmatch(value)
    return typographic[1] if typographic else value


def _list(key: str, value: str, several: bool) -> str:
    """Return a list in brackets, or with `several` an axis of lists."""
    if FUNCTION.fullmatch(value) or value.startswith("${") or value.lower() == "null":
        return value
    parts = split_values(value) if several else [value]
    if len(parts) == 1:
        return _one_list(key, value)
    for part in parts:
        if not _has_brackets(key, part):
            lists = "],[".join(parts)
            raise InputError(
                f"{key}: got {value!r}, which is several values here; "
                f"one list is {key}=[{value}], several are [{lists}]"
            )
    return ",".join(_one_list(key, part) for part in parts)


def _one_list(key: str, value: str) -> str:
    """Return one list in brackets, with its items in Hydra's grammar."""
    is_text = takes_text(key)
    if not is_text and QUOTED.fullmatch(value):
        value = value[1:-1]
    inner = value[1:-1] if _has_brackets(key, value) else value
    items = split_values(inner) if is_text else re.split(r"[,;\s]+", inner.strip())
    shown = []
    for item in items:
        if item:
            shown.append(_element(key, item))
    return f"[{','.join(shown)}]"


def _has_brackets(key: str, value: str) -> bool:
    """Return whether one pair of brackets encloses a value; for numbers also ( ) or { }."""
    if value[:1] not in CLOSING or (takes_text(key) and value[0] != "["):
        return False
    depth = 0
    for place, letter in enumerate(value):
        depth += (letter in CLOSING) - (letter in CLOSING.values())
        if not depth:
            return place == len(value) - 1
    return False


def _refuse_decimal_commas(key: str, value: str) -> None:
    """Raise InputError for 0,0005, which Hydra would take for the two values 0 and 5."""
    if key in OPTIONS and OPTIONS[key].type in (int, float) and re.search(r",\s*0\d", value):
        raise InputError(f"{key}: got {value!r}, expected {expected(key)}{_hint(key, value)}")


def _hint(key: str, value: str) -> str:
    """Return '; one number is written 0.05, several need -m', or the second part alone."""
    kind = OPTIONS[key].type if key in OPTIONS else None
    number = ""
    if kind is float and re.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", value):
        number = value.replace(",", ".")
    elif kind is int and re.fullmatch(r"\d{1,3}(,\d{3})+", value):
        number = value.replace(",", "")
    return f"; one number is written {number}, several need -m" if number else "; several need -m"


def _expected(key: str) -> str:
    """Return what an option, a group or another key takes, in words."""
    if key in OPTIONS:
        return expected(key)
    return "one choice" if key in GROUPS else "one value, or a list in brackets"
