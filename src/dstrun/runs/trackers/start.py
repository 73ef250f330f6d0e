"""The trackers of a run: which they are, whether they can be used, and their start."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from logging import Logger
from pathlib import Path

from dstrun.config.options import Config, flat
from dstrun.runs.folder import RunFolder
from dstrun.runs.identity import run_hash
from dstrun.runs.trackers.processes import TrackerProcesses
from dstrun.runs.trackers.tracker import TrackedRun, Tracker, Trackers
from dstrun.runs.wandb_logger import start_wandb
from dstrun.runs.wandb_options import OF_ONE_RUN, is_installed, wandb_init, wandb_options
from dstrun.system.errors import InputError

PACKAGES = {"tensorboard": ["tensorboard"], "mlflow": ["mlflow"], "trackio": ["trackio"]}
OF_A_FILE = ["sqlalchemy", "alembic"]  # packages with which MLflow needs no server


def other_trackers(config: Config) -> list[str]:
    """Return the trackers of a run but wandb, which is on or off by its own options."""
    return [name for name in config.tracker if name != "wandb"]


def check_trackers(config: Config) -> None:
    """Raise InputError for a tracker that is not installed, and for options that W&B refuses."""
    wandb_options(config)
    for name in other_trackers(config):
        packages = PACKAGES.get(name, [])
        if name == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
            packages = packages + OF_A_FILE
        for package in packages:
            if not is_installed(package):
                raise InputError(
                    f"tracker: got {name!r}, but the package {package} is not installed; "
                    f"pip install 'dstrun[{name}]'"
                )


def check_trackers_of_sweep(configs: Sequence[Config]) -> None:
    """Raise InputError as `check_trackers`; print which of W&B's variables apply to a single run
    only.
    """
    for config in configs:
        check_trackers(config)
    names = list(filter(os.environ.get, OF_ONE_RUN))
    if names and any(wandb_options(config).mode != "disabled" for config in configs):
        print(
            f"dstrun: {', '.join(names)}: ignored in a sweep, applies to a single run",
            file=sys.stderr,
        )


def start_trackers(
    folder: RunFolder, log: Logger, say: Callable[[str], None], restarts: int, epoch: int | None
) -> Tracker:
    """Start the trackers of a run.

    restarts: how often it has been started over. epoch: the last one that is kept of a run that
    resumes, else None. say: shows the user a line about what has failed.
    """
    config, names = folder.config, other_trackers(folder.config)
    run = _tracked_run(config, folder.path.absolute(), restarts, epoch)
    trackers: list[Tracker] = [TrackerProcesses(names, run, say)] if names else []
    init = wandb_init(config, folder.path, restarts)
    trackers.append(start_wandb(wandb_options(config).mode, log, say, **init))
    return Trackers(trackers)


def _tracked_run(config: Config, folder: Path, restarts: int, epoch: int | None) -> TrackedRun:
    options, run_id = wandb_options(config), f"{folder.parent.name}-{run_hash(config)}"
    return TrackedRun(
        id=f"{run_id}-{restarts}" if restarts else run_id,
        name=folder.name,
        group=folder.parent.name,
        project=options.project,
        method=config.reg.method,
        tags=options.tags,
        notes=config.name,
        folder=str(folder),
        outputs=str(folder.parents[1]),
        config=flat(asdict(config)),
        resumes=epoch is not None,
        epoch=epoch or 0,
    )
