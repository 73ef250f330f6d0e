"""Numbers and choices in the spellings that people use: 5%, 10k, 1_000, 1×10^-4, VGG-16."""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from dstrun.config.options import OPTIONS

POWER = re.compile(r"(?:(?P<factor>[^^*×x]+)\s*[*×x]\s*)?10\s*(?:\^|\*\*)\s*(?P<exponent>[+-]?\d+)")
PERCENT = Decimal("0.01")
MULTIPLES = {"k": Decimal(1_000), "K": Decimal(1_000), "M": Decimal(1_000_000)}
WHOLE = re.compile(r"[+-]?\d+")
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS_FOR_OFF = ("false", "no")  # YAML 1.1 reads a bare `off` as false, and people say no


def takes_text(key: str) -> bool:
    """Return whether an option takes text, or a list of texts."""
    return key in OPTIONS and OPTIONS[key].type in (str, str | None, list[str])


def plain_spelling(key: str, text: str) -> str:
    """Return a number or choice in the spelling that the check of its option takes.

    Text that means neither is returned unchanged.
    """
    if key not in OPTIONS:
        return text
    entry = OPTIONS[key]
    if choices := entry.metadata["choices"]:
        is_off = "off" in choices and text.lower() in WORDS_FOR_OFF
        return "off" if is_off else find_spelling(text, choices)
    whole = entry.type in (int, list[int])
    if not whole and entry.type not in (float, list[float]):
        return text
    if (WHOLE if whole else DECIMAL).fullmatch(text):
        return text
    number = read_number(text, share=_is_share(entry.metadata), whole=whole)
    return text if number is None else repr(number)


def _is_share(meta: Any) -> bool:
    """Return whether an option's numbers end at 1, so that a percentage makes sense."""
    return 1 in (meta["high"], meta["below"])


def read_number(text: str, *, share: bool = False, whole: bool = False) -> float | None:
    """Return the number that a text means, or None.

    Python's spellings are known, and a typographic minus, 1×10^-4 and 10^-4; with `share` 5%; with
    `whole` 10k and 1M. With `whole`, a number without a fraction is an int: '1e3' is 1000.
    """
    text = text.strip().replace("−", "-")
    if power := POWER.fullmatch(text):
        text = f"{(power['factor'] or '1').strip()}e{power['exponent']}"
    text, factor = _split_unit(text, share, whole)
    try:
        number = Decimal(text.strip()) * factor
    except InvalidOperation:
        return None
    if whole and number.is_finite() and number == number.to_integral_value():
        return int(number)
    return float(number)


def _split_unit(text: str, share: bool, whole: bool) -> tuple[str, Decimal]:
    """Return a number's text without its unit (%, k, M), and the factor that the unit means."""
    if share and text.endswith("%"):
        return text[:-1], PERCENT
    if whole and text[-1:] in MULTIPLES:
        return text[:-1], MULTIPLES[text[-1]]
    return text, Decimal(1)


def find_spelling(word: str, known: Iterable[str]) -> str:
    """Return the only known word that differs from `word` in case and punctuation alone.

    Without such a word, or with several, `word` itself is returned.
    """
    known = list(known)
    if word in known:
        return word
    alike = [other for other in known if _letters(other) == _letters(word)]
    return alike[0] if len(alike) == 1 else word


def _letters(word: str) -> str:
    """Return the letters and digits of a word, in lower case."""
    return re.sub(r"[\W_]+", "", word).casefold()
