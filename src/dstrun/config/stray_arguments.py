"""Refusal of words on the command line that mean nothing, with what was probably meant."""

import re
from collections import deque
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dstrun.config.command_line import FLAGS, INFO, find_key, is_value
from dstrun.config.groups import choices, find_choice
from dstrun.config.keys import check_key
from dstrun.config.literals import takes_text
from dstrun.config.messages import did_you_mean
from dstrun.config.options import GROUPS
from dstrun.system.errors import InputError
from dstrun.system.run_files import CONFIG_FILE

OTHER_VERBS = {
    "evaluate": "eval",
    "test": "eval",
    "resume": "rerun",
    "retrain": "rerun",
    "repeat": "rerun",
    "show": "report",
    "table": "report",
    "plot": "figure",
    "figures": "figure",
    "compare": "report",
    "ui": "dashboard",
    "board": "dashboard",
    "convert": "export",
}
LISTS = ("list", "ls", "models", "choices", "options")


def refuse_strays(words: Sequence[str], verbs: Sequence[str]) -> None:
    """Raise InputError for a word that is no flag, no value of a flag and no override."""
    rest = deque(words)
    word = ""
    while rest:
        before, word = word, rest.popleft()
        if word.startswith("-"):
            _check_flag(word, rest)
        elif "=" not in word and not word.startswith("~"):
            raise InputError(_stray(word, rest, verbs, before))


def _check_flag(word: str, rest: deque[str]) -> None:
    """Raise InputError for an unknown flag or a wrong value; take the value from the rest."""
    flag, equals, value = word.partition("=")
    if flag not in FLAGS:
        raise InputError(_unknown_flag(flag, value or _first_value(rest)))
    if FLAGS[flag]:
        if not equals and rest:
            value = rest.popleft()
        _check_flag_value(flag, value)
    elif equals and not (flag == "--info" and value in INFO):
        form = f"--info={'|'.join(INFO)}" if flag == "--info" else f"{flag} alone"
        raise InputError(f"{word}: expected {form}")


def _first_value(rest: Sequence[str]) -> str:
    """Return the next word if it can be a value, else ''."""
    return rest[0] if rest and is_value(rest[0]) else ""


def _unknown_flag(flag: str, value: str) -> str:
    """Return the message for an unknown flag, with the option or flag that was probably meant."""
    near = get_close_matches(flag, FLAGS, n=1, cutoff=0.8)
    hint = _near_option(flag.lstrip("-"), value) or did_you_mean(near)
    return f"{flag}: there is no such flag; options are written KEY=VALUE{hint}"


def _near_option(name: str, value: str) -> str:
    """Return '; did you mean schedule.lr=0.1?' for a name similar to that of an option, or ''."""
    try:
        check_key(name, value)
    except InputError as error:
        return str(error).partition("there is no such option")[2]
    return ""


def _check_flag_value(flag: str, value: str) -> None:
    """Raise InputError for a missing value of a flag, or one that is an override or unknown."""
    if "=" in value and find_key(value.partition("=")[0]):
        value = ""
    if not value or (flag in ("--cfg", "-c") and value not in ("job", "hydra", "all")):
        raise InputError(f"{flag}: got {value or 'nothing'}, expected {FLAGS[flag]}")


def _stray(word: str, rest: Sequence[str], verbs: Sequence[str], before: str) -> str:
    """Return the message for a word without a meaning; `before` is the word in front of it."""
    if before.endswith(","):
        return f"{word}: values are separated by commas without blanks: {before}{word.rstrip(',')}"
    if "=" in before and takes_text(before.partition("=")[0]):
        return f"{word}: a value with blanks needs quotes: '{before} {word}'"
    if word in LISTS:
        return (
            f"{word}: `dstrun --help` lists models, data sets and options, "
            "`dstrun report` lists runs"
        )
    if word in verbs:
        return f"{word}: a verb comes first: dstrun {word} …"
    if (Path(word) / CONFIG_FILE).is_file():
        uses = f"`dstrun rerun {word}` trains it again, `dstrun eval {word}` tests it"
        return f"{word}: is a run; {uses}"
    found = re.fullmatch(r"([\w.]+):(.+)", word)
    if found and (key := find_key(found[1])):
        return f"{word}: expected KEY=VALUE: {key}={found[2]}"
    hint = _hint(word, _first_value(rest), verbs)
    return f"{word}: neither a command ({', '.join(verbs)}) nor KEY=VALUE{hint}"


def _hint(word: str, value: str, verbs: Sequence[str]) -> str:
    """Return '; did you mean …?' with a verb, a choice or an option similar to a word, or ''."""
    similar = [OTHER_VERBS[word]] if word in OTHER_VERBS else get_close_matches(word, verbs, n=1)
    hint = did_you_mean(similar) or did_you_mean(_choices_called(word))
    return hint or (_near_option(word, value) if value else "")


def _choices_called(word: str) -> list[str]:
    """Return the overrides that choose what a word names: model=vgg16 for vgg16."""
    found = []
    for group in GROUPS:
        choice = find_choice(group, word)
        if choice in choices(group):
            found.append(f"{group}={choice}")
    return found
