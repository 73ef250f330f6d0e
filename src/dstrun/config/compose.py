"""Configs from words of the command line, composed by Hydra, and from a run's config.yaml."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from dstrun.config.options import DSTRUN, GROUPS
from dstrun.config.overrides import normalize_override, replacing, words_for_hydra
from dstrun.config.sources import register_plugins
from dstrun.config.values import SeveralValues, parse_overrides
from dstrun.system.errors import InputError

KEPT_OF_DATA = ("root", "download", "train_limit", "test_limit", "validation")


def compose_single(words: Sequence[str]) -> DictConfig | None:
    """Return the config of a single run, with Hydra's part in `HydraConfig`.

    None where Hydra itself must act: for a multirun, a flag, an option of Hydra, and a config with
    a mode or callbacks of Hydra. For any other config `hydra.main` would do the same but compose
    everything twice, the first time to find the mode: 0.1 s. Raise InputError for what Hydra or
    the schema refuses.
    """
    if _is_for_hydra(words):
        return None
    register_plugins()
    words = words_for_hydra(words)
    if _is_for_hydra(words):  # several values, in front of which stands -m now
        return None
    with _errors_in_one_line(words):
        composed = _compose("config", words, return_hydra_config=True)
    if composed.hydra.mode is not None or composed.hydra.callbacks:
        return None
    HydraConfig.instance().set_config(composed)
    with open_dict(composed):
        del composed["hydra"]
    return composed


def _is_for_hydra(words: Sequence[str]) -> bool:
    """Return whether one of the words is a flag or an option of Hydra."""
    return any(word.startswith("-") or "hydra" in word for word in words)


def call_by_hydra(words: Sequence[str], task: Callable[[DictConfig], None]) -> None:
    """Hand the words to Hydra, which calls `task`, for each job of a multirun or once.

    Raise InputError for what Hydra or the schema refuses.
    """
    register_plugins()
    words = words_for_hydra(words)
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
    refuse_other_loop(config.get("loop", DSTRUN), f"{file.parent}: ")
    for word in [*words, *replacing(words)]:
        override = _one_value(word)
        key = override.key_or_group
        if key in GROUPS:
            config = OmegaConf.merge(_without(config, key), _choice(key, str(override.value())))
        else:
            check_key(key)
            OmegaConf.update(config, key, override.value())
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def refuse_other_loop(loop: str, place: str = "") -> None:
    """Raise InputError for a run that another training loop than dstrun's has made."""
    if loop != DSTRUN:
        raise InputError(
            f"{place}loop: got {loop!r}, a run of another training loop, which dstrun reports and "
            "cannot run, resume, evaluate or export"
        )


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
