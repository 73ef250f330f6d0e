"""What is looked at before a run trains, or is evaluated."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dstrun.runs import checkpoint
from dstrun.runs.folder import read_config
from dstrun.system.errors import InputError, RunFailedError
from dstrun.system.run_files import STATUS_FILE, SUMMARY_FILE
from dstrun.training import prepare
from dstrun.training.console import RunConsole
from dstrun.training.run import evaluate_run, run
from tests.helpers.tiny import config, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_run_that_another_finishes_meanwhile_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:

        def finish_first(*arguments: Any) -> Any:
            patch.undo()
            run(config(schedule__epochs=1), default_group="single")
            return prepare.prepare(*arguments)

        patch.setattr("dstrun.training.run.prepare", finish_first)
        run(config(schedule__epochs=1), default_group="single")
    out = capsys.readouterr().out
    assert (out.count("epoch 1/1"), out.count("finished already")) == (1, 1)


def test_an_evaluation_needs_no_weights_that_the_run_began_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = run(config(schedule__epochs=1), default_group="first")
    folder = run(config(schedule__epochs=1, init=str(first)), default_group="second")
    checkpoint.remove(first)
    own = read_config(folder)
    assert own is not None
    evaluate_run(folder, own)
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_goes_on_with_its_own_data_alone_as_its_checkpoint_has_them_too(
    monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """One without status.json; that begins anew may have others."""
    with monkeypatch.context() as patch:
        patch.setattr(RunConsole, "show_epoch", lambda *_: 1 / 0)
        with pytest.raises(RunFailedError):
            run(config(checkpoint__every=1e-9), default_group="single")
    (folder,) = Path("outputs/single").iterdir()
    (folder / STATUS_FILE).unlink()
    monkeypatch.setattr("tests.helpers.tiny.TRAIN", 30)
    if overwrite:
        assert run(config(overwrite=True), default_group="single") == folder
    else:
        with pytest.raises(InputError, match="data=tiny"):
            run(config(), default_group="single")


def test_a_variable_that_wandb_refuses_is_noticed_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(InputError, match="WANDB_MODE"):
        run(config(wandb__mode="auto"), default_group="single")
    assert not list(Path().iterdir())


def test_a_run_that_starts_over_keeps_neither_checkpoint_nor_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, bool]] = []
    with monkeypatch.context() as patch:
        patch.setattr(RunConsole, "show_epoch", lambda *_: 1 / 0)
        with pytest.raises(RunFailedError):
            run(config(checkpoint__every=1e-9), default_group="single")
    (folder,) = Path("outputs/single").iterdir()
    summary = folder / SUMMARY_FILE
    summary.touch()
    monkeypatch.setattr(
        RunConsole, "show_step", lambda console, step, _: seen.append((step, summary.exists()))
    )
    run(config(schedule__epochs=2, overwrite=True), default_group="single")
    assert seen == [(step, False) for step in range(1, 13)]


PLAIN = """
import sys
sys.argv = ["dstrun", "schedule.epochs=1", "data.train_limit=100", "wandb.mode=disabled"]
from dstrun.cli.main import main
main()
rest = {"wandb", "plotly", "dash", "pandas", "sklearn", "safetensors", "torchvision"}
assert not rest & set(sys.modules), rest & set(sys.modules)
"""


@pytest.mark.slow
def test_a_plain_run_imports_only_what_training_takes() -> None:
    """Few packages have to be brought to a machine without a network."""
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
