"""A config from the command line's words, by Hydra, and from the config.yaml of a run. No torch."""

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

from dstrun.config.hydra_errors import came_from_hydra, one_line
from dstrun.config.keys import check_key
from dstrun.config.options import FREE, GROUPS
from dstrun.config.sources import packaged, register_plugins
from dstrun.config.values import SeveralValues, in_hydras_grammar, parsed, refuse_several
from dstrun.system.errors import InputError

MULTIRUN = ("-m", "--multirun")
COMPLETION = ("-sc", "--shell-completion")
SHOWING = ("--cfg", "-c", "--info", "-i", "--hydra-help")


def compose_and_run(words: Sequence[str], task: Callable[[DictConfig], None]) -> None:
    """Hand the words to Hydra, which calls `task` once, or once a job of a multirun.

    InputError for what Hydra or the schema refuses.
    """
    register_plugins()
    completing = set(COMPLETION) & set(words)  # its words, install=bash, look like overrides
    words = words if completing else words_for_hydra(words)
    with _surroundings(words):
        try:
            if not _is_single_run(words) or not _run_once(words, task):
                hydra.main(
                    version_base="1.3", config_path=str(packaged("conf")), config_name="config"
                )(task)()
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(one_line(error)) from error
        except Exception as error:
            if came_from_hydra(error):
                raise InputError(one_line(error)) from error
            raise


def _is_single_run(words: Sequence[str]) -> bool:
    """Return whether the words are overrides alone, of dstrun's own options and groups."""
    return not any(word.startswith("-") or "hydra" in word for word in words)


def _run_once(words: Sequence[str], task: Callable[[DictConfig], None]) -> bool:
    """Compose one config and call the task; False, with nothing called, for a config that Hydra
    itself must act on.

    `hydra.main` does the same and composes everything twice, first to find out its mode: 0.15 s.
    """
    composed = _composed("config", words, return_hydra_config=True)
    if composed.hydra.mode is not None or composed.hydra.callbacks:
        return False
    HydraConfig.instance().set_config(composed)
    with open_dict(composed):
        del composed["hydra"]
    task(composed)
    return True


def _composed(name: str, words: Sequence[str] = (), **options: bool) -> DictConfig:
    with hydra.initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        return hydra.compose(name, list(words), **options)


@contextmanager
def _surroundings(words: Sequence[str]) -> Iterator[None]:
    """Give Hydra its words, and have it raise its errors, which it would else print before it
    exits."""
    arguments, wanted = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = [arguments[0], *words], "1"
    try:
        yield
    finally:
        sys.argv = arguments
        os.environ.pop("HYDRA_FULL_ERROR")
        if wanted is not None:
            os.environ["HYDRA_FULL_ERROR"] = wanted


def words_for_hydra(words: Sequence[str]) -> list[str]:
    """Return flags and overrides as Hydra takes them. InputError for what would do something else
    than asked for."""
    _refuse_traps(words)
    showing = any(word.partition("=")[0] in SHOWING for word in words)
    sweeping = any(word.startswith("sweep=") and word != "sweep=null" for word in words)
    several = not showing and (
        sweeping or any(word in MULTIRUN for word in words)
    )  # Hydra shows a config, or sweeps
    overrides = [
        as_hydra_takes_it(word, several) if _is_override(word) else word
        for word in words
        if word not in MULTIRUN
    ]
    return ["-m", *overrides] if several else overrides


def _refuse_traps(words: Sequence[str]) -> None:
    """Raise InputError for flags of Hydra that would train something else than asked for, or run
    what they read."""
    for flag, value in pairwise([*words, ""]):
        name, _, attached = flag.partition("=")
        if name == "--experimental-rerun":
            raise InputError(f"{name}: it runs what a file holds; `dstrun rerun RUN` does not")
        if name in ("--config-dir", "-cd") and (Path(attached or value) / "status.json").is_file():
            raise InputError(
                f"{name}: {attached or value} is a run, its config would not be used; `dstrun rerun` does"
            )


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def as_hydra_takes_it(word: str, several: bool = True) -> str:
    """Return an override in Hydra's grammar; `several`: commas separate the values of an axis, as
    with -m.

    InputError for a key that is no option, however it is written, and for several values where one
    is wanted."""
    name, equals, value = word.partition("=")
    known = name.lstrip("+")
    if equals and not known:
        raise InputError(f"{word}: expected KEY=VALUE")
    if known == "recipe":
        raise InputError("recipe: it follows from model and data; choose those, or an experiment")
    if equals and not known.startswith("~"):
        if "@" not in name and "/" not in name and not known.startswith("hydra"):
            check_key(known, value, (*GROUPS, "recipe"))
        word = f"{name}={in_hydras_grammar(known, value, several)}"
    (override,) = parsed([word])
    if not several:
        refuse_several(override)
    return _checked(word, override)


def _checked(word: str, override: Override) -> str:
    key = override.key_or_group
    sweeps = override.is_sweep_override()
    if key == "sweep" and sweeps:
        raise InputError(f"sweep: got {word.partition('=')[2]}, expected one sweep")
    if key in ("model", "data") and override.is_delete():
        raise InputError(f"~{key}: a run needs one; {key}=CHOICE chooses another")
    if (
        key in GROUPS
        and not sweeps
        and not override.is_delete()
        and not _is_choice(key, override.value())
    ):
        raise InputError(
            f"{key}: got {'null' if override.value() is None else override.value()!r}, expected the name of a choice"
        )
    if key in GROUPS or key.startswith("hydra") or "/" in key or override.is_delete():
        return word
    check_key(key)
    if any(key.startswith(f"{free}.") for free in FREE):
        return "++" + word.lstrip("+")
    return word


def _is_choice(group: str, value: object) -> bool:
    """Return whether a value may be the choice of a group; none is one where the base config has
    none."""
    return isinstance(value, str) or (
        value is None and group in ("schedule", "experiment", "sweep")
    )


def saved(file: Path, words: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config of a run's folder, some of it changed: plain values, not yet checked.

    A group's choice, such as reg=dense, brings the values of its file; another model or data set
    brings all of its own, but for the data's place and limits. Recipes are not looked at.
    InputError for a file or word that is none."""
    try:
        config = OmegaConf.load(file)
        assert isinstance(config, DictConfig)
    except Exception as error:  # whatever the file system, YAML or OmegaConf make of a damaged file
        raise InputError(
            f"{file}: no config of a run can be read there ({type(error).__name__})"
        ) from error
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
    key = word.partition("=")[0].lstrip("+~")
    try:
        (override,) = parsed([as_hydra_takes_it(word, several=False)])
    except SeveralValues as error:
        raise InputError(f"{word}: expected one value for {key}") from error
    if override.is_delete() or key == "sweep":
        raise InputError(f"{word}: expected one value for {key}")
    return override


def _without(config: Any, group: str) -> DictConfig:
    """Return the config less what a new choice of `group` must not inherit; the check puts base
    values there."""
    if group in ("model", "data"):
        kept = ("root", "download", "train_limit", "test_limit", "validation")
        config[group] = {key: value for key, value in config[group].items() if key in kept}
    return config


def _choice(group: str, name: str) -> DictConfig:
    """Return what choosing `name` in `group` sets, as composed from its file."""
    register_plugins()
    try:
        return _composed(f"{group}/{name}")
    except HydraException as error:
        raise InputError(one_line(error)) from error
