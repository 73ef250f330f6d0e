"""Fixtures of all tests: a folder of their own, the command line in this process, trained runs,
made-up data.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from functools import cache, wraps
from pathlib import Path

import pytest

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the figures that tests compare are the CPU's

import torch

from dstrun.cli import main
from dstrun.data import BUILDERS, Splits
from dstrun.data.digits import digits
from dstrun.system import machine
from tests.helpers.commands import Command, Outcome, Trained
from tests.helpers.data import SHAPES, made_up


def pytest_configure() -> None:
    """Collect garbage seldom: a full collection goes through all that torch and Hydra are made
    of.
    """
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_finish() -> None:
    """Leave out of collections what is imported by now."""
    gc.freeze()


MADE_ONCE = cache(digits)


@wraps(digits)
def digits_once(root: Path) -> Splits:
    return MADE_ONCE(Path())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test works in an empty folder of its own, with one thread, without W&B unless it asks
    for it. No test waits for a disk, 2 ms each of the twenty times that a run does, or makes the
    digits again, 35 ms.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "HYDRA_FULL_ERROR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(machine, "THREADS_AT_FIRST", 1)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setitem(BUILDERS, "digits", digits_once)
    torch.set_num_threads(1)
    yield
    if torch.are_deterministic_algorithms_enabled():  # whose setter loads torch's compiler
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`dstrun WORDS` in this process, word for word."""

    def call(*words: str) -> Outcome:
        monkeypatch.setattr("sys.argv", ["dstrun", *words])
        capfd.readouterr()
        code = 0
        try:
            main.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return call


TRAINED: dict[tuple[str, ...], Path] = {}  # words → the folder `outputs` that they have left


@pytest.fixture
def trained(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """`trained(WORDS)`: a copy, in outputs/, of the runs that `dstrun WORDS` leaves, made once a
    process.
    """

    def copied(*words: str) -> None:
        if words not in TRAINED:
            with monkeypatch.context() as patch:
                place = tmp_path_factory.mktemp("trained")
                patch.chdir(place)
                assert command(*words).code == 0
            TRAINED[words] = place / "outputs"
        shutil.copytree(TRAINED[words], "outputs", dirs_exist_ok=True)

    return copied


@pytest.fixture
def made_up_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set but the digits is made up, and small."""
    for name in BUILDERS:
        if name != "digits":
            classes = 100 if name == "cifar100" else 10  # images are smaller than the real ones
            splits = made_up(
                SHAPES.get(name, (3, 32, 32)), classes, train=2 * classes, test=classes
            )
            monkeypatch.setitem(BUILDERS, name, lambda root, splits=splits, **_: splits)
