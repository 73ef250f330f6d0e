"""Figures of masks: blocks, pixels and overlap, by hand, and which checkpoints are read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dstrun.compare import masks as reading
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.mask_images import blocks, by_pixel
from dstrun.compare.figures.view import Source, View
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.system.errors import InputError
from dstrun.system.run_files import CHECKPOINT_FILE
from tests.helpers.figures import numbers
from tests.helpers.folders import leave, status

Masks = Mapping[str, np.ndarray]
HALF = (
    np.arange(2 * 64).reshape(2, 64) % 2 == 0
)  # every other weight of two neurons of 8 × 8 pixels
ROW = np.arange(2 * 64).reshape(2, 64) < 64  # the first neuron's


def source_of(masks: Mapping[Path, Masks]) -> tuple[Source, list[str]]:
    """Return runs of these masks, and the list of the folders that are read."""
    read: list[str] = []
    by_folder = {folder.resolve(): own for folder, own in masks.items()}

    def read_masks(folder: Path) -> Masks:
        read.append(folder.name)
        if folder not in by_folder:
            raise InputError("damaged")
        return by_folder[folder]

    there = Store([Path("outputs")])
    return Source(there, with_labels(there.runs), read_masks), read


def trained(**options: Any) -> Path:
    folder = leave(**options)
    (folder / CHECKPOINT_FILE).write_bytes(b"x" * 10)
    return folder


def made(name: str, source: Source) -> list[View]:
    return list(catalogue.FIGURES[name].make(source))


def test_blocks_of_a_mask() -> None:
    """Four rows and six inputs in 2 × 2 blocks; five in blocks of two and three."""
    mask = np.zeros((4, 6), bool)
    mask[0, :3] = mask[3, 5] = True
    assert blocks(mask, 2).tolist() == [[0.5, 0], [0, pytest.approx(1 / 6)]]
    assert blocks(mask, 6).tolist() == mask.astype(float).tolist()
    assert blocks(np.array([[1, 1, 0, 0, 1]], bool), 2).tolist() == [[1, pytest.approx(1 / 3)]]
    kernels = np.zeros((1, 2, 2, 2), bool)
    kernels[0, 1] = True
    assert blocks(kernels, 8).tolist() == [[0] * 4 + [1] * 4]


def test_pixels_of_the_data() -> None:
    assert by_pixel(ROW, (1, 8, 8)).tolist() == [[0.5] * 8] * 8
    assert by_pixel(ROW[:, :6], (1, 2, 3)).tolist() == [[0.5] * 3] * 2
    colours = np.concatenate([ROW, ROW, ~ROW], axis=1)
    assert by_pixel(colours, (3, 8, 8)).tolist() == [[0.5] * 8] * 8


@pytest.mark.parametrize(
    ("shape", "exclude", "mask"),
    [
        ([1, 28, 28], [], HALF),  # a width of the network that is a square
        ([1, 8, 8], ["fc1"], HALF),  # the second layer
        ([64], [], HALF),  # text
        ([1, 8, 8], [], HALF.reshape(2, 1, 8, 8)),  # kernels
    ],
)
def test_layers_that_do_not_see_pixels(shape: list[int], exclude: list[str], mask: Any) -> None:
    folder = trained(reg__alpha=1e-3, reg__exclude=exclude)
    status(folder, data={"shape": shape})
    source, _ = source_of({folder: {"fc": mask}})
    assert made("mask-pixels", source) == []


def test_overlap_between_methods_and_seeds() -> None:
    """RigL keeps half the weights, SET the first row: they share 32 of 96; by chance as many."""
    runs = {
        trained(reg__method=method, reg__density=0.5, seed=seed, created=created): {"fc1": mask}
        for created, (method, seed, mask) in enumerate(
            [("rigl", 0, HALF), ("rigl", 1, HALF), ("set", 0, ROW), ("set", 1, ~ROW)]
        )
    }
    leave(reg__method="rigl", reg__density=0.5, seed=2, created=5)  # without a checkpoint
    trained(reg__method="rigl", reg__density=0.5, seed=3, created=6)  # with a damaged one
    source, read = source_of(runs)
    (view,) = made("overlap", source)
    (trace,) = view.figure["data"]
    assert trace["y"] == ["1 rigl", "2 set"]
    assert trace["x"] == ["1", "2"]
    assert trace["z"] == [[1, None], [pytest.approx(1 / 3), 0]]
    assert trace["text"] == [["100", ""], ["33.3", "0.00"]]
    assert trace["customdata"][0][0] == "1 rigl<br>1 rigl<br>by chance 33.3%"
    assert view.figure["layout"]["annotations"][0]["text"] == "50 % asked for"
    assert view.caption.startswith("4 of 6 runs, whose masks were read. ")
    assert view.caption.endswith(
        "would overlap by 33.3 to 33.3 %, in each cell by what its box says."
    )
    made("overlap", source)
    assert len(read) == 5, "a checkpoint is read once"
    folder = next(iter(runs))
    (folder / CHECKPOINT_FILE).write_bytes(b"another")
    made("overlap", source)
    assert read[5:] == [folder.name]


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that at least one run is read, whatever its size, and one seed of each setting."""
    folders = [trained(reg__alpha=alpha, seed=seed) for alpha in (1e-3, 1e-2) for seed in (0, 1)]
    source, read = source_of({folder: {"fc1": HALF} for folder in folders})
    monkeypatch.setattr(reading, "RUNS", 3)
    (view,) = made("overlap", source)
    assert len(read) == 3
    assert len({name.partition("-s")[0] for name in read[:2]}) == 2
    assert view.caption.startswith("3 of 4 runs")
    monkeypatch.setattr(reading, "BYTES", 5)
    assert len(reading.read_some(source.runs, source.read_masks)) == 1
    assert made("overlap", source.of(source.runs)) == []


def test_runs_of_other_layers_are_not_compared() -> None:
    first, other = trained(reg__alpha=1e-3), trained(reg__alpha=1e-2)
    source, _ = source_of({first: {"fc1": HALF}, other: {"fc1": HALF[:, :32]}})
    assert len(reading.read_some(source.runs, source.read_masks)) == 1


def test_masks_of_one_run_and_of_several() -> None:
    first, other = trained(reg__alpha=1e-3), trained(reg__alpha=1e-2, created=1)
    source, _ = source_of(
        {first: {"fc1": HALF, "fc2": ROW[:1, :2]}, other: {"fc1": ROW, "fc2": ROW[:1, :2]}}
    )
    (view,) = made("mask-pattern", source)
    assert view.title == "Masks of fc1, the largest layer"
    panels = [one["text"] for one in view.figure["layout"]["annotations"]]
    assert panels == ["α 1e-3: 50 %", "α 1e-2: 50 %"]
    (one,) = made("mask-pattern", source.of(source.runs.iloc[1:]))
    fc1, fc2 = one.figure["data"]
    assert numbers(fc1["z"]) == [1] * 64 + [0] * 64
    assert (fc1["z"]["shape"], fc2["z"]["shape"]) == ("2, 64", "1, 2")
    assert [trace["zmax"] for trace in (fc1, fc2)] == [1, 1]
    status(first, data={"shape": [1, 8, 8]})
    (seen,) = made("mask-pixels", source)
    assert seen.title == "Pixels that fc1 looks at"
    assert [numbers(trace["z"]) for trace in seen.figure["data"]] == [[1, 0] * 32, [0.5] * 64]


@pytest.mark.parametrize("read", [None, lambda folder: {}])
def test_nothing_without_masks(read: Callable[[Path], Masks] | None) -> None:
    trained(reg__alpha=1e-3)
    there = Store([Path("outputs")])
    source = Source(there, with_labels(there.runs), read)
    for name in ("overlap", "mask-pattern", "mask-pixels"):
        assert made(name, source) == []
