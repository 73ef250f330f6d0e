"""Configs from words of the command line, composed by Hydra, and from a run's config.yaml."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dstrun.config.groups import packaged_folder
from dstrun.config.hydra_errors import is_from_hydra, one_line
from dstrun.config.keys import check_key
from dstrun.config.messages import quoted
from dstrun.config.options import FREE, GROUPS
from dstrun.config.sources import register_plugins
from dstrun.config.values import SeveralValues, in_hydras_grammar, parse_overrides, refuse_several
from dstrun.system.errors import InputError
from dstrun.system.run_files import STATUS_FILE

MULTIRUN = ("-m", "--multirun")
COMPLETION = ("-sc", "--shell-completion")
SHOWING = ("--cfg", "-c", "--info", "-i", "--hydra-help")
KEPT_OF_DATA = ("root", "download", "train_limit", "test_limit", "validation")
WITHOUT_BASE_CHOICE = ("schedule", "experiment", "sweep")  # groups that may be null


def compose_single(words: Sequence[str]) -> DictConfig | None:
    """Return the config of a single run, with Hydra's part in `HydraConfig`.

    None where Hydra itself must act: for a multirun, a flag, an option of Hydra, and a config with
    a mode or callbacks of Hydra. For any other config `hydra.main` would do the same but compose
    everything twice, the first time to find the mode: 0.15 s. Raise InputError for what Hydra or
    the schema refuses.
    """
    register_plugins()
    if set(COMPLETION) & set(words):  # its words, install=bash, look like overrides
        return None
    words = words_for_hydra(words)
    if any(word.startswith("-") or "hydra" in word for word in words):
        return None
    with _errors_in_one_line(words):
        composed = _compose("config", words, return_hydra_config=True)
    if composed.hydra.mode is not None or composed.hydra.callbacks:
        return None
    HydraConfig.instance().set_config(composed)
    with open_dict(composed):
        del composed["hydra"]
    return composed


def call_by_hydra(words: Sequence[str], task: Callable[[DictConfig], None]) -> None:
    """Hand the words to Hydra, which calls `task`, for each job of a multirun or once.

    Raise InputError for what Hydra or the schema refuses.
    """
    register_plugins()
    is_completion = set(COMPLETION) & set(words)
    words = words if is_completion else words_for_hydra(words)
    with _errors_in_one_line(words):
        conf = str(packaged_folder("conf"))
        hydra.main(version_base="1.3", config_path=conf, config_name="config")(task)()


@contextmanager
def _errors_in_one_line(words: Sequence[str]) -> Iterator[None]:
    """Raise InputError for Hydra's errors, which it raises for these arguments."""
    with _arguments_for_hydra(words):
        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(one_line(error)) from error
        except Exception as error:
            if is_from_hydra(error):
                raise InputError(one_line(error)) from error
            raise


def _compose(name: str, words: Sequence[str] = (), **options: bool) -> DictConfig:
    """Return the config that Hydra composes from a file of dstrun's conf and overrides."""
    with hydra.initialize_config_dir(str(packaged_folder("conf")), version_base="1.3"):
        return hydra.compose(name, list(words), **options)


@contextmanager
def _arguments_for_hydra(words: Sequence[str]) -> Iterator[None]:
    """Set the arguments that Hydra reads, and let it raise errors instead of printing them."""
    arguments, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = [arguments[0], *words], "1"
    try:
        yield
    finally:
        sys.argv = arguments
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def words_for_hydra(words: Sequence[str]) -> list[str]:
    """Return flags and overrides as Hydra takes them, with -m in front for several runs.

    Raise InputError for words that would do something else than they say.
    """
    _refuse_traps(words)
    several = _is_multirun(words)
    taken = []
    for word in words:
        if word not in MULTIRUN:
            taken.append(normalize_override(word, several) if _is_override(word) else word)
    return ["-m", *taken] if several else taken


def _is_multirun(words: Sequence[str]) -> bool:
    """Return whether the words ask for several runs; a config that is only shown is one."""
    if any(word.partition("=")[0] in SHOWING for word in words):
        return False
    return any(
        word in MULTIRUN or (word.startswith("sweep=") and word != "sweep=null") for word in words
    )


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
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def normalize_override(word: str, several: bool = True) -> str:
    """Return an override in Hydra's grammar; with `several`, commas separate values, as with -m.

    Raise InputError for a key that is no option, and for several values without `several`.
    """
    name, equals, value = word.partition("=")
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
    """Return the word of an override, with ++ for a key of free options.

    Raise InputError for an unknown key, and for a choice that a group cannot have.
    """
    key = override.key_or_group
    if key in GROUPS:
        _check_choice(word, override)
        return word
    if key.startswith("hydra") or "/" in key or override.is_delete():
        return word
    check_key(key)
    is_free = any(key.startswith(f"{free}.") for free in FREE)
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


def load_saved_config(file: Path, words: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config in a run's config.yaml with changes: plain values, not yet checked.

    The choice of a group, such as reg=dense, replaces its options by those of its file; another
    model or data set replaces all of them but place and limits of the data. No recipe is applied.
    Raise InputError for a file that cannot be read and for words that are no override.
    """
    try:
        config = OmegaConf.load(file)
        assert isinstance(config, DictConfig)
    except Exception as error:  # a damaged file raises errors of the system, YAML or OmegaConf
        kind = type(error).__name__
        raise InputError(f"{file}: no config of a run can be read there ({kind})") from error
    for word in words:
        override = _one_value(word)
        key = override.key_or_group
        if key in GROUPS:
            config = OmegaConf.merge(_without(config, key), _choice(key, str(override.value())))
        else:
            check_key(key)
            OmegaConf.update(config, key, override.value())
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _one_value(word: str) -> Override:
    """Return the override that a word means; raise InputError unless it sets one value."""
    key = word.partition("=")[0].lstrip("+~")
    try:
        (override,) = parse_overrides([normalize_override(word, several=False)])
    except SeveralValues as error:
        raise InputError(f"{word}: expected one value for {key}") from error
    if override.is_delete() or key == "sweep":
        raise InputError(f"{word}: expected one value for {key}")
    return override


def _without(config: Any, group: str) -> DictConfig:
    """Return the config without the options that a new choice of `group` must not keep.

    The check sets them to their base values.
    """
    if group in ("model", "data"):
        config[group] = {key: config[group][key] for key in KEPT_OF_DATA if key in config[group]}
    return config


def _choice(group: str, name: str) -> DictConfig:
    """Return the options that a choice of a group sets."""
    register_plugins()
    try:
        return _compose(f"{group}/{name}")
    except HydraException as error:
        raise InputError(one_line(error)) from error
