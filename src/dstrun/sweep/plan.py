"""What a sweep is made of: axes → combinations → configs → runs, each run once.

Hydra composes a config in a seventh of a second. So combinations that choose the same files are
composed once, and the plain values of their axes set afterwards, which is the order in which Hydra
itself does it: a grid of a thousand runs is planned in seconds. Knows composition, config, ledger
and errors; no torch."""

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
from dstrun.config.compose import as_hydra_takes_it
from dstrun.config.groups import choices, sweep_group
from dstrun.config.literals import takes_text
from dstrun.config.options import FREE, OPTIONS, Config
from dstrun.config.values import parsed
from dstrun.runs.folder import RunFolder
from dstrun.system.errors import InputError


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the overrides it is made by, what they come to, and where it lies."""

    overrides: tuple[str, ...]
    config: Config
    folder: Path


def combinations(
    params: Mapping[str, Any], grids: Sequence[Mapping[str, Any]], words: Sequence[str]
) -> list[tuple]:
    """Every combination of the axes, as tuples of overrides; a word of the command line replaces a
    file's axis.

    `params` and each of `grids` map a key to its values, a list or text in Hydra's grammar ("1,2",
    "range(3)"). Several grids stand beside one another, each with the params before it. InputError
    for an empty axis or an unknown key."""
    given = {override.key_or_group for override in parsed(words)}
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
    """The override that a key of a sweep's file stands for; InputError for an empty axis or an
    unknown key."""
    if OmegaConf.is_config(values):
        values = OmegaConf.to_container(values, resolve=True)
    nullable = key in OPTIONS and OPTIONS[key].type == str | None
    if values in ("", []) or (values is None and not nullable):
        raise _empty(key)
    if isinstance(values, list):
        _refuse_flat_list(key, values)
        values = ",".join(in_grammar(value, text=takes_text(key)) for value in values)
    return as_hydra_takes_it(f"{key}={values if isinstance(values, str) else in_grammar(values)}")


def _refuse_flat_list(key: str, values: list[Any]) -> None:
    """Raise InputError for an axis of numbers where each value is to be a list."""
    wants_lists = key in OPTIONS and get_origin(OPTIONS[key].type) is list
    if wants_lists and len(values) > 1 and not any(isinstance(value, list) for value in values):
        raise InputError(
            f"{key}: got {values}, which is {len(values)} values of an axis; one list is {[values]}"
        )


def in_grammar(value: Any, text: bool = False) -> str:
    """Return one value as Hydra's grammar writes it; `text`: a string is text, whatever is in
    it."""
    if text and isinstance(value, str):
        return str(QuotedString(value, Quote.single).with_quotes())
    if text and isinstance(value, list):
        return f"[{','.join(in_grammar(item, text) for item in value)}]"
    return str(Override._get_value_element_as_str(value))


def _alternatives(word: str) -> list[str]:
    """The overrides that one with several values stands for; itself where it has one value."""
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
    """Makes jobs of overrides, by Hydra's loader and the config of the whole sweep."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self.default_group = sweep_group(master.hydra.runtime.choices.get("sweep"))
        self._composed: dict[tuple[str, ...], tuple[dict[str, Any], bool]] = {}

    def jobs(self, combinations: Iterable[Sequence[str]]) -> list[Job]:
        """A job for each run that the overrides come to, in their order; InputError for the first
        that is none."""
        jobs: dict[Path, Job] = {}
        for words in combinations:
            config = self._config(words)
            folder = RunFolder.of(config, self.default_group).path
            root = jobs.setdefault(folder, Job(tuple(words), config, folder)).config.data.root
            if root != config.data.root:
                raise InputError(
                    f"data.root: {root} and {config.data.root} have one name, {folder.name}; sweep each alone"
                )
        return list(jobs.values())

    def _config(self, words: Sequence[str]) -> Config:
        overrides = [(word, override_of(word)) for word in words]
        values = [override for _, override in overrides if _is_plain_value(override)]
        key = tuple(word for word, override in overrides if not _is_plain_value(override))
        if key not in self._composed:
            self._composed[key] = self._compose(key)
        composed, interpolated = self._composed[key]
        config = deepcopy(composed)
        for override in values:
            *path, last = override.key_or_group.split(".")
            section = config
            for part in path:
                section = section.setdefault(part, {})
            section[last] = override.value()
        return check(OmegaConf.create(config) if interpolated else config)

    def _compose(self, words: tuple[str, ...]) -> tuple[dict[str, Any], bool]:
        """The config as plain values, and whether some of them are made from others, so that they
        must wait."""
        config = self._loader.load_sweep_config(self._master, list(words))
        self._refuse_another_launcher(config, words)
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = OmegaConf.to_container(task, resolve=False)
        interpolated = "${" in str(plain).replace("${oc.env:", "")
        return (plain if interpolated else OmegaConf.to_container(task, resolve=True)), interpolated  # type: ignore[return-value]

    def _refuse_another_launcher(self, config: DictConfig, words: Sequence[str]) -> None:
        """Raise InputError where one of several experiments, say, chooses a launcher or sweeper of
        its own."""
        for group in ("hydra/launcher", "hydra/sweeper"):
            chosen, ours = (
                each.hydra.runtime.choices.get(group) for each in (config, self._master)
            )
            if chosen != ours:
                raise InputError(
                    f"{group}: got {chosen} from {' '.join(words)}, but the sweep has one for all runs, {ours}; "
                    f"give {group}={chosen} on the command line"
                )


@cache
def override_of(word: str) -> Override:
    """One word as Hydra parses it. (Kept, since a grid has few words and many combinations.)"""
    (override,) = parsed([word])
    return override


def _is_plain_value(override: Override) -> bool:
    """Whether an override sets one option to a value, and no more."""
    key = override.key_or_group
    known = (key in OPTIONS and key not in FREE) or any(key.startswith(f"{free}.") for free in FREE)
    return (
        known
        and not override.is_delete()
        and "${" not in str(override.value())
        and override.package is None
    )
