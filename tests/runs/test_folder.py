"""A run folder: the state of its run, another run in it, and a failure that is recorded in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.runs.folder import RunFolder, read_config
from dstrun.system.errors import InputError

HERE = Path("run")


def folder(**options: Any) -> RunFolder:
    return RunFolder(HERE, check({key.replace("__", "."): value for key, value in options.items()}))


@pytest.mark.parametrize(
    ("status", "has_summary", "state"),
    [
        ({}, False, "interrupted"),
        ({}, True, "finished"),
        ({"state": "finished"}, False, "finished"),
        ({"state": "failed"}, True, "failed"),
        ({"state": "interrupted"}, True, "interrupted"),
        ({"state": "running"}, True, "interrupted"),
    ],
)
def test_the_state_of_a_run_that_nobody_trains(
    status: dict[str, str], has_summary: bool, state: str
) -> None:
    assert folder().state() == "new"
    HERE.mkdir()
    folder().write_config()
    (HERE / "status.json").write_text(json.dumps(status))
    if has_summary:
        (HERE / "summary.json").touch()
    assert folder().state() == state
    with pytest.raises(InputError, match="holds another run, which differs in seed"):
        folder(seed=1).state()


def test_a_failure_is_recorded_in_a_runs_own_folder_alone() -> None:
    folder().record_failure("why", "a story")
    assert folder().state() == "failed"
    assert folder().read_status()["error"] == "why"
    assert "a story" in (HERE / "train.log").read_text()
    (HERE / "config.yaml").write_bytes(
        before := b"# a note\n" + (HERE / "config.yaml").read_bytes()
    )
    folder().record_failure("again", "")
    with pytest.raises(InputError, match="differs in seed"):
        folder(seed=1).record_failure("another", "")
    assert folder().read_status()["error"] == "again"
    assert (HERE / "config.yaml").read_bytes() == before


def test_a_config_is_written_as_the_run_uses_it() -> None:
    config = check({"reg.target_density": 0.02, "data.root": "here", "outputs": "."})
    own = RunFolder.of(config, "group")
    own.path.mkdir(parents=True)
    written = own.write_config()
    assert read_config(own.path) == written
    assert (written.reg.floor, written.reg.freeze) == (0.005, 0.8)
    assert written.data.root == str(Path("here").absolute())
    assert own.state() == RunFolder(own.path, config).state() == "interrupted"
