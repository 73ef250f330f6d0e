"""Settings of a run in another training loop: options of dstrun, as far as they are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dstrun.config.check import check
from dstrun.config.options import DSTRUN, flat, value_of
from dstrun.methods.base import Method
from dstrun.runs.identity import run_name
from dstrun.runs.method import options_of
from dstrun.runs.status import FINISHED
from dstrun.system.errors import InputError
from dstrun.system.files import read_json, write_text
from dstrun.system.run_files import CONFIG_FILE, STATUS_FILE

NAMES = {"model": "model.name", "data": "data.name"}  # as on the command line
OF_THE_CALL = ("loop", "name", "group", "outputs", "overwrite")  # arguments of `record`


@dataclass(frozen=True)
class Settings:
    """Options of a run by their key, and the name of its folder. `loop` made the run."""

    options: Mapping[str, Any]
    name: str
    loop: str

    @classmethod
    def of(cls, given: Mapping[str, Any], method: Method, loop: str) -> "Settings":
        """Return the settings given, with the method's. Raises ValueError as `record`."""
        own = options_of(method)
        options = {NAMES.get(key, key): value for key, value in given.items()}
        for key in options:
            if key in own or key in OF_THE_CALL:
                whose = "the method" if key in own else "an argument of record()"
                raise ValueError(f"{key}: {whose} says it, leave it out of the settings")
        for word, key in NAMES.items():
            if not options.get(key):
                raise ValueError(f"{word}: expected a name for it in the settings, for tables")
        if loop == DSTRUN:
            raise ValueError(f"loop: got {loop!r}, expected a word for another training loop")
        options = {"loop": loop, **options, **own}
        try:
            config = check(options)
        except InputError as error:
            raise ValueError(str(error)) from error
        used = {key: value_of(config, key) for key in options}
        return cls(used, run_name(config), loop)

    def refuse_folder(self, folder: Path, overwrite: bool) -> None:
        """Raise FileExistsError where a folder holds another run, or a finished one."""
        if not (folder / CONFIG_FILE).is_file():
            return
        there = flat(yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8")) or {})
        if there.get("loop", DSTRUN) == DSTRUN:
            raise FileExistsError(f"{folder}: holds a run of dstrun's own, expected another name")
        if overwrite:
            return
        differing = sorted(key for key, value in self.options.items() if there.get(key) != value)
        if differing:
            raise FileExistsError(
                f"{folder}: holds another run, which differs in {', '.join(differing)}; "
                "overwrite=True starts over"
            )
        if read_json(folder / STATUS_FILE).get("state") == FINISHED:
            raise FileExistsError(f"{folder}: finished already; overwrite=True starts over")

    def write(self, folder: Path) -> None:
        """Write config.yaml, with the options that are known alone."""
        nested: dict[str, Any] = {}
        for key, value in self.options.items():
            section, _, last = key.rpartition(".")
            place = nested.setdefault(section, {}) if section else nested
            place[last] = value
        write_text(folder / CONFIG_FILE, yaml.safe_dump(nested, sort_keys=False))
