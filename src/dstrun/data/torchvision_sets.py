"""MNIST, FashionMNIST, CIFAR-10 and CIFAR-100 as published: read from their files, or downloaded.

    ROOT/MNIST/raw/train-images-idx3-ubyte and three more, each with or without .gz
    ROOT/FashionMNIST/raw/…                 the same
    ROOT/cifar-10-batches-py/, ROOT/cifar-100-python/

A download goes to a folder of its own and is moved to its place once complete; one that fails
leaves nothing behind.
"""

import gzip
import hashlib
import io
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dstrun.data.splits import Split, Splits
from dstrun.system.errors import DataError

# SHA-256 of MNIST's unpacked files; those of FashionMNIST have the same names.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
LARGEST_FILE = 2**26  # bytes, unpacked: above train-images-idx3-ubyte's 47 million
CIFAR_FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}


def published_set(kind: str, root: Path, download: bool = False) -> Splits:
    """Return a set by its class name in torchvision: MNIST, FashionMNIST, CIFAR10 or CIFAR100.

    Raise DataError for files that are missing, damaged or not the published ones, and for a
    download that fails.
    """
    read = _read_cifar if kind in CIFAR_FOLDERS else _read_mnist
    try:
        return read(kind, root)
    except DataError as error:
        if not download:
            raise DataError(f"{error}; data.download=true fetches it") from error
    _download(kind, root)
    return read(kind, root)


def _read_mnist(kind: str, root: Path) -> Splits:
    images, labels, test_images, test_labels = (_idx_file(kind, root, name) for name in MNIST_FILES)
    return Splits(
        Split(images[:, None], labels.long()),
        Split(test_images[:, None], test_labels.long()),
        classes=10,
    )


def _idx_file(kind: str, root: Path, name: str) -> Tensor:
    """Return a file's uint8 tensor, from the first of its possible paths that is intact."""
    problems: list[DataError] = []
    for file in filter(os.path.isfile, _possible_files(kind, root, name)):
        try:
            return _read_idx(kind, file, name)
        except DataError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    place = root / kind / "raw"
    if any(place.glob("*-ubyte*")):
        problem = f"is not complete: there is no {name} in {place}"
    else:
        problem = f"is not there: expected its files in {place}"
    raise DataError(f"{kind} {problem}, as they are or as .gz")


def _possible_files(kind: str, root: Path, name: str) -> Iterator[Path]:
    """Yield the paths that a file may have, by folder, spelling and ending."""
    folders = [root / kind / "raw", root / kind]
    if kind in root.parts[-2:]:
        folders += [root / "raw", root]
    for folder in folders:
        for stem in (name, name.replace("-idx", ".idx")):
            yield folder / stem
            yield folder / f"{stem}.gz"


def _read_idx(kind: str, file: Path, name: str) -> Tensor:
    """Read a file in the IDX format, gzipped or not: uint8 images (N, 28, 28) or labels (N,)."""
    content = _unpack(kind, file)
    dimensions = 3 if "idx3" in name else 1
    shape = tuple(int(size) for size in np.frombuffer(content[4 : 4 + 4 * dimensions], ">u4"))
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) != start + prod(shape):
        raise DataError(
            f"{kind} is damaged: {file} is cut or not of this kind ({len(content):,} bytes)"
        )
    digest = hashlib.sha256(content).hexdigest()
    if (digest == MNIST_FILES[name]) != (kind == "MNIST"):
        problem = "is MNIST's"
        if kind == "MNIST":
            problem = "is not the file that was published (by its SHA-256)"
        raise DataError(f"{kind} is damaged: {file} {problem}")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(shape)


def _unpack(kind: str, file: Path) -> bytes:
    try:
        content = file.read_bytes()
        if content.startswith(b"\x1f\x8b") or file.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(LARGEST_FILE)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{kind} is damaged: {file} cannot be read ({error})") from error
    return content


def _read_cifar(kind: str, root: Path) -> Splits:
    """Read a set by torchvision, which compares the files' MD5 before it unpickles them."""
    import torchvision

    build = getattr(torchvision.datasets, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of the age of the pickles
            sets = [build(root, train=train) for train in (True, False)]
    except Exception as error:  # torchvision's parsers raise RuntimeError, UnpicklingError, …
        raise DataError(_cifar_problem(kind, root, root / build.filename)) from error
    train, test = (Split(_channels_first(s.data), torch.as_tensor(s.targets)) for s in sets)
    return Splits(train, test, len(sets[0].classes), class_names=tuple(sets[0].classes))


def _cifar_problem(kind: str, root: Path, archive: Path) -> str:
    """Return why a set cannot be read: not unpacked, damaged or missing."""
    place = root / CIFAR_FOLDERS[kind]
    if archive.is_file() and not place.is_dir():
        return f"{kind} is not unpacked: `tar -xzf {archive} -C {root}` unpacks it"
    problem = "is damaged" if place.is_dir() and any(place.iterdir()) else "is not there"
    return f"{kind} {problem}: expected its files in {place}"


def _channels_first(images: Any) -> Tensor:
    return torch.as_tensor(images).permute(0, 3, 1, 2).contiguous()


def _download(kind: str, root: Path) -> None:
    """Download a set by torchvision into a folder of its own, then move its files to their
    places.
    """
    import torchvision

    build = getattr(torchvision.datasets, kind)
    try:
        with _staging(root) as staging, redirect_stdout(io.StringIO()):
            build(staging, download=True)
            for file in [path for path in staging.rglob("*") if path.is_file()]:
                target = root / file.relative_to(staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
    except Exception as error:  # URLError, RuntimeError, OSError and those of its parsers
        reason = " ".join(str(error).split())
        raise DataError(
            f"{kind} could not be downloaded ({reason}); by hand: {_by_hand(kind, build, root)}"
        ) from error


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """Make a folder in `root` for a download; remove it at the end, with `root` if that is new and
    empty.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".download-", dir=root))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # not empty: the download is complete
                folder.rmdir()


def _by_hand(kind: str, build: Any, root: Path) -> str:
    """Return how to download a set without dstrun."""
    if kind in CIFAR_FOLDERS:
        return f"download {build.url} and unpack it in {root}"
    names = [name for name, _ in build.resources]
    others, place = ", ".join(names[1:]), root / kind / "raw"
    return f"download {build.mirrors[0]}{names[0]} and {others} to {place}"
