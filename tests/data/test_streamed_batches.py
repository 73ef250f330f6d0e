"""Batches of images that are read when they are needed: the same in any number of processes."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dstrun.data import BUILDERS, Batches, FileSplit, ImageReader, Split, StreamedBatches
from dstrun.data.image_reader import missing_memory
from dstrun.system import cores
from dstrun.system.errors import InputError

SIDE = 8
CPU = torch.device("cpu")
SAID: list[str] = []


def tree(root: Path, each: int = 9, classes: int = 2) -> Path:
    """Write random images of mixed sizes and modes, for training and a third for testing."""
    draws = np.random.default_rng(0)
    for part, count in (("train", each), ("val", each // 3)):
        for name in range(classes):
            folder = root / part / f"c{name}"
            folder.mkdir(parents=True)
            for number in range(count):
                size = draws.integers(10, 40, 2)
                image = Image.fromarray(draws.integers(0, 256, (*size, 3), np.uint8))
                mode, ending = [("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("P", "png")][
                    number % 4
                ]
                image.convert(mode).save(folder / f"{number}.{ending}")
    return root


def train_split(root: Path, **options: Any) -> FileSplit:
    return BUILDERS["folder"](root, size=SIDE, stream=True, **options).train


def batches(split: FileSplit, size: int = 4, workers: int = 0, **options: Any) -> StreamedBatches:
    reader = ImageReader(SIDE, workers, say=SAID.append)
    return StreamedBatches(split, size, CPU, reader=reader, flip=True, **options)


def joined(found: Any) -> tuple[Tensor, Tensor]:
    images, labels = zip(*found, strict=True)
    return torch.cat(images), torch.cat(labels)


def same(one: Any, other: Any) -> bool:
    return all(map(torch.equal, joined(one), joined(other)))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_parts_of_ranks_are_together_the_batches_of_one(tmp_path: Path, workers: int) -> None:
    split = train_split(tree(tmp_path))
    alone = batches(split)
    ranks = [batches(split, part=(rank, 2), workers=workers) for rank in (0, 1)]
    for epoch in (0, 1):
        parts = zip(*(one.shuffled(epoch) for one in ranks), strict=True)
        for batch, both in zip(alone.shuffled(epoch), parts, strict=True):
            assert same([batch], both if len(batch[1]) > 3 else both[:1])
    tested = sorted(
        (float(image.sum()), int(label))
        for one in ranks
        for images, labels in one.in_order()
        for image, label in zip(images, labels, strict=True)
    )
    images, labels = joined(alone.in_order())
    whole = zip(images, labels, strict=True)
    assert tested == sorted((float(image.sum()), int(label)) for image, label in whole)
    assert len(tested) == 18


def test_the_order_is_that_of_images_in_memory_and_draws_nothing_of_torchs(tmp_path: Path) -> None:
    """With every image a class of its own."""
    split = replace(train_split(tree(tmp_path)), labels=torch.arange(18))
    images = torch.zeros(18, 1, 2, 2, dtype=torch.uint8)
    kept = Batches(Split(images, split.labels), 4, CPU, seed=5)
    state = torch.get_rng_state()
    for epoch in (0, 1):
        found = joined(batches(split, seed=5).shuffled(epoch))[1]
        assert torch.equal(found, joined(kept.shuffled(epoch))[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_half_of_the_images_are_mirrored_and_all_normalised(tmp_path: Path) -> None:
    split = train_split(tree(tmp_path))
    plain = StreamedBatches(split, 18, CPU, reader=ImageReader(SIDE, 0))
    ((images, _),) = plain.shuffled(0)
    ((flipped, _),) = batches(split, 18, mean=[0.5], std=[0.25]).shuffled(0)
    flipped = flipped * 0.25 + 0.5
    mirrored = [
        torch.allclose(b, a.flip(2), atol=1e-6) for a, b in zip(images, flipped, strict=True)
    ]
    same = [torch.allclose(b, a, atol=1e-6) for a, b in zip(images, flipped, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 4 < sum(mirrored) < 14
    assert images.is_contiguous()


def test_an_epoch_goes_on_at_any_batch(tmp_path: Path) -> None:
    split = train_split(tree(tmp_path))
    found = list(batches(split, seed=3).shuffled(1))
    assert same(found[2:], batches(split, seed=3).shuffled(1, start=2))
    assert not same(found, batches(split, seed=3).shuffled(0))
    assert not same(found, batches(split, seed=4).shuffled(1))


@pytest.mark.parametrize("workers", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_another_epoch_may_be_read_in_between(tmp_path: Path, workers: int) -> None:
    split = train_split(tree(tmp_path))
    expected, other = list(batches(split).shuffled(0)), list(batches(split).shuffled(1))
    ours = batches(split, workers=workers)
    under_way = ours.shuffled(0)
    found = [next(under_way), next(under_way)]
    assert same([next(ours.shuffled(1))], other[:1])
    found += under_way
    assert same(found, expected)
    assert same(ours.shuffled(1), other)


def test_a_damaged_image_is_named_and_only_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    broken = tree(tmp_path) / "train" / "c1" / "4.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError) as refused:
        list(batches(train_split(tmp_path)).shuffled(0))
    assert str(refused.value).startswith(f"data.root: cannot decode {broken}: ")
    assert str(refused.value).endswith("; data.args.undecodable=0.056 leaves it out")
    ours = batches(train_split(tmp_path, undecodable=0.056))
    SAID.clear()
    for epoch in (0, 1):
        images, labels = joined(ours.shuffled(epoch))
        assert len(images) == 17
        assert labels.bincount().tolist() == [9, 8]
    assert len(joined(ours.in_order())[0]) == 17
    assert len(SAID) == 1
    assert SAID[0].startswith(f"data.root: cannot decode {broken}: ")
    assert SAID[0].endswith(": left out")


def test_a_batch_without_any_whole_image_is_only_skipped_in_evaluation(tmp_path: Path) -> None:
    for file in (tree(tmp_path) / "train" / "c0").iterdir():
        file.write_bytes(b"")
    split = train_split(tmp_path, undecodable=0.5)
    assert [len(labels) for _, labels in batches(split, 3).in_order()] == [3, 3, 3]
    with pytest.raises(InputError, match="cannot decode any of 2 images of a step"):
        list(chain.from_iterable(batches(split, 2).shuffled(epoch) for epoch in range(20)))


def test_processes_that_cannot_be_started_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(process: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", refuse)
    with pytest.raises(InputError) as refused:
        next(batches(train_split(tree(tmp_path)), workers=3).shuffled(0))
    assert str(refused.value) == (
        "data.workers: cannot start 3 processes (BlockingIOError: [Errno 11] Resource temporarily "
        "unavailable); data.workers=0 needs none"
    )


def test_shared_memory_that_is_too_small_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two pieces of 32 images each for three processes, and the one that is being copied."""
    needed = 7 * 32 * 3 * 224 * 224
    for free, words in ((needed, ""), (needed - 1, f"32 MiB of {tmp_path}, where 32 MiB are free")):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda folder, usage=usage: usage)
        assert missing_memory(3, 224, tmp_path).startswith(words)
        assert bool(missing_memory(3, 224, tmp_path)) == bool(words)
    assert missing_memory(3, 224, tmp_path / "none") == ""


def test_processes_share_the_cores_with_other_jobs_and_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 16)
    assert cores.own_cores() == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cores.own_cores() == 4
    monkeypatch.setenv(cores.SHARED_BY, "8")
    assert cores.own_cores() == 2
    monkeypatch.setenv(cores.SHARED_BY, "99")
    assert cores.own_cores() == 1
