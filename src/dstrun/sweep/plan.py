"""Plan of a sweep: axes → combinations → configs → jobs, each run once.

Hydra takes a seventh of a second to compose a config. Combinations that choose the same files are
therefore composed once, and the plain values of their axes are set afterwards, in Hydra's own
order: a grid of a thousand runs is planned in seconds.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from dstrun.config.check import check
from dstrun.config.groups import choices, sweep_group
from dstrun.config.literals import takes_text
from dstrun.config.options import FREE, OPTIONS, Config
from dstrun.config.overrides import normalize_override
from dstrun.config.values import parse_overrides
from dstrun.runs.folder import RunFolder
from dstrun.system.errors import InputError


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its overrides, the config they compose, and its run folder."""

    overrides: tuple[str, ...]
    config: Config
    folder: Path


def combinations(
    params: Mapping[str, Any], grids: Sequence[Mapping[str, Any]], words: Sequence[str]
) -> list[tuple]:
    """Return every combination of the axes, each as a tuple of overrides.

    `params` and each of `grids` map a key to its values, a list or text in Hydra's grammar ("1,2",
    "range(3)"). Each grid is combined with `params`; the combinations of several grids are joined.
    An override in `words`, from the command line, replaces the axis of its key. Raise InputError
    for an empty axis or an unknown key.
    """
    given = {override.key_or_group for override in parse_overrides(words)}
    word_axes = [_alternatives(word) for word in words]
    found: dict[tuple, None] = {}
    for grid in grids or [{}]:
        axes = [
            _alternatives(axis(key, values))
            for key, values in {**params, **grid}.items()
            if key not in given
        ]
        found |= dict.fromkeys(itertools.product(*axes, *word_axes))
    return list(found)


def axis(key: str, values: Any) -> str:
    """Return the override that is equal to a key of a sweep's file.

    Raise InputError for an empty axis or an unknown key.
    """
    if OmegaConf.is_config(values):
        values = OmegaConf.to_container(values, resolve=True)
    nullable = key in OPTIONS and OPTIONS[key].type == str | None
    if values in ("", []) or (values is None and not nullable):
        raise _empty(key)
    if isinstance(values, list):
        _refuse_flat_list(key, values)
        values = ",".join(in_grammar(value, text=takes_text(key)) for value in values)
    return normalize_override(f"{key}={values if isinstance(values, str) else in_grammar(values)}")


def _refuse_flat_list(key: str, values: list[Any]) -> None:
    """Raise InputError for an axis of numbers where each value has to be a list."""
    wants_lists = key in OPTIONS and get_origin(OPTIONS[key].type) is list
    if wants_lists and len(values) > 1 and not any(isinstance(value, list) for value in values):
        raise InputError(
            f"{key}: got {values}, an axis of {len(values)} values; a single list is {[values]}"
        )


def in_grammar(value: Any, text: bool = False) -> str:
    """Return one value as Hydra's grammar writes it; `text`: quote strings, whatever they
    contain.
    """
    if text and isinstance(value, str):
        return str(QuotedString(value, Quote.single).with_quotes())
    if text and isinstance(value, list):
        return f"[{','.join(in_grammar(item, text) for item in value)}]"
    return str(Override._get_value_element_as_str(value))


def _alternatives(word: str) -> list[str]:
    """Return an override for each value of an override; itself where it has one value."""
    override = override_of(word)
    if not override.is_sweep_override():
        return [word]
    if override.is_interval_sweep():
        raise InputError(
            f"{override.key_or_group}: got {word.partition('=')[2]}; only a search takes intervals"
        )
    key = override.get_key_element()
    glob = override.value()
    values = (
        glob.filter(choices(key)) if isinstance(glob, Glob) else override.sweep_string_iterator()
    )
    found = [f"{key}={value}" for value in values]
    if not found:
        raise _empty(key)
    return found


def _empty(key: str) -> InputError:
    return InputError(f"{key}: got an empty axis, expected at least one value")


class Planner:
    """Maker of jobs from overrides, by Hydra's loader and the config of the whole sweep."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self.default_group = sweep_group(master.hydra.runtime.choices.get("sweep"))
        self.repeated: dict[str, Config] = {}  # by keys in which combinations of a run differ
        self._composed: dict[tuple[str, ...], tuple[dict[str, Any], bool]] = {}

    def jobs(self, combinations: Iterable[Sequence[str]]) -> list[Job]:
        """Return a job for each distinct run of the combinations, in their order.

        Raise InputError for the first combination that is not a valid config.
        """
        jobs: dict[Path, Job] = {}
        for words in combinations:
            config = self._config(words)
            self._refuse_other_devices(config)
            folder = RunFolder.of(config, self.default_group)
            job = jobs.setdefault(folder.path, Job(tuple(words), folder.config, folder.path))
            root = job.config.data.root
            if root != config.data.root:
                raise InputError(
                    f"data.root: {root} and {config.data.root} have the same run name, "
                    f"{folder.path.name}; run a sweep for each"
                )
            for word in {*words} - {*job.overrides}:
                self.repeated[override_of(word).key_or_group] = job.config
        return list(jobs.values())

    def _config(self, words: Sequence[str]) -> Config:
        values, files = [], []
        for word in words:
            override = override_of(word)
            if _is_plain_value(override):
                values.append(override)
            else:
                files.append(word)
        key = tuple(files)
        if key not in self._composed:
            self._composed[key] = self._compose(key)
        composed, is_interpolated = self._composed[key]
        config = deepcopy(composed)
        for override in values:
            _set(config, override.key_or_group, override.value())
        return check(OmegaConf.create(config) if is_interpolated else config)

    def _compose(self, words: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
        """Return the config as plain values, and whether it has interpolations that are still to
        be resolved.
        """
        config = self._loader.load_sweep_config(self._master, list(words))
        self._refuse_another_launcher(config, words)
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = OmegaConf.to_container(task, resolve=False)
        is_interpolated = "${" in str(plain).replace("${oc.env:", "")
        if not is_interpolated:
            plain = OmegaConf.to_container(task, resolve=True)
        return plain, is_interpolated  # type: ignore[return-value]

    def _refuse_other_devices(self, config: Config) -> None:
        """Raise InputError for another number of ranks than the sweep's, by which slots are
        made.
        """
        shared = self._master.devices
        if config.devices != shared:
            raise InputError(
                f"devices: got {config.devices} for a run, but all runs of a sweep share "
                f"{shared}; give devices={config.devices} on the command line, or a sweep for each"
            )

    def _refuse_another_launcher(self, config: DictConfig, words: Sequence[str]) -> None:
        """Raise InputError where an override, such as an experiment, chooses another launcher or
        sweeper.
        """
        for group in ("hydra/launcher", "hydra/sweeper"):
            chosen = config.hydra.runtime.choices.get(group)
            shared = self._master.hydra.runtime.choices.get(group)
            if chosen != shared:
                raise InputError(
                    f"{group}: got {chosen} from {' '.join(words)}, but all runs of a sweep share "
                    f"{shared}; give {group}={chosen} on the command line"
                )


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of nested dictionaries."""
    *path, last = key.split(".")
    for part in path:
        config = config.setdefault(part, {})
    config[last] = value


@cache
def override_of(word: str) -> Override:
    """Return one word as Hydra parses it. Cached: a grid has few words, many combinations."""
    (override,) = parse_overrides([word])
    return override


def _is_plain_value(override: Override) -> bool:
    """Return whether an override only sets one option to a value."""
    key = override.key_or_group
    known = (key in OPTIONS and key not in FREE) or any(key.startswith(f"{free}.") for free in FREE)
    return (
        known
        and not override.is_delete()
        and "${" not in str(override.value())
        and override.package is None
    )
