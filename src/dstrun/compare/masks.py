"""Masks of some runs, from their checkpoints.

Reading one takes a tenth of a second or, of a large network, some seconds, so what is read is
bounded, and kept until the checkpoint changes.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from dstrun.compare.labels import is_dense
from dstrun.system.errors import InputError
from dstrun.system.files import is_file
from dstrun.system.run_files import CHECKPOINT_FILE

Masks = Mapping[str, np.ndarray]  # booleans by layer, rows first
ReadMasks = Callable[[Path], Masks]
RUNS = 96  # read at most
BYTES = 1 << 28  # of checkpoints that are read at most
Packed = dict[str, tuple[np.ndarray, tuple[int, ...]]]


def read_some(runs: pd.DataFrame, read_masks: ReadMasks | None) -> dict[str, Masks]:
    """Return the masks of the first of the runs that have some, by name, within RUNS and BYTES.

    Left out: dense runs, runs without a usable checkpoint, and runs whose masked layers differ from
    the first one's.
    """
    found: dict[str, Masks] = {}
    if read_masks is None:
        return found
    left = BYTES
    for name, folder in _folders(runs):
        stat = (folder / CHECKPOINT_FILE).lstat()
        left -= stat.st_size
        if len(found) >= RUNS or (found and left < 0):
            break
        masks = _unpacked(_packed(read_masks, folder, stat.st_mtime_ns, stat.st_size))
        if masks and shapes(masks) == shapes(next(iter(found.values()), masks)):
            found[name] = masks
    return found


def _folders(runs: pd.DataFrame) -> Iterable[tuple[str, Path]]:
    """Yield name and folder of the sparse runs that have a checkpoint."""
    for name, folder in runs.loc[~is_dense(runs), "folder"].items():
        if is_file(Path(folder) / CHECKPOINT_FILE):
            yield str(name), Path(folder)


@lru_cache(maxsize=2 * RUNS)
def _packed(read_masks: ReadMasks, folder: Path, time: int, size: int) -> Packed:
    """Return the masks of a run, eight weights a byte; {} if they cannot be read.

    `time` and `size` are those of its checkpoint, whose masks are read again when it has changed.
    """
    try:
        masks = read_masks(folder)
    except InputError:
        return {}
    return {layer: (np.packbits(mask), mask.shape) for layer, mask in masks.items()}


def _unpacked(packed: Packed) -> dict[str, np.ndarray]:
    """Return masks as booleans."""
    found = {}
    for layer, (bits, shape) in packed.items():
        size = int(np.prod(shape))
        found[layer] = np.unpackbits(bits, count=size).astype(bool).reshape(shape)
    return found


def shapes(masks: Masks) -> dict[str, tuple[int, ...]]:
    """Return the shape of each layer's mask."""
    return {layer: mask.shape for layer, mask in masks.items()}
