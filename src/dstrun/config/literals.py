"""Numbers and choices in the spellings that people use: 5%, 10k, 1_000, 1×10^-4, VGG-16. Knows
config."""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from dstrun.config.options import OPTIONS

POWER = re.compile(r"(?:(?P<factor>[^^*×x]+)\s*[*×x]\s*)?10\s*(?:\^|\*\*)\s*(?P<exponent>[+-]?\d+)")
MULTIPLES = {"k": 1_000, "K": 1_000, "M": 1_000_000}
WHOLE = re.compile(r"[+-]?\d+")
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def takes_text(key: str) -> bool:
    """Return whether an option takes text, or a list of texts."""
    return key in OPTIONS and OPTIONS[key].type in (str, str | None, list[str])


def plain_spelling(key: str, text: str) -> str:
    """Return the text in the spelling that an option's check takes; as it is where it means no
    number or choice."""
    if key not in OPTIONS:
        return text
    entry = OPTIONS[key]
    if choices := entry.metadata["choices"]:
        off = "off" in choices and text.lower() in (
            "false",
            "no",
        )  # what YAML 1.1 makes of a bare off, or people say
        return "off" if off else find_spelling(text, choices)
    whole = entry.type in (int, list[int])
    if entry.type not in (int, float, list[int], list[float]) or (
        WHOLE if whole else DECIMAL
    ).fullmatch(text):
        return text
    number = read_number(text, share=_is_share(entry.metadata), whole=whole)
    return text if number is None else repr(number)


def _is_share(meta: Any) -> bool:
    """Return whether an option's numbers end at 1, so that a percentage can be meant."""
    return 1 in (meta["high"], meta["below"])


def read_number(text: str, *, share: bool = False, whole: bool = False) -> float | None:
    """Return the number that a text means, or None.

    Beside Python's spellings: a typographic minus, 1×10^-4 and 10^-4; for a share, 5%; for a whole
    number, 10k and 1M. Whole numbers come as int where they are whole: '1e3' is 1000."""
    text = text.strip().replace("−", "-")
    if power := POWER.fullmatch(text):
        text = f"{(power['factor'] or '1').strip()}e{power['exponent']}"
    factor = Decimal(1)
    if share and text.endswith("%"):
        text, factor = text[:-1], Decimal("0.01")
    elif whole and text[-1:] in MULTIPLES:
        text, factor = text[:-1], Decimal(MULTIPLES[text[-1]])
    try:
        number = Decimal(text.strip()) * factor
    except InvalidOperation:
        return None
    if not number.is_finite():
        return float(number)
    return int(number) if whole and number == number.to_integral_value() else float(number)


def find_spelling(word: str, known: Iterable[str]) -> str:
    """Return the one known word that differs in case and punctuation alone; the word itself where
    there is none."""
    known = list(known)
    if word in known:
        return word
    alike = [other for other in known if _bare(other) == _bare(word)]
    return alike[0] if len(alike) == 1 else word


def _bare(word: str) -> str:
    """Return the letters and digits of a word, in lower case."""
    return re.sub(r"[\W_]+", "", word).casefold()
