"""Parts of messages: similar names, what an option expects, OmegaConf's errors."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from omegaconf.errors import GrammarParseError, OmegaConfBaseException, ValidationError

from dstrun.config.options import OPTIONS
from dstrun.config.sparsity_options import OTHERS, SEARCHED

KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    str | None: "text or null",
    list[int]: "a list of whole numbers",
    list[float]: "a list of numbers",
    list[str]: "a list of words",
}
NAMED = 3  # of the values that an option is for
SIGNS = {"low": "≥", "above": ">", "high": "≤", "below": "<"}


def near(word: str, known: Collection[str]) -> str:
    """Return '; did you mean …?' with the known words closest to a word, or ''."""
    searched = SEARCHED.get(word.lower().replace("-", "_"), ())
    if searched and {one.split()[0] for one in searched} <= {*known}:
        return did_you_mean(searched)
    by_last = {key.rsplit(".", 1)[-1]: key for key in known}
    found = get_close_matches(word, list(known), n=3, cutoff=0.7)
    for last in get_close_matches(word.rsplit(".", 1)[-1], by_last, n=1, cutoff=0.7):
        found.append(by_last[last])
    return did_you_mean(dict.fromkeys(found))


def near_of_package(name: str, packages: Iterable[str]) -> str:
    """Return '; did you mean timm:NAME?' where a name, or what is before its colon, is near."""
    package, _, own = name.partition(":")
    found = get_close_matches(package, list(packages), n=1, cutoff=0.7)
    return did_you_mean(f"{one}:{own or 'NAME'}" for one in found)


def did_you_mean(words: Iterable[str], value: str = "") -> str:
    """Return '; did you mean …?' with WORD=value for each word, or WORD without a value, or ''."""
    spelled = " or ".join(f"{word}={value}" if value else word for word in words)
    return f"; did you mean {spelled}?" if spelled else ""


def expected(key: str) -> str:
    """Return what an option takes, in words: 'a number > 0', 'one of sgd, adam, adamw'."""
    entry = OPTIONS[key]
    if choices := entry.metadata["choices"]:
        return f"{'some' if entry.type == list[str] else 'one'} of {', '.join(choices)}"
    kind = KINDS.get(entry.type, "key: value pairs")
    bounds = []
    for name, sign in SIGNS.items():
        if (bound := entry.metadata[name]) is not None:
            bounds.append(f"{sign} {bound:.10g}")
    return f"{kind} {' and '.join(bounds)}".strip()


def condition(key: str) -> str:
    """Return what an option is for: 'reg.method=set, rigl, snfs and 2 more', or '' for all runs."""
    other, *values = OPTIONS[key].metadata["when"] or ("",)
    known = [value for value in values if value != OTHERS]
    if not known:
        return OTHERS if values else ""
    if len(known) > NAMED:
        return f"{other}={', '.join(known[:NAMED])} and {len(known) - NAMED} more"
    return f"{other}={' or '.join(known)}"


def quoted(value: object) -> str:
    """Return a value as messages show it: null for None, else its repr."""
    return "null" if value is None else repr(value)


def plain_key(full_key: str | None) -> str:
    """Return OmegaConf's key without the index into a list."""
    return (full_key or "").split("[")[0]


def explained(error: OmegaConfBaseException) -> str:
    """Return an error of OmegaConf in one line: the option, what came, what was expected."""
    key = plain_key(error.full_key)
    if key in OPTIONS and isinstance(error, ValidationError):
        return f"{key}: got {quoted(error.value)}, expected {expected(key)}"
    if isinstance(error, GrammarParseError):
        return f"{key}: got text with ${{ in it, which begins an interpolation such as ${{seed}}"
    if "." in str(error.key):
        section, _, last = str(error.key).rpartition(".")
        return f"{key}: in a file it is written as `{section}:` and, indented below that, `{last}:`"
    first = str(error.msg or error).splitlines()[0]
    return f"{key}: {first}" if key else first
