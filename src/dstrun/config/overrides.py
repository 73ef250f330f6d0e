"""Overrides of the command line, checked and in Hydra's grammar."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hydra.core.override_parser.types import Override

from dstrun.config.keys import check_key
from dstrun.config.messages import quoted
from dstrun.config.options import FREE, GROUPS
from dstrun.config.values import in_hydras_grammar, parse_overrides, refuse_several
from dstrun.system.errors import InputError
from dstrun.system.run_files import STATUS_FILE

MULTIRUN = ("-m", "--multirun")
COMPLETION = ("-sc", "--shell-completion")
SHOWING = ("--cfg", "-c", "--info", "-i", "--hydra-help")
WITHOUT_BASE_CHOICE = ("schedule", "experiment", "sweep")  # groups that may be null


def words_for_hydra(words: Sequence[str]) -> list[str]:
    """Return flags and overrides as Hydra takes them, with -m in front for several runs.

    Raise InputError for words that would do something else than they say.
    """
    if set(COMPLETION) & set(words):  # install=bash looks like an override
        return list(words)
    _refuse_traps(words)
    several = _is_multirun(words)
    taken = []
    for word in words:
        if word not in MULTIRUN:
            taken.append(normalize_override(word, several) if _is_override(word) else word)
    taken += replacing(taken)
    return ["-m", *taken] if several else taken


def _is_multirun(words: Sequence[str]) -> bool:
    """Return whether the words ask for several runs; a config that is only shown is one."""
    if any(word.partition("=")[0] in SHOWING for word in words):
        return False
    return any(
        word in MULTIRUN or (word.startswith("sweep=") and word != "sweep=null") for word in words
    )


def replacing(words: Sequence[str]) -> list[str]:
    """Return overrides by which reg.density replaces the other word for it, such as a recipe's."""
    values = {}
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        values[key] = value
    is_given = values.get("reg.density", "").strip("0.") != ""  # 0: not given
    replaces = is_given and "reg.target_density" not in values
    return ["reg.target_density=0"] if replaces else []


def _refuse_traps(words: Sequence[str]) -> None:
    """Raise InputError for flags of Hydra that train something else, or run the file they read."""
    for flag, value in pairwise([*words, ""]):
        name, _, attached = flag.partition("=")
        if name == "--experimental-rerun":
            raise InputError(f"{name}: it runs code from a file; `dstrun rerun RUN` does not")
        folder = attached or value
        if name in ("--config-dir", "-cd") and (Path(folder) / STATUS_FILE).is_file():
            raise InputError(
                f"{name}: {folder} is a run, and its config would not be used; "
                "`dstrun rerun` uses it"
            )


def _is_override(word: str) -> bool:
    """Return whether a word sets or deletes something."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def normalize_override(word: str, several: bool = True) -> str:
    """Return an override in Hydra's grammar; with `several`, commas separate values, as with -m.

    Raise InputError for a key that is no option, and for several values without `several`.
    """
    name, equals, value = word.partition("=")
    if name == "reg.method":  # reg=NAME alone has the defaults of the method's authors
        name = "reg"
    key = name.lstrip("+")
    if equals and not key:
        raise InputError(f"{word}: expected KEY=VALUE")
    if key == "recipe":
        raise InputError("recipe: it follows from model and data; choose those, or an experiment")
    if equals and not key.startswith("~"):
        is_plain = "@" not in name and "/" not in name and not key.startswith("hydra")
        if is_plain:
            check_key(key, value, (*GROUPS, "recipe"))
        word = f"{name}={in_hydras_grammar(key, value, several)}"
    (override,) = parse_overrides([word])
    if not several:
        refuse_several(override)
    return _check_override(word, override)


def _check_override(word: str, override: Override) -> str:
    """Return the word of an override, with ++ for free options, which may get new keys.

    Raise InputError for an unknown key, and for a choice that a group cannot have.
    """
    key = override.key_or_group
    if key in GROUPS:
        _check_choice(word, override)
        return word
    if key.startswith("hydra") or "/" in key or override.is_delete():
        return word
    check_key(key)
    is_free = any(f"{key}.".startswith(f"{free}.") for free in FREE)
    return "++" + word.lstrip("+") if is_free else word


def _check_choice(word: str, override: Override) -> None:
    """Raise InputError for an override of a group that chooses nothing, or several sweeps."""
    group, several = override.key_or_group, override.is_sweep_override()
    if group == "sweep" and several:
        raise InputError(f"sweep: got {word.partition('=')[2]}, expected one sweep")
    if override.is_delete():
        if group in ("model", "data"):
            raise InputError(f"~{group}: a run needs one; {group}=CHOICE chooses another")
    elif not several and not _is_choice(group, choice := override.value()):
        raise InputError(f"{group}: got {quoted(choice)}, expected the name of a choice")


def _is_choice(group: str, value: object) -> bool:
    """Return whether a value can be the choice of a group; null can, without a base choice."""
    return isinstance(value, str) or (value is None and group in WITHOUT_BASE_CHOICE)
