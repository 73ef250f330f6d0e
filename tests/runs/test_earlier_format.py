"""A run that an earlier version was interrupted in, before its files moved: resumed and finished.

`format_1` has the files it left at step 9 of 24: a model of 108 masked weights on made-up images.
"""

import shutil
from pathlib import Path

import pytest

from dstrun.config.options import Config
from dstrun.runs.folder import RunFolder
from dstrun.system.errors import InputError
from dstrun.system.run_files import CHECKPOINT_FILE, LAYERS_FILE, METRICS_FILE
from dstrun.training.prepare import prepare
from dstrun.training.run import run
from dstrun.training.trainer import Trainer
from tests.helpers.runs import rows
from tests.helpers.tiny import config, tiny, training  # noqa: F401

LEFT = Path(__file__).with_name("format_1")


def as_it_was(group: str) -> Config:
    return config(
        group=group,
        reg__target_density=0.3,
        schedule__epochs=4,
        schedule__lr=0.1,
        schedule__momentum=0.9,
        schedule__accumulate=2,
        log__steps=2,
        threads=1,
        data__root="images",
    )


@pytest.mark.usefixtures("tiny")
def test_a_run_of_an_earlier_version_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    """Its rows stay byte for byte; those after it are what an undisturbed run has, but for the
    rounding of another machine.
    """
    folder = RunFolder.of(as_it_was("earlier"), "single").path
    shutil.copytree(LEFT, folder)
    assert folder.name == "tiny-tiny-d3e-1-s0-87223386"
    run(as_it_was("earlier"), "single")
    assert "at step 9 of 24" in capsys.readouterr().out
    for name in (METRICS_FILE, LAYERS_FILE):
        assert (folder / name).read_text().startswith((LEFT / name).read_text())
    whole = run(as_it_was("whole"), "single")
    resumed, undisturbed = rows(folder / METRICS_FILE), rows(whole / METRICS_FILE)
    assert len(resumed) == len(undisturbed) == 4
    for column in ("train_loss", "penalty", "test_loss", "density", "alpha"):
        expected = [float(row[column]) for row in undisturbed]
        assert [float(row[column]) for row in resumed] == pytest.approx(expected, rel=1e-2)
    assert (folder / CHECKPOINT_FILE).is_file()


@pytest.mark.usefixtures("tiny")
def test_a_run_of_a_version_that_masked_fewer_layers_says_how_to_begin_anew() -> None:
    state = training().state_dict()
    del state["model"]["fc.mask.threshold"]
    wanted = config()
    with pytest.raises(InputError, match=r"fc\.mask\.threshold.*: overwrite=true begins"):
        Trainer(wanted, prepare(wanted), state)
