"""CIFAR-10's files, small enough to carry: images as lossless WebP, the rest of each file as gzip.

    python gpu_images.py pack ROOT FOLDER …    ROOT/cifar-10-batches-py, in equal parts
    python gpu_images.py unpack FOLDER ROOT    as published, byte for byte; what is there stays

A batch of 30.7 MB takes 17 MB. Every file is compared with the MD5 that torchvision expects before
it is packed and before it is put in its place. Needs numpy and Pillow, which torchvision needs too.
"""

import argparse
import gzip
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
IMAGES = (250, 40, 3, 32, 32)  # of a batch: rows and columns of the sheet, then the image
SIZE = 250 * 40 * 3 * 32 * 32
# In a batch's pickle: the opcode of a string with a length of four bytes, before the images.
PIXELS = b"T" + SIZE.to_bytes(4, "little")


def pack(content: bytes, quality: int = 100) -> tuple[bytes, bytes]:
    """Return a batch's images as WebP, and the bytes around them as gzip."""
    head, mark, pixels = content.partition(PIXELS)
    if not mark:
        return b"", gzip.compress(content)
    images = np.frombuffer(pixels[:SIZE], np.uint8).reshape(IMAGES)
    sheet = np.ascontiguousarray(images.transpose(0, 3, 1, 4, 2)).reshape(250 * 32, 40 * 32, 3)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", lossless=True, quality=quality, method=4)
    return file.getvalue(), gzip.compress(head + mark + pixels[SIZE:])


def unpack(webp: bytes, rest: bytes) -> bytes:
    """Return the file that `pack` was given."""
    head, mark, tail = gzip.decompress(rest).partition(PIXELS)
    if not mark:
        return head
    sheet = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB")).reshape(250, 32, 40, 32, 3)
    return head + mark + sheet.transpose(0, 2, 4, 1, 3).tobytes() + tail


def checked(name: str, content: bytes) -> bytes:
    """Return the content of a file that is the published one; raise ValueError for another."""
    if (found := hashlib.md5(content).hexdigest()) != MD5[name]:
        raise ValueError(f"{name} has the MD5 {found}, expected {MD5[name]}")
    return content


def pack_all(root: Path, folders: list[Path]) -> None:
    """Pack the files of ROOT/cifar-10-batches-py evenly into folders, several at a time."""
    batches = len(MD5) - 1  # the last file has no images
    places = [folders[min(at, batches - 1) * len(folders) // batches] for at in range(len(MD5))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # libwebp runs without Python's lock
        list(pool.map(partial(pack_one, root), MD5, places))


def pack_one(root: Path, name: str, folder: Path) -> None:
    """Pack one file into a folder; raise ValueError where it would not come back as it was."""
    webp, rest = pack(checked(name, (root / "cifar-10-batches-py" / name).read_bytes()))
    checked(name, unpack(webp, rest))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.gz").write_bytes(rest)
    if webp:
        (folder / f"{name}.webp").write_bytes(webp)


def unpack_all(folder: Path, root: Path) -> list[str]:
    """Unpack what a folder holds; return the names of files that ROOT still lacks."""
    place = root / "cifar-10-batches-py"
    place.mkdir(parents=True, exist_ok=True)
    for rest in sorted(folder.glob("*.gz")):
        name = rest.stem
        if not (place / name).is_file():
            webp = folder / f"{name}.webp"
            content = unpack(webp.read_bytes() if webp.is_file() else b"", rest.read_bytes())
            (place / f"{name}.new").write_bytes(checked(name, content))
            (place / f"{name}.new").replace(place / name)
    return [name for name in MD5 if not (place / name).is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["pack", "unpack"])
    parser.add_argument("source", type=Path)
    parser.add_argument("targets", type=Path, nargs="+")
    options = parser.parse_args()
    if options.task == "pack":
        pack_all(options.source, options.targets)
        return
    lacking = unpack_all(options.source, options.targets[0])
    if lacking:
        print(f"CIFAR-10: {', '.join(lacking)} still to come")


if __name__ == "__main__":
    main()
