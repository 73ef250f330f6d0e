"""A run folder: its place, its config, the state of its run, and whether it holds another run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from dstrun.config.check import check, is_text
from dstrun.config.compose import load_saved_config
from dstrun.config.options import Config, flat, value_of
from dstrun.runs.code_record import changed_code
from dstrun.runs.data_record import refuse_other_data
from dstrun.runs.identity import SETTINGS, run_name, settings
from dstrun.runs.log import close_log, open_log
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING, Status, changed_files, holder
from dstrun.runs.target_density import as_used
from dstrun.system.errors import DataError, InputError
from dstrun.system.files import read_json, write_text
from dstrun.system.image_tree import list_tree
from dstrun.system.run_files import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    PREVIOUS_CHECKPOINT_FILE,
    RESULT_FILES,
    STATUS_FILE,
    SUMMARY_FILE,
)

NEW = "new"


def read_config(folder: Path) -> Config | None:
    """Return the config of the run in a folder; None where there is none that can be read."""
    try:
        return check(_read_yaml(folder / CONFIG_FILE))
    except (
        Exception
    ):  # whatever YAML makes of a damaged file; `load_saved_config` says what is wrong
        return None


def load_config(folder: Path, words: Sequence[str] = ()) -> Config:
    """Return the config of the run in a folder, some of it changed by the words of overrides.

    Raises InputError for one that cannot be read or used, and for a word that is none.
    """
    return check(load_saved_config(folder / CONFIG_FILE, words))


def _read_yaml(path: Path) -> Any:
    return yaml.load(path.read_bytes(), yaml.CSafeLoader)  # ten times as fast as OmegaConf


@dataclass(frozen=True)
class RunFolder:
    """The folder that the run of `config` has or will have."""

    path: Path
    config: Config

    @classmethod
    def of(cls, config: Config, default_group: str) -> "RunFolder":
        """Return outputs/<group>/<run>, with the config as the run uses it."""
        group, config = config.group or default_group, as_used(config)
        return cls(Path(config.outputs) / group / run_name(config), config)

    def __str__(self) -> str:
        return str(self.path)

    def state(self) -> str:
        """Return the state of the run: new, running, finished, failed or interrupted.

        A run whose process has died without a word is interrupted. Raises InputError for a folder
        that holds another run, or that may not be read.
        """
        try:
            if not (self.path / CONFIG_FILE).is_file():
                return NEW
        except OSError as error:
            raise InputError(f"outputs: {error}") from error
        self._refuse_another_run()
        state = self.read_status().get("state")
        has_summary = (self.path / SUMMARY_FILE).is_file()  # written when all is trained
        if state == FINISHED or (state is None and has_summary):
            return FINISHED
        if holder(self.path):
            return RUNNING
        return FAILED if state == FAILED else INTERRUPTED

    def read_status(self) -> dict[str, Any]:
        """Return the content of status.json; {} where it cannot be read."""
        return read_json(self.path / STATUS_FILE)

    def changes(self) -> list[str]:
        """Return a line for each result file, and each package's code, that is not as it was when
        the run finished.
        """
        status = self.read_status()
        files = changed_files(self.path, status, RESULT_FILES)
        return [*files, *changed_code(self.config, status.get("code", {}))]

    def recorded_data(self) -> dict[str, Any]:
        """Return what the run was trained on, as status.json says; {} where it does not."""
        data = self.read_status().get("data")
        return data if isinstance(data, dict) else {}

    def write_config(self) -> Config:
        """Write config.yaml with an absolute data.root, and return the config as written.

        A path that is no UTF-8, which YAML cannot hold, stays as it was given.
        """
        config, root = self.config, str(Path(self.config.data.root).expanduser().absolute())
        if is_text(root):
            config = replace(config, data=replace(config.data, root=root))
        text = OmegaConf.to_yaml(OmegaConf.create(asdict(config)))
        write_text(self.path / CONFIG_FILE, text)
        return config

    def record_failure(self, error: str, story: str) -> None:
        """Mark the run as failed: `error`, one line, in status.json, `story` in train.log.

        For a run that could not do so itself: refused before it began, or killed. Raises OSError
        where nothing can be written, BusyError where another process trains the run, InputError
        where the folder holds another run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / CONFIG_FILE).is_file():
            self._refuse_another_run()
        else:
            self.write_config()
        status = Status(self.path)
        try:
            log = open_log(self.path)
            log.error(story)
            close_log(log)
            status.end(FAILED, error=error)
        finally:
            status.release()

    def refuse_difference(self, complaint: str) -> None:
        """Raise InputError with the options in which the saved config differs from this one."""
        there, here = (
            settings(load_config(self.path)),
            settings(self.config),
        )
        keys = sorted(key for key in {**there, **here} if there.get(key) != here.get(key))
        if keys:
            raise InputError(f"{self.path}: {complaint} {', '.join(keys)}")

    def _refuse_another_run(self) -> None:
        if not self._is_same_word_for_word():
            self.refuse_difference("holds another run, which differs in")
        reads_tree = self.config.data.builder == "folder" and not self.config.overwrite
        if reads_tree and self._has_results():
            self._refuse_another_tree()

    def _is_same_word_for_word(self) -> bool:
        """Return whether config.yaml says the same; a sweep asks this of a thousand folders."""
        try:
            there = flat(_read_yaml(self.path / CONFIG_FILE))
        except Exception:  # as in read_config
            return False
        return all(
            there.get(key, option.metadata["default"]) == value_of(self.config, key)
            for key, option in SETTINGS.items()
        )

    def _has_results(self) -> bool:
        """Return whether there is a summary, or a checkpoint to resume from."""
        names = (SUMMARY_FILE, CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE)
        return any((self.path / name).is_file() for name in names)

    def _refuse_another_tree(self) -> None:
        """Raise InputError for a tree of images with the same name and other files than were used.

        A run of an earlier version has recorded no files: its tree is listed where it still lies,
        if that is another place.
        """
        here = Path(self.config.data.root).expanduser()
        if not here.is_dir():
            return
        try:
            recorded = self.recorded_data()
            if "tree" not in recorded:
                there = Path(load_saved_config(self.path / CONFIG_FILE)["data"]["root"])
                if not there.is_dir() or there.resolve() == here.resolve():
                    return
                recorded = list_tree(there).facts
            refuse_other_data(self.path, "data.root", recorded, list_tree(here).facts)
        except DataError as error:
            raise InputError(f"data.root: {error}") from error
