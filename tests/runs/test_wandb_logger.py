"""Copy of a run in Weights & Biases: options and environment, refusals, runs that start over."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dstrun.config.check import check
from dstrun.runs import wandb_logger
from dstrun.runs.trackers.start import check_trackers_of_sweep
from dstrun.runs.trackers.tracker import NoTracker
from dstrun.runs.wandb_logger import remove_local_copies
from dstrun.runs.wandb_options import wandb_init, wandb_options
from dstrun.system.errors import InputError, RunFailedError
from dstrun.training.run import run, run_as_job
from tests.helpers.commands import Command
from tests.helpers.runs import QUICK, only_run, rows
from tests.helpers.tiny import config, tiny  # noqa: F401

RUN = Path("outputs/single/run")


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "options", "found"),
    [
        ("WANDB_MODE=offline", {}, {"mode": "offline"}),
        ("WANDB_MODE=dryrun", {}, {"mode": "offline"}),
        ("WANDB_MODE=shared", {}, {"mode": "online"}),
        ("WANDB_MODE=", {}, {"mode": "auto"}),
        ("WANDB_MODE=offline", {"wandb.mode": "online"}, {"mode": "online"}),
        ("WANDB_MODE=nonsense", {"wandb.mode": "disabled"}, {"mode": "disabled"}),
        ("WANDB_DISABLED=true", {}, {"mode": "disabled"}),
        ("WANDB_DISABLED=false", {}, {"mode": "auto"}),
        ("WANDB_PROJECT=theirs", {}, {"project": "theirs"}),
        ("WANDB_PROJECT=theirs", {"wandb.project": "mine"}, {"project": "mine"}),
        ("WANDB_ENTITY=team", {}, {"entity": "team"}),
        ("WANDB_TAGS=a, b,,a", {}, {"tags": ["a", "b"]}),
        ("WANDB_TAGS=a", {"wandb.tags": ["mine"]}, {"tags": ["mine"]}),
        ("WANDB_RUN_GROUP=theirs", {}, {"group": "theirs"}),
        ("WANDB_RUN_GROUP=theirs", {"group": "single"}, {"group": "single"}),
        ("WANDB_NAME=mine", {}, {"name": "mine"}),
        ("WANDB_NOTES=why", {}, {"notes": "why"}),
        ("WANDB_NOTES=why", {"name": "label"}, {"notes": "label"}),
        ("WANDB_JOB_TYPE=eval", {}, {"job_type": "eval"}),
        ("WANDB_RUN_ID=mine", {}, {"id": "mine-2"}),
        ("WANDB_DIR=elsewhere", {}, {"dir": "elsewhere"}),
    ],
)
def test_what_the_environment_says_holds_where_no_option_is_given(
    monkeypatch: pytest.MonkeyPatch, variable: str, options: dict, found: dict
) -> None:
    monkeypatch.setenv(*variable.split("=", 1))
    config = check(options)
    told = {"mode": wandb_options(config).mode} | wandb_init(config, RUN, restarts=2)
    assert {key: told[key] for key in found} == found


@pytest.mark.parametrize("word", ["it's", "a:b", " ", "end "])
def test_an_id_that_wandb_refuses_is_refused(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    import wandb

    monkeypatch.setenv("WANDB_RUN_ID", "run id")
    assert wandb_options(check({})).mode == "auto"
    monkeypatch.setenv("WANDB_RUN_ID", word)
    with pytest.raises(InputError, match="WANDB_RUN_ID: got"):
        wandb_options(check({}))
    with pytest.raises(wandb.UsageError):
        wandb.Settings(run_id=word)


@pytest.mark.usefixtures("tiny")
def test_a_run_trains_without_wandb_where_it_is_not_installed_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hide the package; a folder of W&B's files, which may be on the path, is none."""
    line = "W&B is not installed, so this run is not logged there (no line: wandb.mode=disabled)"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb", None)
        folder = run(config(wandb__mode="auto"), default_group="single")
    assert (folder / "summary.json").exists()
    out = capsys.readouterr().out
    assert (out.count("W&B"), out.count(line)) == (1, 1)
    Path("files/wandb").mkdir(parents=True)
    elsewhere = [one for one in sys.path if not Path(one, "wandb", "__init__.py").exists()]
    monkeypatch.setattr(sys, "path", ["files", *elsewhere])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    said: list[str] = []
    tracker = wandb_logger.start_wandb("auto", logging.getLogger(), said.append)
    assert (type(tracker), said) == (NoTracker, [line])


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_wandb_is_asked_for_in_vain_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Refuse it in a sweep, too; a run that has a variable for it is refused by its name."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    asked = check({"wandb.mode": mode})
    monkeypatch.setenv("WANDB_MODE", mode)
    for name, call in (
        ("wandb.mode", lambda: wandb_options(asked)),
        ("wandb.mode", lambda: check_trackers_of_sweep([asked])),
        ("WANDB_MODE", lambda: wandb_options(check({}))),
    ):
        with pytest.raises(InputError) as refused:
            call()
        assert str(refused.value) == (
            f"{name}: got {mode!r}, but the package wandb is not installed; "
            "install it, or train with wandb.mode=disabled"
        )
    assert wandb_options(check({"wandb.mode": "disabled"})).mode == "disabled"
    with pytest.raises(InputError):
        run(asked, default_group="single")
    assert not list(Path().iterdir())


def test_what_wandb_refuses_is_refused_before_the_start(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_TAGS", f"a,{65 * 'x'}")
    with pytest.raises(
        InputError, match=r"WANDB_TAGS: got 'x+', expected tags of 1 to 64 characters"
    ):
        wandb_options(check({}))
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    with pytest.raises(
        InputError, match="WANDB_PROJECT: got 'a/b', expected at most 128 characters, none of / "
    ):
        wandb_options(check({}))
    monkeypatch.setenv("WANDB_MODE", "ofline")
    answer = command()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "dstrun: WANDB_MODE: got 'ofline', expected one of online, run, shared, offline, dryrun, "
        "disabled; did you mean offline or online?\n"
    )
    assert list(Path().iterdir()) == []


def test_what_holds_for_one_run_is_left_out_in_a_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    config = check({"wandb.mode": "offline", "device": "none"})
    check_trackers_of_sweep([config])
    assert (
        capsys.readouterr().err
        == "dstrun: WANDB_RUN_ID: ignored in a sweep, applies to a single run\n"
    )
    with pytest.raises(RunFailedError):
        run_as_job(config, "grid")
    assert "WANDB_RUN_ID" not in os.environ


def test_only_the_runs_own_copies_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DIR", "all")
    config = check({})
    run_id = wandb_init(config, RUN, restarts=0)["id"]
    stamp = "run-20260101_120000"
    mine = [f"offline-{stamp}-{run_id}", f"{stamp}-{run_id}-1"]
    others = [f"{stamp}-my-{run_id}", f"{stamp}-{run_id}0", "latest-run"]
    for name in mine + others:
        Path("all/wandb", name).mkdir(parents=True)
    remove_local_copies(config, RUN)
    assert sorted(path.name for path in Path("all/wandb").iterdir()) == sorted(others)


@pytest.mark.slow
def test_an_offline_wandb_run_has_a_density_of_every_layer_at_every_epoch(command: Command) -> None:
    """Check the run as it was started last; rows of the start before are not uploaded."""
    words = [*QUICK, "wandb.mode=offline", "wandb.tags=[a,b]"]
    for again in ("false", "true"):
        assert command(*words, f"overwrite={again}").code == 0
    folder = only_run()
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1, "else `wandb sync` sends both"
    wandb = Path(sys.executable).with_name("wandb")
    answer = subprocess.run(
        [wandb, "leet", "inspect", "--json", folder / "wandb"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [row["epoch"] for row in history] == [1, 2]
    densities = {}
    for key in history[0]:
        if key.startswith("density/"):
            densities[key] = [row[key] for row in history]
    expected = {}
    for key, column in {"density/model": "density_model", "density/masked": "density"}.items():
        expected[key] = [float(row[column]) for row in rows(folder / "metrics.csv")]
    for number, layer in enumerate(("fc1", "fc2", "fc3")):
        of_layer = [row for row in rows(folder / "layers.csv") if row["layer"] == layer]
        expected[f"density/{number:02}.{layer}"] = [float(row["density"]) for row in of_layer]
    assert densities == expected
    (run,) = (record["run"] for record in records if record["type"] == "run")
    assert run["tags"] == ["a", "b"]
    logged = {key: value for key, value in run["config"]["update"].items() if key != "_wandb"}
    assert logged.pop("folder") == str(folder.absolute())
    assert logged == OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
    assert (run["run_id"], run["run_group"]) == (f"single-{folder.name[-8:]}-1", "single")
    assert (run["job_type"], run["display_name"]) == ("dst", folder.name)


def test_under_a_wandb_agent_the_run_is_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict] = []
    monkeypatch.setattr(wandb_logger, "WandbTracker", lambda *words, **init: given.append(init))
    for sweep in ("", "abc"):
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
        wandb_logger.start_wandb("offline", logging.getLogger(), print, id="mine", name="run")
    assert given == [{"id": "mine", "name": "run"}, {"name": "run"}]


def test_auto_means_what_wandb_offline_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the file that `wandb offline` writes into the folder."""
    import wandb

    opened: list[str] = []
    monkeypatch.setattr(wandb_logger, "WandbTracker", lambda mode, *_, **__: opened.append(mode))
    monkeypatch.setenv("WANDB_API_KEY", 40 * "x")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    Path("wandb").mkdir()
    for written in ("", "[default]\nmode = offline\n"):
        wandb.teardown()
        Path("wandb/settings").write_text(written)
        wandb_logger.start_wandb("auto", logging.getLogger(), print)
    wandb.teardown()
    assert opened == ["online", "offline"]
