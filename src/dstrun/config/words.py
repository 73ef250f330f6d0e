"""Words of a command line as people type them → verbs, flags and KEY=VALUE. No Hydra.

–m  —help                       typographic dashes
model vgg16   --model vgg16     a key and its value apart
seed = 1      'seed=1'          spaces around =, quotes left around a word
train seed=1                    a verb that goes without saying
"""

import re
from collections import deque
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dstrun.config.keys import check_key
from dstrun.config.literals import takes_text
from dstrun.config.messages import did_you_mean, expected
from dstrun.config.options import GROUPS, OPTIONS
from dstrun.system.errors import InputError

FLAGS = {  # Hydra's, and what they take
    "--help": "",
    "-h": "",
    "--hydra-help": "",
    "--version": "",
    "--resolve": "",
    "--run": "",
    "-r": "",
    "--multirun": "",
    "-m": "",
    "--shell-completion": "",
    "-sc": "",
    "--cfg": "job, hydra or all",
    "-c": "job, hydra or all",
    "--info": "",
    "-i": "",
    "--package": "a key",
    "-p": "a key",
    "--config-path": "a folder",
    "-cp": "a folder",
    "--config-dir": "a folder",
    "-cd": "a folder",
    "--config-name": "a name",
    "-cn": "a name",
    "--experimental-rerun": "a file",
}
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
DASHES = "-‐‑‒–—―−"
TRAIN = ("train", "run", "fit", "start")
OTHER_VERBS = {
    "evaluate": "eval",
    "test": "eval",
    "resume": "rerun",
    "retrain": "rerun",
    "repeat": "rerun",
    "show": "report",
    "table": "report",
    "compare": "report",
    "ui": "dashboard",
    "board": "dashboard",
    "convert": "export",
}
LISTS = ("list", "ls", "models", "choices", "options")
NUMBER = re.compile(r"-[\d.]")


def normalize_words(arguments: Sequence[str]) -> list[str]:
    """Return the words with plain dashes, without quotes around them, and key and value of an
    override in one word.

    Flags come first, since Hydra takes none between overrides.
    InputError for a key without its value.
    """
    rest = deque(_plain(argument) for argument in arguments)
    if rest and rest[0] in TRAIN:
        rest.popleft()
    flags, found = [], []
    while rest:
        word = rest.popleft()
        if word.partition("=")[0] in FLAGS:
            if word in (
                "--info",
                "-i",
            ):  # argparse would take whatever comes next for what is wanted
                word = f"--info={rest.popleft() if rest and rest[0] in INFO else 'all'}"
            flags += [word, rest.popleft()] if FLAGS.get(word) and rest else [word]
        else:
            found.append(_override(word, rest))
    return [*flags, *found]


def plain_dashes(word: str) -> str:
    """Return a flag with the dashes of the keyboard: -m for –m, --help for —help."""
    name = word.lstrip(DASHES)
    dashes = word[: len(word) - len(name)]
    if not name or not dashes.strip("-"):
        return word
    if re.match(r"\.?\d", name):  # a number below 0
        return f"-{name}"
    return f"-{name}" if f"-{name}" in FLAGS else f"--{name}"


def _plain(word: str) -> str:
    """Return a word without the quotes around all of it, the spaces around its = and typographic
    dashes."""
    if (
        len(word) > 1
        and word[0] == word[-1]
        and word[0] in "'\""
        and re.match(r".[\w.+~/@-]+=", word)
    ):
        word = word[1:-1]
    word = re.sub(r"^([\w.+~/@-]+)\s*=\s*", r"\1=", word.lstrip() if "=" in word else word)
    return plain_dashes(word)


def _override(word: str, rest: deque[str]) -> str:
    """Return the word, or the KEY=VALUE that it is the beginning of; takes the value's words from
    the rest."""
    if word.startswith("-"):
        word = _from_flag(word, rest)
    name, equals, value = word.partition("=")
    key = find_key(name)
    if key is None or value:
        return f"{key or name}{equals}{value}"
    if not equals and rest and rest[0].startswith("="):
        rest[0] = rest[0][1:]
        equals = "="
        if not rest[0]:
            rest.popleft()
    if rest and _is_value(rest[0]):
        return f"{key}={rest.popleft()}"
    if equals:
        return f"{key}="
    raise InputError(f"{word}: expected {key}=VALUE, {_wanted(key)}")


def _wanted(key: str) -> str:
    if key in OPTIONS:
        return expected(key)
    from dstrun.config.sources import choices  # which imports Hydra

    return f"one of {', '.join(choices(key))}"


def _from_flag(word: str, rest: deque[str]) -> str:
    """Return model=vgg16 for --model=vgg16, model for --model, overwrite=true for --overwrite; else
    the flag."""
    name, equals, value = word.lstrip("-").partition("=")
    key = find_key(name)
    if key is None:
        return word
    if (
        not equals
        and key in OPTIONS
        and OPTIONS[key].type is bool
        and not (rest and _is_truth(rest[0]))
    ):
        return f"{key}=true"
    return f"{key}{equals}{value}"


def find_key(name: str) -> str | None:
    """Return the option or group that is meant: n_jobs for n-jobs, seed for Seed; None where none
    is."""
    prefix = name[: len(name) - len(name.lstrip("+"))]
    spelled = name.lstrip("+").replace("-", "_").lower()
    return prefix + spelled if spelled in OPTIONS or spelled in GROUPS else None


def _is_value(word: str) -> bool:
    return "=" not in word and (not word.startswith("-") or bool(NUMBER.match(word)))


def _is_truth(word: str) -> bool:
    return word.lower() in ("true", "false", "yes", "no", "on", "off", "1", "0")


def refuse_strays(words: Sequence[str], verbs: Sequence[str]) -> None:
    """Raise InputError, with what was probably meant, for a word that is no flag, no flag's value
    and no override."""
    rest = deque(words)
    word = ""
    while rest:
        before, word = word, rest.popleft()
        name, _, value = word.partition("=")
        if word.startswith("-"):
            _refuse_flag(name, value or (rest[0] if rest and _is_value(rest[0]) else ""))
            if FLAGS[name]:
                _refuse_value(name, value if "=" in word else rest.popleft() if rest else "")
            elif "=" in word and not (name == "--info" and value in INFO):
                raise InputError(
                    f"{word}: expected {name}{f'={chr(124).join(INFO)}' if name == '--info' else ' alone'}"
                )
        elif "=" not in word and not word.startswith("~"):
            raise InputError(_stray(word, rest, verbs, before))


def _refuse_flag(flag: str, value: str) -> None:
    if flag in FLAGS:
        return
    near = get_close_matches(flag, FLAGS, n=1, cutoff=0.8)
    hint = _near_option(flag.lstrip("-"), value) or did_you_mean(near)
    raise InputError(f"{flag}: there is no such flag; options are written KEY=VALUE{hint}")


def _near_option(name: str, value: str) -> str:
    """Return '; did you mean schedule.lr=0.1?' for a name that is near that of an option, or
    nothing."""
    try:
        check_key(name, value)
    except InputError as error:
        return str(error).partition("there is no such option")[2]
    return ""


def _refuse_value(flag: str, value: str) -> None:
    """Raise InputError for a flag's value that is none: nothing, an override, or another form of
    config."""
    if "=" in value and find_key(value.partition("=")[0]):
        value = ""
    if not value or (flag in ("--cfg", "-c") and value not in ("job", "hydra", "all")):
        raise InputError(f"{flag}: got {value or 'nothing'}, expected {FLAGS[flag]}")


def _stray(word: str, rest: Sequence[str], verbs: Sequence[str], before: str) -> str:
    """Return the complaint about a word that stands alone; `before` is the word in front of it."""
    if before.endswith(","):
        return f"{word}: values are separated by commas without blanks: {before}{word.rstrip(',')}"
    if "=" in before and takes_text(before.partition("=")[0]):
        return f"{word}: a value with blanks stands in quotes: '{before} {word}'"
    if word in LISTS:
        return f"{word}: `dstrun --help` lists models, data sets and options, `dstrun report` lists runs"
    if word in verbs:
        return f"{word}: a verb comes first: dstrun {word} …"
    if (Path(word) / "config.yaml").is_file():
        return (
            f"{word}: is a run; `dstrun rerun {word}` does it again, `dstrun eval {word}` tests it"
        )
    if (found := re.fullmatch(r"([\w.]+):(.+)", word)) and (key := find_key(found[1])):
        return f"{word}: expected KEY=VALUE: {key}={found[2]}"
    hint = did_you_mean(
        [OTHER_VERBS[word]] if word in OTHER_VERBS else get_close_matches(word, verbs, n=1)
    )
    hint = hint or did_you_mean(_as_choices(word))
    if rest and _is_value(rest[0]):
        hint = hint or _near_option(word, rest[0])
    return f"{word}: neither a verb ({', '.join(verbs)}) nor KEY=VALUE{hint}"


def _as_choices(word: str) -> list[str]:
    """Return model=vgg16 for vgg16: the overrides that choose what a word names."""
    from dstrun.config.sources import choices, find_choice  # which imports Hydra

    return [
        f"{group}={choice}"
        for group in GROUPS
        if (choice := find_choice(group, word)) in choices(group)
    ]
