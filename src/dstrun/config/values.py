"""Values as people type them → Hydra's grammar: text stays text, lists get their brackets, choices
their spelling.

What is written in Hydra's grammar stays so: 'quoted', ${interpolation}, choice(a,b), range(3), and
with -m a,b."""

import re
import shlex
from collections.abc import Sequence
from typing import get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

from dstrun.config.hydra_errors import one_line
from dstrun.config.literals import plain_spelling, takes_text
from dstrun.config.messages import expected
from dstrun.config.options import FREE, GROUPS, OPTIONS
from dstrun.config.sources import find_choice
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
    """Several values came where one is wanted."""


def parsed(words: Sequence[str]) -> list[Override]:
    """Return overrides in Hydra's grammar; InputError for what is not one."""
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except (OverrideParseException, HydraException) as error:
        name, _, value = (words[0] if len(words) == 1 else "").partition("=")
        if re.fullmatch(r"[+]*[\w.]+", name) and not QUOTED.fullmatch(value):
            raise InputError(
                f"{name}: got {value!r}, which Hydra's grammar cannot read; as text: {_text_word(name, value)}"
            ) from error
        raise InputError(f"{' '.join(words)}: expected KEY=VALUE ({one_line(error)})") from error


def in_hydras_grammar(key: str, value: str, several: bool) -> str:
    """Return what Hydra must be given as the value of an option or group.

    `several`: commas separate the values of an axis, as with -m. Keys that are neither option nor
    group (model.args.width, hydra.launcher.x), options of any keys (model.args) and empty values
    are left alone. InputError for several values where one is wanted, and for a list without
    brackets among several."""
    value = value.strip()
    if not value or key in FREE or (key not in OPTIONS and key not in GROUPS):
        return value
    if key in OPTIONS and get_origin(OPTIONS[key].type) is list:
        return _list(key, value, several)
    if function := FUNCTION.fullmatch(value):
        if function[1] != "choice" or not several:
            return value
        return ",".join(_element(key, part) for part in split_values(function[2]))
    parts = split_values(value)
    if len(parts) > 1 and several:
        _refuse_decimal_commas(key, value)
        return ",".join(_element(key, part) for part in parts)
    if len(parts) > 1 and not (takes_text(key) and not OPTIONS[key].metadata["choices"]):
        raise SeveralValues(f"{key}: got {value!r}, expected {_expected(key)}{_hint(key, value)}")
    return _element(key, value)


def _text_word(key: str, value: str) -> str:
    """Return the word that a shell takes for a value that is text: 'name="range(3)"'."""
    quoted = f'"{value}"' if not set("\"\\'") & set(value) else quote(value)
    return shlex.quote(f"{key}={quoted}")


def refuse_several(override: Override) -> None:
    """Raise SeveralValues for an override that only -m takes: range(3), or a list's values without
    brackets."""
    if override.is_sweep_override():
        key, value = override.key_or_group, override.get_value_string()
        as_text = f"; as text: {_text_word(key, value)}" if takes_text(key) else ""
        raise SeveralValues(
            f"{key}: got {value!r}, expected {_expected(key)}; several need -m{as_text}"
        )


def split_values(text: str, separators: str = ",") -> list[str]:
    """Return the parts between separators that stand in no quotes and no brackets."""
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
    """Return text in quotes, unless Hydra reads it as just this text without; what Hydra escapes
    stays, and null."""
    if QUOTED.fullmatch(text) or text.lower() == "null":
        return text
    read = _as_hydra_reads(text)
    if isinstance(read, str) and (read == text or ESCAPED.search(text)):
        return text
    return str(QuotedString(text, Quote.single).with_quotes())


def _as_hydra_reads(value: str) -> object:
    """Return what Hydra makes of an unquoted value; None where it cannot read it, or takes it for
    several."""
    try:
        override = OverridesParser.create().parse_override(f"key={value}")
        return None if override.is_sweep_override() else override.value()
    except HydraException:
        return None


def _element(key: str, value: str) -> str:
    """Return one value: a choice in its spelling, text in quotes, a number in digits."""
    if key in GROUPS:
        bare = value[1:-1] if QUOTED.fullmatch(value) else _without_quotes(value)
        if re.search(r"\s[\w.]+=", bare):
            raise InputError(
                f"{key}: got {bare!r}, expected one choice; each KEY=VALUE is a word of its own"
            )
        return value if "${" in value or bare[:1] in CLOSING else _plain(find_choice(key, bare))
    if takes_text(key) and not OPTIONS[key].metadata["choices"]:
        return quote(value)
    return (
        value
        if "${" in value or QUOTED.fullmatch(value)
        else _plain(plain_spelling(key, _without_quotes(value)))
    )


def _plain(value: str) -> str:
    """Return a value as it is where Hydra's grammar has it as one word or number, else in
    quotes."""
    return value if PLAIN.fullmatch(value) else quote(value)


def _without_quotes(value: str) -> str:
    typographic = TYPOGRAPHIC.fullmatch(value)
    return typographic[1] if typographic else value


def _list(key: str, value: str, several: bool) -> str:
    """Return a list in brackets, or with `several` an axis of lists."""
    if FUNCTION.fullmatch(value) or value.startswith("${") or value.lower() == "null":
        return value
    parts = split_values(value)
    if several and len(parts) > 1:
        if not all(_brackets(key, part) for part in parts):
            raise InputError(
                f"{key}: got {value!r}, which is several values here; one list is {key}=[{value}], "
                f"several are {','.join(f'[{part}]' for part in parts)}"
            )
        return ",".join(_one_list(key, part) for part in parts)
    return _one_list(key, value)


def _one_list(key: str, value: str) -> str:
    text = takes_text(key)
    if not text and QUOTED.fullmatch(value):
        value = value[1:-1]
    inner = value[1:-1] if _brackets(key, value) else value
    items = split_values(inner) if text else re.split(r"[,;\s]+", inner.strip())
    return f"[{','.join(quote(item) if text else _element(key, item) for item in items if item)}]"


def _brackets(key: str, value: str) -> bool:
    """Return whether a pair of brackets is around a whole value; numbers may stand in ( ) or { } as
    well."""
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
    """Return '; one number is written 0.05, several need -m', as far as it applies."""
    kind = OPTIONS[key].type if key in OPTIONS else None
    number = ""
    if kind is float and re.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", value):
        number = value.replace(",", ".")
    elif kind is int and re.fullmatch(r"\d{1,3}(,\d{3})+", value):
        number = value.replace(",", "")
    return f"; one number is written {number}, several need -m" if number else "; several need -m"


def _expected(key: str) -> str:
    return (
        expected(key)
        if key in OPTIONS
        else "one choice"
        if key in GROUPS
        else "one value, or a list in brackets"
    )
