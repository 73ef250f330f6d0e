"""Every option: its type, meaning, unit and bounds.

The defaults here are the base that recipes, experiments and the command line build on. A default
never changes: a run's identity is made of the options that differ from it, so a changed default
would rename every old run. A new option gets the value that means "as before"."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from dstrun.config.field import option
from dstrun.config.sections import DataConfig, ModelConfig, RegConfig, ScheduleConfig


@dataclass
class CheckpointConfig:
    every: float = option(
        300.0, "seconds between checkpoints (0: one at every row)", low=0, identity=False
    )


@dataclass
class LogConfig:
    steps: int = option(
        0,
        "rows in layers.csv every so many updates (0: at epochs' ends only)",
        low=0,
        identity=False,
    )


@dataclass
class WandbConfig:
    mode: str = option(
        "auto",
        "auto: what WANDB_MODE says; without it, online where a key is set, else offline",
        choices=("auto", "online", "offline", "disabled"),
        identity=False,
    )
    project: str = option(
        "dstrun",
        "W&B project (or WANDB_PROJECT)",
        pattern=r"[^/\\#?%:]{1,128}",
        words=r"at most 128 characters, none of / \ # ? % :",
        identity=False,
    )
    entity: str | None = option(
        None,
        "W&B user or team (or WANDB_ENTITY)",
        pattern=r"[^/\\#?%:\s]+",
        words="the name of a user or team",
        identity=False,
    )
    tags: list[str] = option(
        [],
        "W&B tags (or WANDB_TAGS, between commas)",
        pattern=r".{1,64}",
        words="tags of 1 to 64 characters",
        identity=False,
    )


@dataclass
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reg: RegConfig = field(default_factory=RegConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**32 - 1)
    init: str | None = option(
        None,
        "folder of a run whose weights and thresholds to start from",
        identity=lambda path: path and Path(path).resolve().name,
    )
    device: str = option(
        "auto", "auto (a GPU where there is one), cpu, cuda, cuda:1, …", identity=False
    )
    threads: int = option(
        0, "CPU threads (0: as many as torch finds right)", low=0, high=4096, identity=False
    )
    deterministic: bool = option(False, "only operations that repeat bit for bit on a GPU; slower")
    outputs: str = option("outputs", "folder of all runs", identity=False)
    group: str | None = option(
        None,
        "folder of this run in it (default: single, grid or the sweep's)",
        pattern=r"\w[\w.-]*",
        identity=False,
    )
    name: str | None = option(None, "a label for people", identity=False)
    overwrite: bool = option(False, "start over where the run exists already", identity=False)
    dry_run: bool = option(False, "say what would be done, and do nothing", identity=False)
    n_jobs: int = option(
        0,
        "runs of a sweep at a time on this machine (0: one a GPU, or else one a core)",
        low=0,
        identity=False,
    )
    retry: str = option(
        "failed",
        "what a sweep does again: runs that failed, or none",
        choices=("failed", "none"),
        identity=False,
    )
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)


GROUPS = ("model", "data", "reg", "schedule", "experiment", "sweep")


def options(section: Any = Config, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every option as (dotted key, field), in order."""
    for entry in fields(section):
        key = prefix + entry.name
        if is_dataclass(entry.type):
            yield from options(entry.type, f"{key}.")
        else:
            yield key, entry


OPTIONS = dict(options())
FREE = tuple(key for key, entry in OPTIONS.items() if entry.type == dict[str, Any])


def value_of(config: Any, key: str) -> Any:
    """The value at a dotted key of typed objects."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def flat(section: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted key: value}; options that are themselves mappings are kept
    whole."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in FREE:
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found
