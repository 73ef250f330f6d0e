"""All options of a run: their types, meanings, units and bounds.

The defaults are the base values that recipes, experiments and the command line build on. A default
never changes: the identity of a run is made of the options that differ from their defaults, so
another default would rename every old run. A new option gets the default that means "as before".
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from dstrun.config.field import option
from dstrun.config.sections import DataConfig, ModelConfig, ScheduleConfig
from dstrun.config.sparsity_options import RegConfig

DSTRUN = "dstrun"  # the loop of all runs but those that `dstrun.record` has recorded


@dataclass
class CheckpointConfig:
    """Options of checkpoints."""

    every: float = option(
        300.0, "Time between checkpoints, seconds (0: one at every row)", low=0, identity=False
    )


@dataclass
class LogConfig:
    """Options of layers.csv."""

    steps: int = option(
        0,
        "Number of steps between rows in layers.csv (0: only at the end of an epoch)",
        low=0,
        identity=False,
    )


TRACKERS = ("wandb", "tensorboard", "mlflow", "trackio")


@dataclass
class WandbConfig:
    """Options of Weights & Biases."""

    mode: str = option(
        "auto",
        "W&B mode (auto: WANDB_MODE if it is set, else online with an API key and offline without)",
        choices=("auto", "online", "offline", "disabled"),
        identity=False,
    )
    project: str = option(
        "dstrun",
        "Project in W&B, MLflow and trackio. The variable WANDB_PROJECT replaces the default",
        pattern=r"[^/\\#?%:]{1,128}",
        words=r"at most 128 characters, none of / \ # ? % :",
        identity=False,
    )
    entity: str | None = option(
        None,
        "W&B user or team. The variable WANDB_ENTITY replaces the default",
        pattern=r"[^/\\#?%:\s]+",
        words="the name of a user or team",
        identity=False,
    )
    tags: list[str] = option(
        [],
        "Tags in all trackers. The variable WANDB_TAGS, separated by commas, replaces the default",
        pattern=r".{1,64}",
        words="tags of 1 to 64 characters",
        identity=False,
    )


@dataclass
class Config:
    """All options of one run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reg: RegConfig = field(default_factory=RegConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    seed: int = option(
        0, "Seed of initial weights, batch order and augmentation", low=0, high=2**32 - 1
    )
    init: str | None = option(
        None,
        "Folder of a run to begin from: its weights, those pruned 0; its masks in place of random "
        "ones; of a run of dst for another, thresholds and all weights",
        identity=lambda path: path and Path(path).resolve().name,
    )
    device: str = option(
        "auto", "Device: auto (a GPU if there is one), cpu, cuda, cuda:1, …", identity=False
    )
    devices: int = option(
        1,
        "Number of GPUs, or of processes on the CPU, that train one run together",
        low=1,
        identity=False,
    )
    threads: int = option(
        0, "Number of CPU threads (0: torch's choice)", low=0, high=4096, identity=False
    )
    deterministic: bool = option(
        False, "Whether to use only operations that repeat bit for bit on a GPU; slower"
    )
    outputs: str = option("outputs", "Folder of all runs", identity=False)
    group: str | None = option(
        None,
        "Subfolder of outputs for this run (null: single, grid or the name of the sweep)",
        pattern=r"\w[\w.-]*",
        identity=False,
    )
    name: str | None = option(None, "Free-text label shown in trackers", identity=False)
    loop: str = option(
        DSTRUN,
        "Training loop that made a run: another than dstrun's where `dstrun.record` recorded it. "
        "Such a run can be reported and filtered, not run or evaluated",
        pattern=r"\w[\w.-]*",
    )
    overwrite: bool = option(
        False, "Whether to start over a run that exists already", identity=False
    )
    dry_run: bool = option(False, "Whether to only print what would be done", identity=False)
    n_jobs: int = option(
        0,
        "Number of runs of a sweep at a time on this machine (0: one per GPU, or one per core)",
        low=0,
        identity=False,
    )
    retry: str = option(
        "failed",
        "Runs that the same sweep trains again: those that failed, or none",
        choices=("failed", "none"),
        identity=False,
    )
    tracker: list[str] = option(
        ["wandb"],
        "Programs that get a copy of the figures of each epoch (none or []: none). wandb.mode says "
        "how wandb does",
        choices=TRACKERS,
        entry_points="tracker",
        identity=False,
    )
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)


GROUPS = ("model", "data", "reg", "schedule", "experiment", "sweep")


def options(section: Any = Config, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield (dotted key, field) of every option, in order."""
    for entry in fields(section):
        key = prefix + entry.name
        if is_dataclass(entry.type):
            yield from options(entry.type, f"{key}.")
        else:
            yield key, entry


OPTIONS = dict(options())
FREE = tuple(key for key, entry in OPTIONS.items() if entry.type == dict[str, Any])


def value_of(config: Any, key: str) -> Any:
    """Return the value at a dotted key of a typed config."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def flat(section: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as {dotted key: value}; options that are mappings stay mappings."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in FREE:
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found
