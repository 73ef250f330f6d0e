"""Words of a command line as people type them, converted to flags and KEY=VALUE. No Hydra.

–m  —help                       typographic dashes
model vgg16   --model vgg16     key and value as two words
seed = 1      'seed=1'          spaces around =, quotes that stayed around a word
train seed=1                    a verb that is implied
"""

import re
from collections import deque
from collections.abc import Sequence

from dstrun.config.groups import choices
from dstrun.config.messages import expected
from dstrun.config.options import GROUPS, OPTIONS
from dstrun.system.errors import InputError

FLAGS = {  # flags of Hydra: what they take
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
TRUTHS = ("true", "false", "yes", "no", "on", "off", "1", "0")
NUMBER = re.compile(r"-[\d.]")


def normalize_words(arguments: Sequence[str]) -> list[str]:
    """Return the words with plain dashes, without quotes, and with each override as one word.

    Flags come first, since Hydra takes none between overrides. Raise InputError for a key without a
    value.
    """
    rest = deque(_plain(argument) for argument in arguments)
    if rest and rest[0] in TRAIN:
        rest.popleft()
    flags, overrides = [], []
    while rest:
        word = rest.popleft()
        if word.partition("=")[0] in FLAGS:
            flags += _flag(word, rest)
        else:
            overrides.append(_override(word, rest))
    return [*flags, *overrides]


def _flag(word: str, rest: deque[str]) -> list[str]:
    """Return a flag and the value that it takes from the rest."""
    if word in ("--info", "-i"):  # argparse would take any next word for the value
        kind = rest.popleft() if rest and rest[0] in INFO else "all"
        return [f"--info={kind}"]
    return [word, rest.popleft()] if FLAGS.get(word) and rest else [word]


def plain_dashes(word: str) -> str:
    """Return a flag with the dashes of a keyboard: -m for –m, --help for —help."""
    name = word.lstrip(DASHES)
    dashes = word[: len(word) - len(name)]
    if not name or not dashes.strip("-"):
        return word
    is_negative_number = re.match(r"\.?\d", name)
    return f"-{name}" if is_negative_number or f"-{name}" in FLAGS else f"--{name}"


def _plain(word: str) -> str:
    """Return a word without enclosing quotes, spaces around its = and typographic dashes."""
    is_quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    if is_quoted and re.match(r".[\w.+~/@-]+=", word):
        word = word[1:-1]
    word = re.sub(r"^([\w.+~/@-]+)\s*=\s*", r"\1=", word.lstrip() if "=" in word else word)
    return plain_dashes(word)


def _override(word: str, rest: deque[str]) -> str:
    """Return the KEY=VALUE that a word begins, or the word; take the value from the rest."""
    if word.startswith("-"):
        word = _from_flag(word, rest)
    name, equals, value = word.partition("=")
    key = find_key(name)
    if key is None or value:
        return f"{key or name}{equals}{value}"
    equals = equals or _take_equals(rest)
    if rest and is_value(rest[0]):
        return f"{key}={rest.popleft()}"
    if equals:
        return f"{key}="
    wanted = expected(key) if key in OPTIONS else f"one of {', '.join(choices(key))}"
    raise InputError(f"{word}: expected {key}=VALUE, {wanted}")


def _take_equals(rest: deque[str]) -> str:
    """Take the = from the start of the rest and return it, or '' if there is none."""
    if not rest or not rest[0].startswith("="):
        return ""
    rest[0] = rest[0][1:]
    if not rest[0]:
        rest.popleft()
    return "="


def _from_flag(word: str, rest: deque[str]) -> str:
    """Return model=vgg16 for --model=vgg16, model for --model and overwrite=true for --overwrite.

    Another flag is returned unchanged.
    """
    name, equals, value = word.lstrip("-").partition("=")
    key = find_key(name)
    if key is None:
        return word
    is_switch = not equals and key in OPTIONS and OPTIONS[key].type is bool
    if is_switch and not (rest and rest[0].lower() in TRUTHS):
        return f"{key}=true"
    return f"{key}{equals}{value}"


def find_key(name: str) -> str | None:
    """Return the option or group that a name means: n_jobs for n-jobs, seed for Seed; or None."""
    bare = name.lstrip("+")
    spelled = bare.replace("-", "_").lower()
    if spelled not in OPTIONS and spelled not in GROUPS:
        return None
    return name[: len(name) - len(bare)] + spelled


def is_value(word: str) -> bool:
    """Return whether a word can be a value: neither a flag nor KEY=VALUE."""
    return "=" not in word and (not word.startswith("-") or bool(NUMBER.match(word)))
