"""Parts of messages to the user: near names, what an option expects, OmegaConf's errors."""

from collections.abc import Iterable
from difflib import get_close_matches

from omegaconf.errors import GrammarParseError, OmegaConfBaseException, ValidationError

from dstrun.config.options import OPTIONS


def near(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean …?' for the closest of the known words, or nothing."""
    by_last = {key.rsplit(".", 1)[-1]: key for key in known}
    found = get_close_matches(word, list(known), n=3, cutoff=0.7)
    found += [
        by_last[last]
        for last in get_close_matches(word.rsplit(".", 1)[-1], by_last, n=1, cutoff=0.7)
    ]
    return did_you_mean(dict.fromkeys(found))


def did_you_mean(words: Iterable[str], value: str = "") -> str:
    """Return '; did you mean …?', each word with its value where there is one; nothing without
    words."""
    spelled = " or ".join(f"{word}={value}" if value else word for word in words)
    return f"; did you mean {spelled}?" if spelled else ""


def expected(key: str) -> str:
    """What an option takes, in words: 'a number > 0', 'one of sgd, adam, adamw'."""
    entry = OPTIONS[key]
    meta = entry.metadata
    if meta["choices"]:
        return f"one of {', '.join(meta['choices'])}"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        str | None: "text or null",
        list[int]: "a list of whole numbers",
        list[float]: "a list of numbers",
        list[str]: "a list of words",
    }
    bounds = [
        f"{sign} {meta[bound]:.10g}"
        for sign, bound in (("≥", "low"), (">", "above"), ("≤", "high"), ("<", "below"))
        if meta[bound] is not None
    ]
    return " ".join([words.get(entry.type, "key: value pairs"), " and ".join(bounds)]).strip()  # type: ignore[arg-type]


def plain_key(full_key: str | None) -> str:
    """omegaconf's key without the index into a list."""
    return (full_key or "").split("[")[0]


def explained(error: OmegaConfBaseException) -> str:
    """omegaconf's complaint in one line: the option, what came, what was expected."""
    key = plain_key(error.full_key)
    if key in OPTIONS and isinstance(error, ValidationError):
        return f"{key}: got {'null' if error.value is None else repr(error.value)}, expected {expected(key)}"
    if isinstance(error, GrammarParseError):
        return f"{key}: got text with ${{ in it, which begins an interpolation such as ${{seed}}"
    if "." in str(error.key):
        section, _, last = str(error.key).rpartition(".")
        return f"{key}: in a file it is written as `{section}:` and, indented below that, `{last}:`"
    first = str(error.msg or error).splitlines()[0]
    return f"{key}: {first}" if key else first
