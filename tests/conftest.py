"""What several tests share: the command line in this process, trained runs, made-up data, where real data lies."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the figures that tests compare are the CPU's

import torch

from dstrun import cli, machine
from dstrun.data import BUILDERS, Split, Splits
from dstrun.machine import missing_for_compilation


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """What was said on standard error, notes apart."""
        return "".join(line for line in self.err.splitlines(keepends=True) if not line.startswith("dstrun: note: "))


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test works in an empty folder of its own, with one thread, and without W&B unless it asks for it."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "HYDRA_FULL_ERROR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(machine, "THREADS_AT_FIRST", 1)
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
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return call


Trained = Callable[..., None]
TRAINED: dict[tuple[str, ...], Path] = {}  # words → the folder `outputs` that they have left


@pytest.fixture
def trained(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`trained(WORDS)`: a copy, in outputs/, of the runs that `dstrun WORDS` leaves, made once a process."""

    def copied(*words: str) -> None:
        if words not in TRAINED:
            with monkeypatch.context() as patch:
                place = tmp_path_factory.mktemp("trained")
                patch.chdir(place)
                assert command(*words).code == 0
            TRAINED[words] = place / "outputs"
        shutil.copytree(TRAINED[words], "outputs", dirs_exist_ok=True)

    return copied


def made_up(shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, train: int = 40, test: int = 20) -> Splits:
    """Random images of which the brightness tells the class, the same every time."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        labels = torch.arange(count) % classes
        noise = torch.randint(0, 128, (count, *shape), generator=generator)
        return Split((noise + labels.view(-1, 1, 1, 1) * (127 // classes)).to(torch.uint8), labels)

    return Splits(split(train), split(test), classes)


SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "cifar10": (3, 16, 16), "cifar100": (3, 16, 16)}


@pytest.fixture
def made_up_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set but the digits is made up, and small."""
    for name in BUILDERS:
        if name != "digits":
            classes = 100 if name == "cifar100" else 10  # images are smaller than the real ones
            splits = made_up(SHAPES.get(name, (3, 32, 32)), classes, train=2 * classes, test=classes)
            monkeypatch.setitem(BUILDERS, name, lambda root, splits=splits, **_: splits)


def _real_data(*below: str) -> Any:
    root = os.environ.get("DSTRUN_DATA", "")
    missing = not root or not Path(root, *below).exists()
    return pytest.mark.skipif(missing, reason=f"$DSTRUN_DATA holds no {'/'.join(below)}")


needs_mnist = _real_data("MNIST", "raw", "train-images-idx3-ubyte")
needs_cifar10 = _real_data("cifar-10-batches-py", "data_batch_1")
needs_compiler = pytest.mark.skipif(
    missing_for_compilation(torch.device("cpu")) is not None, reason="there is no compiler for torch.compile"
)
