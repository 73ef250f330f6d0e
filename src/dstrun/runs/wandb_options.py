"""Options of W&B: those of the config, W&B's own environment variables, and arguments of its init.

An option that is given overrides the environment; at its default, W&B's variable applies.
"""

import os
import re
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dstrun.config.check import check_text
from dstrun.config.messages import near
from dstrun.config.options import OPTIONS, Config, WandbConfig, value_of
from dstrun.runs.identity import run_hash
from dstrun.system.errors import InputError

MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
VARIABLES = {
    "wandb.project": "WANDB_PROJECT",
    "wandb.entity": "WANDB_ENTITY",
    "wandb.tags": "WANDB_TAGS",
}
OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_NAME")  # which the runs of a sweep must not share
RUN_ID = r"[^\s:;,#?/'](?:[^:;,#?/']*[^\s:;,#?/'])?"  # as wandb.Settings checks it


def wandb_options(config: Config) -> WandbConfig:
    """Return the options of W&B, with W&B's variables in place of those at their default.

    Where wandb is not among the trackers, W&B is disabled. Raises InputError for a variable that
    W&B would refuse, and for online and offline where W&B is not installed; mode auto does without
    it.
    """
    if config.wandb.mode == "disabled" or "wandb" not in config.tracker:
        return replace(config.wandb, mode="disabled")
    found: dict[str, Any] = {}
    if config.wandb.mode == "auto":
        found["mode"] = _mode_of_environment()
    for key, variable in VARIABLES.items():
        entry, text = OPTIONS[key], os.environ.get(variable, "").strip()
        if text and value_of(config, key) == entry.metadata["default"]:
            value = _tags(text) if entry.type == list[str] else text
            check_text(variable, value, entry.metadata)
            found[entry.name] = value
    run_id = os.environ.get("WANDB_RUN_ID", "")
    if run_id and not re.fullmatch(RUN_ID, run_id):
        raise InputError(f"WANDB_RUN_ID: got {run_id!r}, expected text without : ; , # ? / '")
    options = replace(config.wandb, **found)
    if options.mode in ("online", "offline") and not is_installed():
        name = "WANDB_MODE" if config.wandb.mode == "auto" else "wandb.mode"
        raise InputError(
            f"{name}: got {options.mode!r}, but the package wandb is not installed; "
            "install it, or train with wandb.mode=disabled"
        )
    return options


def is_installed(package: str = "wandb") -> bool:
    """Return whether a package is installed; a folder of a tracker's files has its name, too."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def forget_names_of_one_run() -> None:
    """Remove the variables that the runs of a sweep must not share."""
    for name in OF_ONE_RUN:
        os.environ.pop(name, None)


def _mode_of_environment() -> str:
    """Return the mode of WANDB_DISABLED and WANDB_MODE; auto if neither is set."""
    if os.environ.get("WANDB_DISABLED", "").strip().lower() in ("true", "1", "yes", "on"):
        return "disabled"
    word = os.environ.get("WANDB_MODE", "").strip().lower()
    if word and word not in MODES:
        raise InputError(
            f"WANDB_MODE: got {word!r}, expected one of {', '.join(MODES)}{near(word, MODES)}"
        )
    return MODES.get(word, "auto")


def _tags(text: str) -> list[str]:
    """Return tags that are separated by commas, each once."""
    return list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def wandb_init(config: Config, folder: Path, restarts: int) -> dict[str, Any]:
    """Return the arguments of wandb.init for the run in `folder`.

    restarts: how often the run has been started over. Each restart gets an id of its own, since
    under the old id W&B would append the new rows to the old history.
    """
    options, group, variable = wandb_options(config), folder.parent.name, os.environ.get
    run_id = wandb_run_id(config, folder)
    return {
        "dir": variable("WANDB_DIR") or str(folder),
        "project": options.project,
        "entity": options.entity,
        "tags": options.tags,
        "group": group if config.group else variable("WANDB_RUN_GROUP") or group,
        "job_type": variable("WANDB_JOB_TYPE") or config.reg.method,
        "id": f"{run_id}-{restarts}" if restarts else run_id,
        "name": variable("WANDB_NAME") or folder.name,
        "notes": config.name or variable("WANDB_NOTES"),
        "config": asdict(config) | {"folder": str(folder.absolute())},
    }


def wandb_run_id(config: Config, folder: Path) -> str:
    """Return the id of a run in W&B, without the number of its restarts."""
    return os.environ.get("WANDB_RUN_ID") or f"{folder.parent.name}-{run_hash(config)}"
