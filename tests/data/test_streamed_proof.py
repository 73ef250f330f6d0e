"""Two thousand photographs in 20 classes, of all sizes and modes: read once each, whoever reads."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from dstrun.data import BUILDERS, ImageReader, Splits, StreamedBatches, image_reader
from tests.helpers.commands import Command
from tests.helpers.runs import only_run, rows

pytestmark = pytest.mark.slow
CLASSES, TRAIN, TEST, SIDE = 20, 90, 10, 64
DAMAGED = "train/c03/0007.jpg"
EXIF = Image.Exif()
EXIF[0x0112] = 6  # to be rotated
KINDS = {1: ("L", "jpg", {}), 2: ("CMYK", "jpg", {}), 3: ("P", "png", {}), 4: ("RGB", "jpg", EXIF)}
SCRIPT = """
import sys
from pathlib import Path
import torch
from dstrun.data import BUILDERS, ImageReader, StreamedBatches

if __name__ == "__main__":
    split = BUILDERS["folder"](Path(sys.argv[1]), size=64, stream=True).train
    reader = ImageReader(64, 1)
    batches = StreamedBatches(split, 64, torch.device("cpu"), reader=reader).shuffled(0)
    for _ in range(8):
        next(batches)
    words = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(len(split), words["VmRSS"].split()[0])
"""


def photographs() -> list[Image.Image]:
    """Return scikit-learn's two, and scikit-image's where it is installed."""
    found = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    package = find_spec("skimage")
    if package and package.origin:
        for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg"):
            file = Path(package.origin).parent / "data" / name
            if file.is_file():
                found.append(Image.open(file).convert("RGB"))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write parts of photographs of 80 to 300 pixels a side; a fifth are not plain JPEGs."""
    root, draws, sources = (
        tmp_path_factory.mktemp("photographs"),
        np.random.default_rng(0),
        photographs(),
    )
    for part, each in (("train", TRAIN), ("val", TEST)):
        for name in range(CLASSES):
            folder = root / part / f"c{name:02}"
            folder.mkdir(parents=True)
            for number in range(each):
                source = sources[(name + number) % len(sources)]
                wide, high = (int(side) for side in draws.integers(80, 300, 2))
                left, top = int(draws.integers(source.width - wide)), int(draws.integers(100))
                image = source.crop((left, top, left + wide, top + high))
                mode, ending, exif = KINDS.get(number % 20, ("RGB", "jpg", {}))
                options = {"exif": exif} if exif else {}
                image.convert(mode).save(folder / f"{number:04}.{ending}", **options)
    broken = root / DAMAGED
    broken.write_bytes(broken.read_bytes()[:-400])
    return root


def splits_of(root: Path) -> Splits:
    return BUILDERS["folder"](root, size=SIDE, stream=True, undecodable=0.001)


def digests(batches: Iterable) -> list[str]:
    """Return, of each image, its label and a hash of its floats."""
    found = []
    for images, labels in batches:
        for image, label in zip(images, labels.tolist(), strict=True):
            found.append(f"{label} {hashlib.sha256(image.numpy().tobytes()).hexdigest()}")
    return found


@pytest.fixture(scope="module")
def alone(tree: Path) -> tuple[list[list[str]], list[str]]:
    """Return the images of each training batch, and those for testing, as one process reads them.

    Each whole file is read once for both.
    """
    read: list[str] = []
    splits, reader = splits_of(tree), ImageReader(SIDE, 0, say=lambda line: None)
    with pytest.MonkeyPatch.context() as patched:
        by = image_reader.read_crop
        patched.setattr(
            image_reader, "read_crop", lambda path, *more: read.append(path) or by(path, *more)
        )
        options = {"device": torch.device("cpu"), "reader": reader, "flip": True, "seed": 5}
        train = StreamedBatches(splits.train, 64, **options)
        trained = [digests([batch]) for batch in train.shuffled(2)]
        tested = digests(StreamedBatches(splits.test, 50, **options).in_order())
    files = sorted(str(file) for file in tree.rglob("*.*"))
    assert len(files) == 2000
    assert sorted(read) == files
    assert sum(map(len, trained)) == CLASSES * TRAIN - 1
    assert len(tested) == CLASSES * TEST
    return trained, tested


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_same_images_in_the_same_order_with_the_same_crops(
    tree: Path, alone: tuple[list[list[str]], list[str]], ranks: int, workers: int
) -> None:
    trained, tested = alone
    said: list[str] = []
    splits, train, test = splits_of(tree), [], []
    for rank in range(ranks):
        options = {
            "device": torch.device("cpu"),
            "reader": ImageReader(SIDE, workers, say=said.append),
            "flip": True,
            "seed": 5,
            "part": (rank, ranks),
        }
        train.append(
            [digests([b]) for b in StreamedBatches(splits.train, 64, **options).shuffled(2)]
        )
        test += digests(StreamedBatches(splits.test, 50, **options).in_order())
    assert [[*chain(*parts)] for parts in zip(*train, strict=True)] == trained
    assert sorted(test) == sorted(tested)
    (line,) = said
    assert line.startswith(f"data.root: cannot decode {tree / DAMAGED}: ")


def test_runs_on_any_ranks_and_workers_train_alike(command: Command, tree: Path) -> None:
    words = ["model=lenet5", "data=folder", f"data.root={tree}", "data.stream=true"]
    words += ["data.size=32", "data.args.undecodable=0.001", "schedule.epochs=1", "data.name=p"]
    figures = []
    for workers in (0, 3):
        assert command(*words, f"data.workers={workers}", f"group=w{workers}").code == 0
        figures.append(rows(only_run(f"outputs/w{workers}") / "metrics.csv")[0])
    started = [sys.executable, "-m", "dstrun", *words, "data.workers=1", "devices=2", "group=two"]
    subprocess.run([*started, "device=cpu", "wandb.mode=disabled"], check=True, timeout=300)
    figures.append(rows(only_run("outputs/two") / "metrics.csv")[0])
    one, other, two = figures
    for column in ("train_loss", "test_loss", "test_accuracy", "density"):
        assert one[column] == other[column]
        assert float(two[column]) == pytest.approx(float(one[column]), abs=1e-3)


def test_memory_does_not_grow_with_the_tree(tree: Path, tmp_path: Path) -> None:
    """Ten times the files, as links to the same ones, at most 1.1 times the memory."""
    sources = sorted((tree / "train" / "c05").iterdir())
    (tmp_path / "read.py").write_text(SCRIPT)
    memory = {}
    for count in (2_000, 20_000):
        root = tmp_path / str(count)
        for part, each in (("train", count // CLASSES), ("val", 1)):
            for name in range(CLASSES):
                folder = root / part / f"n{name:08}"
                folder.mkdir(parents=True)
                for number in range(each):
                    source = sources[number % len(sources)]
                    os.link(source, folder / f"{number:06}{source.suffix}")
        run = [sys.executable, str(tmp_path / "read.py"), str(root)]
        found = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120).stdout
        images, memory[count] = map(int, found.split())
        assert images == count
    assert memory[20_000] <= 1.1 * memory[2_000]
