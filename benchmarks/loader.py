"""Images a second that are read for training: a stream against torchvision's ImageFolder.

    python benchmarks/loader.py [--root ROOT] [--workers 2] [--rounds 5] [--batches 10]
                                [--json FILE]

ROOT has train/CLASS/* and val/CLASS/*; without it, parts of scikit-learn's two photographs are
written, 500×375 as those of ImageNet. Both sides do the same work in as many processes: decode, a
random crop of 224×224 pixels, mirror half, floats, normalise. In each round both read as many
batches of 64 images, in turn; the ratio is that of a round. The clock begins once the other side is
at rest and what this one has read ahead is used up.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from common import config_of, report, seconds, spread
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from dstrun.data.image_files import decoder
from dstrun.training.build import make_batches
from dstrun.training.load_data import load_data
from dstrun.training.prepare import Prepared

BATCH = 64
AHEAD = 2  # batches that a process of a DataLoader reads before they are asked for
REST = 3  # seconds in which they are read
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, default=640, help="to write, without --root")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=10, help="of 64 images, in a round")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(options.root or photographs(Path(folder), options.images), options)


def photographs(root: Path, images: int) -> Path:
    """Write JPEGs of four classes, a tenth of them for testing, and return their folder."""
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    draws = random.Random(0)
    for number in range(images):
        part = root / ("val" if number % 40 < 4 else "train") / f"class{number % 4}"
        part.mkdir(parents=True, exist_ok=True)
        left, top = draws.randint(0, 140), draws.randint(0, 52)
        image = sources[number % 2].crop((left, top, left + 500, top + 375))
        image.save(part / f"{number:05}.jpg", quality=92)
    return root


def compare(root: Path, options: argparse.Namespace) -> None:
    """Measure both sides, and report."""
    sides = {
        "ImageFolder": _endless(image_folder(root, options.workers)),
        "stream": _endless(stream(root, options.workers)),
    }
    for batches in sides.values():
        next(batches)  # starts its processes
    ahead, rounds = AHEAD * options.workers, []
    for _ in range(options.rounds):
        rounds.append(
            {name: _speed(batches, options.batches, ahead) for name, batches in sides.items()}
        )
    ratios = [found["stream"] / found["ImageFolder"] for found in rounds]
    rows = []
    for name in sides:
        speed, _, _ = spread([found[name] for found in rounds])
        ratio, low, high = spread(ratios) if name == "stream" else (1.0, 1.0, 1.0)
        rows.append({"loader": name, "images/s": speed, "ratio": ratio, "low": low, "high": high})
    title = f"{options.root or 'photographs'}: batches of {BATCH}, {options.workers} processes"
    report(title, rows, options.json, decoder=decoder())


def image_folder(root: Path, workers: int) -> Callable[[int], Iterator]:
    """Return what yields the batches of an epoch as torchvision's examples load them."""
    steps = [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    images = datasets.ImageFolder(root / "train", transforms.Compose(steps))
    loader = DataLoader(
        images, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda epoch: iter(loader)


def stream(root: Path, workers: int) -> Callable[[int], Iterator]:
    """Return what yields the batches of an epoch as a run reads them."""
    config = config_of(
        [
            *("model=resnet50", "data=imagenet", "device=cpu", f"data.root={root.resolve()}"),
            *(f"schedule.batch_size={BATCH}", "data.args.undecodable=0.01"),
        ]
    )
    splits, _ = load_data(config.data)
    prepared = Prepared(torch.device("cpu"), splits, None, torch.nn.Identity, workers=workers)
    return make_batches(config, prepared)[0].shuffled


def _endless(epochs: Callable[[int], Iterator]) -> Iterator:
    epoch = 0
    while True:
        yield from epochs(epoch)
        epoch += 1


def _speed(batches: Iterator, count: int, ahead: int) -> float:
    """Return images a second of `count` batches after `ahead` others."""
    time.sleep(REST)
    for _ in range(ahead):
        next(batches)
    return BATCH * count / seconds(lambda: [next(batches) for _ in range(count)])


if __name__ == "__main__":
    main()
