"""Where a run lies, and what has become of it, from its folder's files alone.

Knows config, identity, composition (to read a saved config), image_tree, data_record, tracking and
status; no torch."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from dstrun.config.compose import saved
from dstrun.config.options import Config, check, flat, is_text, value_of
from dstrun.runs.data_record import refuse_other_data
from dstrun.runs.identity import SETTINGS, run_name, settings
from dstrun.runs.metrics import close_log, read_json, run_log, write_whole
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, Status, holder
from dstrun.system.errors import DataError, InputError
from dstrun.system.image_tree import list_tree

NEW = "new"


def run_folder(config: Config, default_group: str) -> Path:
    """outputs/<group>/<run>, the folder that this config's run has or will have."""
    return Path(config.outputs) / (config.group or default_group) / run_name(config)


def state_of(folder: Path, config: Config) -> str:
    """How the run that `config` describes stands: new, running, finished, failed or interrupted.

    A run whose process has died without a word is interrupted. InputError for a folder that holds
    another run, or that may not be read."""
    try:
        if not (folder / "config.yaml").is_file():
            return NEW
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    _refuse_another_run(folder, config)
    state = read_json(folder / "status.json").get("state")
    if state == FINISHED or (
        state is None and (folder / "summary.json").is_file()
    ):  # written once all is trained
        return FINISHED
    if holder(folder):
        return RUNNING
    return FAILED if state == FAILED else INTERRUPTED


def _refuse_another_run(folder: Path, config: Config) -> None:
    if not _is_plainly(folder, config):
        refuse_difference(folder, config, "holds another run, which differs in")
    if config.data.builder == "folder" and not config.overwrite and _keeps_something(folder):
        _refuse_another_tree(folder, config)


def _keeps_something(folder: Path) -> bool:
    """Return whether a run has results, or a checkpoint to resume from: one that failed before
    either begins anew."""
    return any(
        (folder / name).is_file()
        for name in ("summary.json", "checkpoint.pt", "checkpoint.before.pt")
    )


def _refuse_another_tree(folder: Path, config: Config) -> None:
    """Raise InputError for a tree of images that has the name, and not the files, of the one a run
    was trained on.

    An older run has recorded no files: its tree is looked at where it still lies, if that is
    another place."""
    here = Path(config.data.root).expanduser()
    if not here.is_dir():
        return
    try:
        recorded = recorded_data(folder)
        if "tree" not in recorded:
            there = Path(saved(folder / "config.yaml")["data"]["root"])
            if not there.is_dir() or there.resolve() == here.resolve():
                return
            recorded = list_tree(there).facts
        refuse_other_data(folder, "data.root", recorded, list_tree(here).facts)
    except DataError as error:
        raise InputError(f"data.root: {error}") from error


def recorded_data(folder: Path) -> dict[str, Any]:
    """Return what a run was trained on, as its status.json says; {} where it does not."""
    data = read_json(folder / "status.json").get("data")
    return data if isinstance(data, dict) else {}


def _is_plainly(folder: Path, config: Config) -> bool:
    """Whether a folder's config.yaml says the same word for word; a quick look, made for a thousand
    folders."""
    try:
        there = flat(yaml.load((folder / "config.yaml").read_bytes(), yaml.CSafeLoader))
    except Exception:  # whatever YAML makes of a damaged file; who needs to know why uses `saved`
        return False
    return all(
        there.get(key, option.metadata["default"]) == value_of(config, key)
        for key, option in SETTINGS.items()
    )


def config_there(folder: Path) -> Config | None:
    """The config of a folder's run; None for a folder that holds none that can be read."""
    try:
        return check(yaml.load((folder / "config.yaml").read_bytes(), yaml.CSafeLoader))
    except Exception:  # as above
        return None


def write_config(folder: Path, config: Config) -> Config:
    """Write config.yaml, with the data's place as it is found from any folder; return the config as
    it stands there.

    A folder whose name is no UTF-8, which YAML cannot hold, leaves the data's place as it was
    given."""
    root = str(Path(config.data.root).expanduser().absolute())
    if is_text(root):
        config = replace(config, data=replace(config.data, root=root))
    write_whole(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(config))))
    return config


def record_failure(folder: Path, config: Config, error: str, story: str) -> None:
    """Makes of a run one that failed: the error in one line in status.json, the story in train.log.

    For a run that could not say so itself: refused before it began, or killed. OSError where
    nothing can be written, BusyError where another process is at work on it, InputError where the
    folder holds another run."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.yaml").is_file():
        write_config(folder, config)
    else:
        _refuse_another_run(folder, config)
    status = Status(folder)
    try:
        log = run_log(folder / "train.log")
        log.error(story)
        close_log(log)
        status.end(FAILED, error=error)
    finally:
        status.release()


def refuse_difference(folder: Path, config: Config, complaint: str) -> None:
    """InputError with the complaint and the options in which the run of a folder and this config
    are not the same."""
    there, here = settings(check(saved(folder / "config.yaml"))), settings(config)
    if keys := sorted(key for key in {**there, **here} if there.get(key) != here.get(key)):
        raise InputError(f"{folder}: {complaint} {', '.join(keys)}")
