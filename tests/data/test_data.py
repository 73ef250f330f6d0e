"""Splits and batches: what is read, its order, and how it is cropped, flipped and normalised."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from dstrun.data import BUILDERS, Batches, DataError, Split, Splits, torchvision_sets
from dstrun.data.checks import check, note_missing_classes
from dstrun.data.digits import digits
from dstrun.data.splits import limited_indices, stratified_split
from dstrun.training.console import RunConsole
from tests.helpers.commands import Command
from tests.helpers.data import image_files, made_up, needs_cifar10, needs_mnist

CPU = torch.device("cpu")


def numbered(count: int, side: int = 4) -> Split:
    """Return images whose pixels differ within an image and whose label is their number."""
    pixels = torch.arange(side * side, dtype=torch.uint8).view(1, 1, side, side)
    return Split(
        (pixels + torch.arange(count).view(-1, 1, 1, 1)).to(torch.uint8), torch.arange(count)
    )


@pytest.mark.parametrize(
    ("size", "together"), [(1, 1), (4 * 8 * 64, 1), (4 * 8 * 64 * 3, 3), (4 * 8 * 64 * 4 - 1, 3)]
)
def test_batches_are_assembled_together_as_far_as_the_bytes_go(
    monkeypatch: pytest.MonkeyPatch, size: int, together: int
) -> None:
    """Assemble batches of eight images of 64 pixels of four bytes: those made together share
    memory.
    """
    monkeypatch.setattr("dstrun.data.batches.ASSEMBLED_BYTES", size)
    split = Split(torch.zeros(48, 1, 8, 8, dtype=torch.uint8), torch.zeros(48, dtype=torch.int64))
    kept = [images for images, _ in Batches(split, 8, CPU).shuffled(0)]
    assert (
        len({images.untyped_storage().data_ptr() for images in kept})
        == len(kept) // together
        == 6 // together
    )


def labels_of(batches: Batches, epoch: int, start: int = 0) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches.shuffled(epoch, start)]


def test_an_epoch_is_every_image_once_in_an_order_of_seed_and_epoch() -> None:
    batches = Batches(numbered(10), 4, CPU, seed=1)
    first = labels_of(batches, 0)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(label for batch in first for label in batch) == list(range(10))
    assert first == labels_of(Batches(numbered(10), 4, CPU, seed=1), 0)
    assert first != labels_of(batches, 1)
    assert first != labels_of(Batches(numbered(10), 4, CPU, seed=2), 0)


def test_neighbouring_seeds_and_epochs_do_not_share_orders() -> None:
    orders = {
        str(labels_of(Batches(numbered(10), 4, CPU, seed=s), e))
        for s in range(10)
        for e in range(10)
    }
    assert len(orders) == 100


def test_an_epoch_goes_on_at_any_batch_exactly() -> None:
    batches = Batches(made_up((3, 8, 8)).train, 8, CPU, pad=2, flip=True, seed=5)
    whole = list(batches.shuffled(3))
    for start in range(len(batches) + 1):
        rest = list(batches.shuffled(3, start))
        assert len(rest) == len(batches) - start
        for (x, y), (a, b) in zip(rest, whole[start:], strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)


def test_batches_made_together_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"pad": 1, "flip": True, "mean": (0.5,), "std": (0.25,), "seed": 2}
    batches = Batches(made_up((3, 8, 8), train=43).train, 4, CPU, **options)
    together = list(batches.shuffled(1))
    monkeypatch.setattr("dstrun.data.batches.ASSEMBLED_BYTES", 1)
    for (x, y), (a, b) in zip(together, batches.shuffled(1), strict=True):
        assert torch.equal(x, a)
        assert torch.equal(y, b)


@pytest.mark.parametrize(("images", "batches"), [(8, 2), (9, 2), (10, 3), (1, 1)])
def test_a_last_batch_of_one_image_is_left_out(images: int, batches: int) -> None:
    made = Batches(numbered(images), 4, CPU)
    assert len(made) == batches == len(labels_of(made, 0))


def test_images_are_normalised_as_torchvision_does_it() -> None:
    split = made_up((3, 8, 8)).test
    mean, std = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
    ours = torch.cat([x for x, _ in Batches(split, 7, CPU, mean=mean, std=std).in_order()])
    theirs = [
        transforms.normalize(transforms.to_tensor(image.permute(1, 2, 0).numpy()), mean, std)
        for image in split.images
    ]
    assert torch.equal(ours, torch.stack(theirs))


@pytest.mark.parametrize(
    ("mean", "std"), [((0.0,), (0.5,)), ((0.25,), (1.0,)), ((0.0, 0.25), (1.0, 0.5))]
)
def test_mean_alone_and_standard_deviation_alone_are_used(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    split = Split(
        torch.full((1, 2, 1, 1), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.long)
    )
    ((images, _),) = Batches(split, 1, CPU, mean=mean, std=std).in_order()
    assert images.flatten().tolist() == [(1 - mean[0]) / std[0], (1 - mean[-1]) / std[-1]]


def test_without_normalisation_pixels_are_in_zero_to_one() -> None:
    ((images, _),) = Batches(numbered(1, 16), 1, CPU).in_order()
    assert images.min() == 0
    assert images.max() == 1


def test_crops_and_flips_are_windows_of_the_padded_image() -> None:
    split = made_up((2, 5, 6), train=60).train
    seen: set[tuple[int, int, bool]] = set()
    for epoch in range(3):
        for images, labels in Batches(split, 60, CPU, pad=1, flip=True, seed=4).shuffled(epoch):
            assert len(labels) == 60
            for image in (images * 255).round().to(torch.uint8):
                seen.add(_window(image, split.images))
    assert len(seen) == 3 * 3 * 2  # every offset, mirrored and not


def _window(image: torch.Tensor, images: torch.Tensor) -> tuple[int, int, bool]:
    """Return which crop of which padded image this is; fail if it is none."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    for top in range(3):
        for left in range(3):
            windows = padded[:, :, top : top + 5, left : left + 6]
            for mirrored in (False, True):
                if (windows.flip(3) if mirrored else windows).eq(image).all((1, 2, 3)).any():
                    return top, left, mirrored
    raise AssertionError("not a crop of any image")


@pytest.mark.parametrize(
    "options", [{}, {"pad": 2}, {"flip": True}, {"pad": 1, "flip": True, "mean": (0.5,)}], ids=str
)
def test_batches_of_images_on_the_host_are_those_of_images_on_the_device(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Emulate a GPU: every image of a batch is pinned once, and its copy is not waited for."""
    split = made_up((3, 8, 6), train=43).train
    here = Batches(split, 4, CPU, seed=2, **options)
    pinned: list[int] = []
    copies: list[bool] = []
    to = torch.Tensor.to

    def pin(images: torch.Tensor) -> torch.Tensor:
        pinned.append(len(images))
        return images.clone()

    def copy(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if tensor.dtype == torch.uint8 and tensor.dim() == 4:
            copies.append(kwargs.get("non_blocking", False))
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", copy)
    there = Batches(split, 4, CPU, on_host=True, seed=2, **options)
    assert not copies, "the whole is not copied"
    for ours, expected, images in (
        (there.shuffled(1, 3), here.shuffled(1, 3), 43 - 3 * 4),
        (there.in_order(), here.in_order(), 43),
    ):
        pinned.clear()
        copies.clear()
        for (x, y), (a, b) in zip(list(ours), list(expected), strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)
        assert sum(pinned) == images
        assert all(copies), "every copy is asynchronous"


def test_half_of_the_images_are_flipped() -> None:
    split = numbered(1000)
    batches = Batches(split, 1000, CPU, flip=True)
    ((images, labels),) = batches.shuffled(0)
    plain = split.images[labels].float() / 255
    share = (images != plain).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)


def test_order_and_mirrored_images_are_those_of_every_version() -> None:
    """Of 12 images of two pixels, the left one brighter: figures of runs depend on both."""
    left = 2 * torch.arange(12, dtype=torch.uint8) + 1
    images = torch.stack([left, left - 1], dim=1).view(12, 1, 1, 2)
    batches = Batches(Split(images, torch.arange(12)), 12, CPU, flip=True, seed=3)
    ((seen, labels),) = batches.shuffled(1)
    assert labels.tolist() == [9, 5, 0, 10, 3, 8, 11, 6, 1, 7, 4, 2]
    mirrored = seen[:, 0, 0, 0] < seen[:, 0, 0, 1]
    assert mirrored.int().tolist() == [0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]


def test_a_limit_chooses_the_same_images_every_time() -> None:
    assert limited_indices(5, 0).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(limited_indices(1000, 10), limited_indices(1000, 10))
    assert limited_indices(1000, 10).tolist() == sorted(set(limited_indices(1000, 10).tolist()))
    assert limited_indices(10, 4).tolist() == [1, 4, 5, 7], (
        "as in every version: a run's figures depend on it"
    )
    assert stratified_split(torch.tensor([0] * 5 + [1] * 5), 0.4)[1].tolist() == [0, 4, 8, 9]


def test_a_stratified_split_takes_the_same_share_of_every_class() -> None:
    """Hold out 2 of 8 (1.6). The images of a class are drawn at random with a fixed seed."""
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 8)
    rest, held_out = stratified_split(labels, 0.2)
    assert labels[held_out].bincount().tolist() == [2, 4, 2]
    assert sorted([*rest.tolist(), *held_out.tolist()]) == list(range(38))
    _, many = stratified_split(torch.zeros(1000), 0.2)
    assert torch.equal(many, stratified_split(torch.zeros(1000), 0.2)[1])
    assert [(many // 250 == quarter).sum().item() for quarter in range(4)] == pytest.approx(
        [50] * 4, abs=20
    )


def test_digits_are_split_four_to_one_and_fill_28_by_28() -> None:
    splits = check(BUILDERS["digits"](Path()))
    assert splits.shape == (1, 28, 28)
    assert len(splits.train) + len(splits.test) == 1797
    assert len(splits.test) == pytest.approx(1797 / 5, abs=5)
    assert splits.train.labels.bincount().min() > 130
    assert not splits.train.images[:, :, :2].any()
    assert splits.train.images.max() > 240
    rows = splits.train.images[
        :20, 0, 3:26:3, 2:26
    ].float()  # through the middle of each of the 8×8 pixels
    middle, right = rows[:, :, 1::3], rows[:, :, 2::3]
    between = (
        2 * middle[:, :, :-1] + middle[:, :, 1:]
    ) / 3  # two thirds of a pixel, one of its neighbour
    torch.testing.assert_close(right[:, :, :-1], between, rtol=0, atol=1)


def test_digits_without_scikit_learn_are_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dstrun.data.digits"], "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"^the digits are part of scikit-learn, which is not installed$"
    ):
        digits(Path())


PIXELS, LABELS = torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2] * 2)
SPLIT = Split(PIXELS, LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            PIXELS / 255,
            LABELS,
            "train images are torch.float32 (6, 1, 8, 8), expected uint8 (N, C, H, W): "
            "(images * 255).round().to(torch.uint8)",
        ),
        (PIXELS.float() + 9, LABELS, "expected uint8 (N, C, H, W): images.to(torch.uint8)"),
        (
            PIXELS.int() - 9,
            LABELS,
            "they go from -9 to -9; give pixels in 0 to 255, data.mean and data.std normalise",
        ),
        (PIXELS.int() + 256, LABELS, "they go from 256 to 256; give pixels in 0 to 255"),
        (PIXELS / 0, LABELS, "give pixels in 0 to 255"),
        (
            PIXELS[:0].float(),
            LABELS[:0],
            "(0, 1, 8, 8), expected uint8 (N, C, H, W): (images * 255).round()",
        ),
        (
            PIXELS[:0].int(),
            LABELS[:0],
            "(0, 1, 8, 8), expected uint8 (N, C, H, W): images.to(torch.uint8)",
        ),
        (PIXELS + 0j, LABELS, "expected uint8 (N, C, H, W): images.to(torch.uint8)"),
        (
            PIXELS[:, 0],
            LABELS,
            "train images are torch.uint8 (6, 8, 8), expected uint8 (N, C, H, W): images.unsque",
        ),
        (
            PIXELS.flatten(1),
            LABELS,
            "train images are torch.uint8 (6, 64), expected uint8 (N, C, H, W)",
        ),
        (
            PIXELS.permute(0, 2, 3, 1),
            LABELS,
            "(6, 8, 8, 1), which looks like (N, H, W, C), expected uint8 (N, C, H",
        ),
        (torch.zeros(6, 8, 9, 3).byte(), LABELS, "which looks like (N, H, W, C)"),
        (torch.zeros(6, 5, 9, 3).byte(), LABELS, "which looks like (N, H, W, C)"),
        (
            PIXELS.numpy(),
            LABELS,
            "train images are a NumPy array, expected a torch tensor, uint8 (N, C, H, W): to",
        ),
        (
            list(PIXELS),
            LABELS,
            "train images are a list, expected a torch tensor, uint8 (N, C, H, W): torch.stack(…)",
        ),
        (None, LABELS, "train images are nothing (None), expected a torch tensor"),
        (PIXELS[:0], LABELS[:0], "the train split has no images"),
        (PIXELS[:, :0], LABELS, "they have no pixels"),
        (PIXELS, LABELS[:5], "train labels are torch.int64 (5,), expected int64 (6,)"),
        (
            PIXELS,
            LABELS.int(),
            "train labels are torch.int32 (6,), expected int64 (6,): labels.long()",
        ),
        (
            PIXELS,
            LABELS.float(),
            "train labels are torch.float32 (6,), expected int64 (6,): labels.long()",
        ),
        (
            PIXELS,
            torch.eye(3)[LABELS],
            "(6, 3), which looks one-hot, expected int64 (6,): labels.argmax(1)",
        ),
        (
            PIXELS,
            LABELS[:, None],
            "train labels are torch.int64 (6, 1), expected int64 (6,): labels.flatten().long()",
        ),
        (
            PIXELS,
            LABELS.tolist(),
            "train labels are a list, expected a torch tensor, int64 (6,): torch.tensor(…)",
        ),
        (
            PIXELS,
            LABELS.numpy(),
            "train labels are a NumPy array, expected a torch tensor, int64 (6,): torch.from",
        ),
        (PIXELS, LABELS * 9, "train labels go from 0 to 18, expected 0 to 2"),
        (PIXELS, LABELS + 1, "train labels go from 1 to 3, expected 0 to 2: labels - 1"),
        (PIXELS[..., :4], LABELS, "train images are (1, 8, 4), test images (1, 8, 8)"),
    ],
)
def test_splits_that_no_run_could_use_say_what_would_make_them_good(
    images: Any, labels: Any, message: str
) -> None:
    with pytest.raises(DataError) as refused:
        check(Splits(Split(images, labels), SPLIT, classes=3))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            None,
            "got nothing (None), expected dstrun.Splits(train, test, classes) of two dstrun.Split",
        ),
        ((SPLIT, SPLIT), "got a tuple, expected dstrun.Splits"),
        (
            Splits((PIXELS, LABELS), SPLIT, 3),  # type: ignore[arg-type]
            "train is a tuple, expected dstrun.Split(images, labels)",
        ),
        (Splits(SPLIT, None, 3), "test is nothing (None), expected dstrun.Split(images, labels)"),  # type: ignore[arg-type]
        (Splits(SPLIT, SPLIT, 3.0), "classes is 3.0, a float, expected a whole number (int)"),  # type: ignore[arg-type]
        (Splits(SPLIT, SPLIT, np.int64(3)), "expected a whole number (int)"),  # type: ignore[arg-type]
        (Splits(SPLIT, SPLIT, 3, notes="grey"), "notes is 'grey', expected a tuple of texts"),  # type: ignore[arg-type]
        (Splits(SPLIT, SPLIT, 3, notes=(1,)), "notes is (1,), expected a tuple of texts"),  # type: ignore[arg-type]
        (
            Splits(SPLIT, SPLIT, 3, class_names=("a",)),
            "there are 1 class_names, expected 3, one per class",
        ),
        (
            Splits(Split(PIXELS, LABELS * 0), Split(PIXELS, LABELS * 0), 1),
            "there is 1 class, expected at least 2",
        ),
    ],
)
def test_what_is_no_data_set_is_told_what_one_is(given: Any, message: str) -> None:
    with pytest.raises(DataError) as refused:
        check(given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 28, 28),
        (3, 32, 32),
        (9, 128, 1),
        (16, 4, 4),
        (1, 1, 3),
        (64, 3, 3),
        (3, 200, 3),
        (4, 9, 3),
    ],
)
def test_images_of_any_shape_are_taken(shape: tuple[int, int, int]) -> None:
    split = Split(torch.zeros(6, *shape, dtype=torch.uint8), LABELS)
    assert check(Splits(split, split, 3)).shape == shape


@pytest.mark.slow
def test_other_images_of_the_same_name_are_not_the_same_run(command: Command) -> None:
    """Compare classes, counts, names and sizes of files with the record of a finished run; a copy
    is the same.
    """
    for place, classes in (("birds", "ab"), ("cars", "cd"), ("copy", "ab"), ("more", "ab")):
        image_files(
            Path(place, "images"),
            dict.fromkeys(classes, 11 if place == "more" else 10),
            size=(28, 28),
        )
    Path("copy/images/a/.ipynb_checkpoints").mkdir()
    words = ["model=lenet5", "data=folder", "data.size=28", "schedule.epochs=1"]
    assert command(*words, "data.root=birds/images").code == 0
    (folder,) = Path("outputs/single").iterdir()
    data = json.loads((folder / "status.json").read_text())["data"]
    assert len(data.pop("tree")) == 16
    assert data == {
        "classes": 2,
        "class_names": ["a", "b"],
        "shape": [3, 28, 28],
        "train": 16,
        "validation": 0,
        "test": 4,
        "tree_images": {"all": 20},
    }
    told = (
        f"dstrun: data.root: the run in {folder} used {{}}; "
        "overwrite=true starts over, group=NAME keeps both\n"
    )
    others = "other classes ('a', and there is 'c' now)", "20 images, and there are 22 now"
    for words_too in (["data.root=cars/images"], ["data.root=cars/images", "dry_run=true"]):
        assert command(*words, *words_too).err == told.format(others[0])
    outcome = command("-m", *words, "data.root=more/images", "group=single")
    assert (outcome.code, outcome.err) == (2, told.format(others[1]))
    assert "finished already" in command(*words, "data.root=copy/images").out
    outcome = command("-m", *words, "data.root=birds/images,cars/images")
    assert (outcome.code, "have the same run name" in outcome.err) == (2, True)
    _forget_what_it_was_trained_on(folder)
    assert command(*words, "data.root=more/images").err == told.format(others[1]), (
        "an older run: looked at again"
    )
    shutil.rmtree("birds")
    assert "finished already" in command(*words, "data.root=more/images").out
    assert command(*words, "data.root=cars/images", "overwrite=true").code == 0


def _forget_what_it_was_trained_on(folder: Path) -> None:
    status = json.loads((folder / "status.json").read_text())
    del status["data"]
    (folder / "status.json").write_text(json.dumps(status))


@pytest.mark.parametrize("from_status", [True, False])
@pytest.mark.slow
def test_data_that_changed_before_a_run_is_resumed(
    command: Command, monkeypatch: pytest.MonkeyPatch, from_status: bool
) -> None:
    """Use the checkpoint where status.json does not record the data."""
    first, more = made_up(), made_up(train=60)
    monkeypatch.setitem(BUILDERS, "mnist", lambda root: first)
    with monkeypatch.context() as patch:
        epoch = RunConsole.show_epoch
        patch.setattr(
            RunConsole,
            "show_epoch",
            lambda *words: (
                epoch(*words),
                next(Path("outputs/single").iterdir()).joinpath("stop").touch(),
            ),
        )
        words = ["data=mnist", "model=lenet5", "schedule.epochs=3"]
        assert command(*words).code == 128 + signal.SIGTERM
    (folder,) = Path("outputs/single").iterdir()
    if not from_status:
        _forget_what_it_was_trained_on(folder)
    before = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    monkeypatch.setitem(BUILDERS, "mnist", lambda root: more)
    outcome = command(*words)
    assert (outcome.code, outcome.err) == (
        2,
        f"dstrun: data=mnist: the run in {folder} used 40 training images, and there are 60 now; "
        "overwrite=true starts over, group=NAME keeps both\n",
    )
    assert {file: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before
    monkeypatch.setitem(BUILDERS, "mnist", lambda root: first)
    assert command(*words).code == 0
    for other, told in (
        (made_up(classes=9), "10 classes, and there are 9 now"),
        (made_up((3, 28, 28)), "1×28×28 pixels an image, and there are 3×28×28 now"),
    ):
        monkeypatch.setitem(BUILDERS, "mnist", lambda root, other=other: other)
        for words in (["eval", str(folder)], ["export", str(folder), "--to", "network.pt2"]):
            outcome = command(*words)
            assert (outcome.code, outcome.out) == (2, "")
            assert outcome.err == (
                f"dstrun: the run in {folder} used {told}: "
                "expected data with the same classes and shape\n"
            )


def test_a_folder_with_train_and_test_is_read_as_it_lies(tmp_path: Path) -> None:
    image_files(tmp_path / "train", {"cat": 3, "dog": 2})
    image_files(tmp_path / "val", {"dog": 1})
    splits = check(BUILDERS["folder"](tmp_path, size=8))
    assert splits.shape == (3, 8, 8)
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert splits.test.labels.tolist() == [1]
    assert splits.train.images[2].unique().tolist() == [20]


def test_a_folder_of_classes_is_split_by_class(tmp_path: Path) -> None:
    image_files(tmp_path, {"a": 10, "b": 5})
    splits = BUILDERS["folder"](tmp_path, size=8, train_limit=6)
    assert len(splits.train) == 6
    assert splits.test.labels.tolist() == [0, 0, 1]
    whole = BUILDERS["folder"](tmp_path, size=8)
    assert torch.equal(splits.train.images, whole.train.images[limited_indices(12, 6)]), (
        "not the first of sorted classes"
    )
    assert torch.equal(
        BUILDERS["folder"](tmp_path, size=8, test_limit=2).test.labels,
        whole.test.labels[limited_indices(3, 2)],
    )


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "there is no folder"),
        (
            "damaged",
            r"1 of 8 training images cannot be decoded \(.*/a/3.png: cannot .*\); "
            r"data.args.undecodable=0.125 ",
        ),
        (
            "link to nothing",
            r"1 of 8 training images cannot be decoded \(.*/a/3.png: .*No such file or directory",
        ),
        ("all damaged", "8 of 8 training images cannot be decoded .*; none of them can"),
        ("too many", "this machine has .*: lower data.size"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path, what: str, message: str) -> None:
    root = tmp_path / "tree"
    if what != "nothing":
        image_files(root, {"a": 5, "b": 5})
    for file in root.rglob("*.png"):
        if what == "all damaged" or (what == "damaged" and file.match("a/3.png")):
            file.write_bytes(b"not an image")
    if what == "link to nothing":
        (root / "a/3.png").unlink()
        (root / "a/3.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=message):
        BUILDERS["folder"](root, size=200_000 if what == "too many" else 8)


def test_images_may_take_four_fifths_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_files(tmp_path / "train", {"a": 4})
    image_files(tmp_path / "test", {"a": 1})
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 30, "SC_PHYS_PAGES": 32}[name])
    assert len(BUILDERS["folder"](tmp_path, size=8).train) == 4  # of 3 · 8 · 8 bytes: 768 of 960
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 30, "SC_PHYS_PAGES": 31}[name])
    with pytest.raises(DataError, match="4 images of 8×8 take 0 GiB, this machine has 0: lower"):
        BUILDERS["folder"](tmp_path, size=8)


def test_a_stated_share_of_a_folder_may_be_undecodable(tmp_path: Path) -> None:
    """Damage three of twenty images: a share of 0.15 allows that, 0.14 does not."""
    image_files(tmp_path / "train", {"a": 10, "b": 10}, size=(40, 40))
    image_files(tmp_path / "test", {"a": 2, "b": 2})
    broken = [tmp_path / "train" / name for name in ("a/3.png", "a/7.png", "b/0.png")]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(
        broken[1]
    )
    for file, left in zip(broken, (b"no image", broken[1].read_bytes()[:1000], b""), strict=True):
        file.write_bytes(left)
    splits = BUILDERS["folder"](tmp_path, size=8, undecodable=0.15)
    assert splits.train.labels.tolist() == [0] * 8 + [1] * 9
    assert splits.train.images[3].unique().tolist() == [40], (
        "the third is gone, the fourth in its place"
    )
    (note,) = splits.notes
    assert note.startswith(
        f"3 of 20 training images cannot be decoded ({broken[0]}: cannot identify image file"
    )
    assert note.endswith(", and 2 more): left out")
    with pytest.raises(
        DataError,
        match=r"more than data.args.undecodable=0.14 allows; data.args.undecodable=0.15 leaves",
    ):
        BUILDERS["folder"](tmp_path, size=8, undecodable=0.14)
    with pytest.raises(ValueError, match="undecodable is 7, expected a share"):
        BUILDERS["folder"](tmp_path, size=8, undecodable=7)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, np.float32), (0.5, np.float32), (40_000, np.uint16)]
)
def test_pixels_that_are_no_bytes_are_refused(tmp_path: Path, value: float, kind: type) -> None:
    image_files(tmp_path / "train", {"a": 1, "b": 1})
    image_files(tmp_path / "test", {"a": 1, "b": 1})
    Image.fromarray(np.full((8, 8), value, kind)).save(tmp_path / "train" / "a" / "1.tiff")
    with pytest.raises(
        DataError, match=r"1 of 3 training images .*a/1.tiff: has floating-point or 16-bit pixels"
    ):
        BUILDERS["folder"](tmp_path, size=8)


def test_a_class_of_which_there_is_nothing_to_train_on_is_noted() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    splits = Splits(
        Split(images, torch.tensor([0, 2])), Split(images, torch.tensor([0, 1])), classes=4
    )
    assert note_missing_classes(splits).notes == ("no training image of 2 of 4 classes (1, 3)",)


def _saved(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_images_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    """Rotate by intact EXIF data, drop alpha, convert palettes, CMYK and bilevel images to RGB,
    read the first frame.
    """
    half = np.zeros((40, 40, 3), np.uint8)
    half[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(half)
    turned = _saved(image, tmp_path / "a/turned.jpg", exif=exif, quality=95)
    _saved(
        image, tmp_path / "a/damaged.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", quality=95
    )
    _saved(image.convert("P"), tmp_path / "a/palette.png", transparency=b"\0\x80" * 8)
    _saved(image.convert("RGBA"), tmp_path / "a/alpha.png")
    _saved(image.convert("CMYK"), tmp_path / "a/cmyk.jfif", format="JPEG", quality=95)
    _saved(image.convert("1"), tmp_path / "a/bilevel.pbm")
    _saved(
        image, tmp_path / "a/frames.gif", save_all=True, append_images=[Image.new("RGB", (40, 40))]
    )
    image_files(tmp_path, {"b": 5})
    splits = BUILDERS["folder"](tmp_path, size=8)
    images = torch.cat([part.images[part.labels == 0] for part in (splits.train, splits.test)])
    assert len(images) == 7
    corners = images[:, :, 0, 0].float().mean(1).round().tolist()
    assert sorted(corners) == [pytest.approx(0, abs=3), *[pytest.approx(255, abs=3)] * 6], turned


@pytest.mark.parametrize("wide", [True, False])
def test_the_longer_side_is_cut_at_the_centre_and_nothing_is_squeezed(
    tmp_path: Path, wide: bool
) -> None:
    """Crop and halve the white square of 16 pixels, black in its middle, of a red 64×16 image."""
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, :, 0] = 255
    pixels[:, 24:40] = 255
    pixels[4:12, 28:36] = 0
    _saved(Image.fromarray(pixels if wide else pixels.swapaxes(0, 1)), tmp_path / "train/a/0.png")
    image_files(tmp_path / "train", {"b": 1})
    image_files(tmp_path / "test", {"a": 1})
    image = BUILDERS["folder"](tmp_path, size=8).train.images[0]
    white = torch.ones(8, 8, dtype=torch.bool)
    white[2:6, 2:6] = False
    assert all(torch.equal(channel > 127, white) for channel in image), "no red"


@needs_mnist
def test_one_bit_of_mnist_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(Path(os.environ["DSTRUN_DATA"], "MNIST"), tmp_path / "MNIST")
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"MNIST is damaged: .*train-images-idx3-ubyte is not the file that was publi",
    ):
        BUILDERS["mnist"](tmp_path)


@needs_cifar10
def test_one_bit_of_cifar10_is_noticed(tmp_path: Path) -> None:
    """Change one bit: torchvision compares the digest before it unpickles the file."""
    shutil.copytree(
        Path(os.environ["DSTRUN_DATA"], "cifar-10-batches-py"), tmp_path / "cifar-10-batches-py"
    )
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="CIFAR10 is damaged"):
        BUILDERS["cifar10"](tmp_path)


IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx_files() -> dict[str, bytes]:
    """Return FashionMNIST's four files in the IDX format, 20 training and 10 test images."""
    files = {}
    for name in IDX:
        count = 10 if name.startswith("t10k") else 20
        shape = (count, 28, 28) if "idx3" in name else (count,)
        values = (np.arange(np.prod(shape)) % 10).astype(np.uint8)
        files[name] = (
            bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + values.tobytes()
        )
    return files


@pytest.mark.parametrize(
    "how", ["gz", "plain", "dots", "gz without its ending", "above raw", "half unpacked", "inside"]
)
def test_mnists_files_are_read_as_they_are_found(tmp_path: Path, how: str) -> None:
    raw = tmp_path / "FashionMNIST" / ("raw" if how != "above raw" else "")
    raw.mkdir(parents=True)
    for name, content in _idx_files().items():
        packed = gzip.compress(content, mtime=0)
        match how:
            case "plain" | "inside":
                (raw / name).write_bytes(content)
            case "dots":
                (raw / name.replace("-idx", ".idx")).write_bytes(content)
            case "gz without its ending":
                (raw / name).write_bytes(packed)
            case _:
                (raw / f"{name}.gz").write_bytes(packed)
    if how == "half unpacked":
        (raw / IDX[0]).write_bytes(_idx_files()[IDX[0]][:1000])
    splits = check(BUILDERS["fashion_mnist"](raw if how == "inside" else tmp_path))
    assert (splits.shape, len(splits.train), len(splits.test), splits.classes) == (
        (1, 28, 28),
        20,
        10,
        10,
    )
    assert splits.train.labels.tolist() == [*range(10), *range(10)]
    assert splits.test.labels.tolist() == [*range(10)]
    assert splits.test.images.flatten()[:11].tolist() == [*range(10), 0]


SHORT_GZ = gzip.compress(bytes(100), mtime=0)


@pytest.mark.parametrize(
    ("kind", "content", "line"),
    [
        (
            "MNIST",
            None,
            "MNIST is not there: expected its files in {raw}, as they are or as .gz; "
            "data.download=true",
        ),
        (
            "FashionMNIST",
            b"",
            "FashionMNIST is damaged: {raw}/train-images-idx3-ubyte is cut or not of this kind",
        ),
        ("MNIST", SHORT_GZ, "MNIST is damaged: {raw}/train-images-idx3-ubyte is cut or not of t"),
        (
            "MNIST",
            SHORT_GZ[:-4],
            "MNIST is damaged: {raw}/train-images-idx3-ubyte cannot be read (",
        ),
        (
            "MNIST",
            "whole",
            "MNIST is damaged: {raw}/train-images-idx3-ubyte is not the file that was published",
        ),
        (
            "FashionMNIST",
            "MNIST",
            "FashionMNIST is damaged: {raw}/train-images-idx3-ubyte is MNIST's",
        ),
        (
            "FashionMNIST",
            ".gz",
            "FashionMNIST is damaged: {raw}/train-images-idx3-ubyte.gz cannot be read (",
        ),
        (
            "FashionMNIST",
            "one",
            "FashionMNIST is not complete: there is no train-labels-idx1-ubyte in {raw}, as",
        ),
    ],
)
def test_mnists_files_that_are_of_no_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    content: bytes | str | None,
    line: str,
) -> None:
    raw = tmp_path / kind / "raw"
    raw.mkdir(parents=True)
    whole = _idx_files()
    if content == "MNIST":
        monkeypatch.setitem(
            torchvision_sets.MNIST_FILES, IDX[0], hashlib.sha256(whole[IDX[0]]).hexdigest()
        )
    for name in [] if content is None else IDX[:1] if content == "one" else IDX:
        ending = ".gz" if content == ".gz" else ""
        (raw / f"{name}{ending}").write_bytes(
            content if isinstance(content, bytes) else whole[name]
        )
    with pytest.raises(DataError) as refused:
        torchvision_sets.published_set(kind, tmp_path)
    assert str(refused.value).startswith(line.format(raw=raw))


def test_cifar_says_what_is_damaged_and_what_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python.tar.gz").touch()
    with pytest.raises(
        DataError,
        match=r"CIFAR100 is not unpacked: `tar -xzf .*cifar-100-python.tar.gz -C .*` unpacks",
    ):
        BUILDERS["cifar100"](tmp_path)
    with pytest.raises(
        DataError,
        match=r"CIFAR10 is not there: expected its files in .*cifar-10-batches-py; data.down",
    ):
        BUILDERS["cifar10"](tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataError, match="CIFAR10 is damaged"):
        BUILDERS["cifar10"](tmp_path)


def test_cifars_images_lie_as_torchvision_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Convert (row, column, channel) to channels first, for both splits."""

    class Read:
        classes = ("ant", "bee")

        def __init__(self, root: Path, train: bool) -> None:
            count, first = (3, 0) if train else (2, 100)
            self.data = (
                np.arange(first, first + count * 4 * 5 * 3).reshape(count, 4, 5, 3).astype(np.uint8)
            )
            self.targets = [0, 1, 1] if train else [1, 0]

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Read)
    splits = check(BUILDERS["cifar10"](tmp_path))
    assert (splits.shape, splits.classes, splits.class_names) == ((3, 4, 5), 2, ("ant", "bee"))
    for split, first, labels in ((splits.train, 0, [0, 1, 1]), (splits.test, 100, [1, 0])):
        assert split.labels.tolist() == labels
        assert split.images[1, :, 2, 3].tolist() == [
            first + ((1 * 4 + 2) * 5 + 3) * 3 + channel for channel in range(3)
        ]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(
        "torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/cifar-10-python.tar.gz"
    )
    outcome = command(f"data={name}", "data.download=true", "data.root=new/place")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "\ufffd" not in outcome.err
    place = "to new/place/MNIST/raw" if name == "mnist" else "and unpack it in new/place"
    assert outcome.err.endswith(f"{place}\n"), "by hand"
    assert "could not be downloaded" in outcome.err
    assert list(Path().iterdir()) == []


def test_a_download_whose_folder_is_gone_is_told_by_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(root: Path, download: bool) -> None:
        root.rmdir()
        raise OSError("the network drive is gone")

    fail.mirrors, fail.resources = ["http://there/"], [("images", ""), ("labels", "")]  # type: ignore[attr-defined]
    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    with pytest.raises(
        DataError, match=r"^MNIST could not be downloaded \(the network drive is gone\); by hand: "
    ):
        BUILDERS["mnist"](Path("new"), download=True)
    assert list(Path().iterdir()) == []


def test_a_download_comes_whole_and_replaces_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, root = tmp_path / "server", tmp_path / "root"
    server.mkdir()
    resources = []
    for name, content in _idx_files().items():
        (server / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        resources.append(
            (f"{name}.gz", hashlib.md5((server / f"{name}.gz").read_bytes()).hexdigest())
        )
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [server.as_uri() + "/"])
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.resources", resources)
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve",
        lambda url, to: shutil.copy(url[len("file://") :], to),
    )
    (root / "FashionMNIST" / "raw").mkdir(parents=True)
    (root / "FashionMNIST" / "raw" / IDX[0]).write_bytes(b"cut")
    assert len(BUILDERS["fashion_mnist"](root, download=True).train) == 20
    assert [path.name for path in root.iterdir()] == ["FashionMNIST"]
    server.rename(tmp_path / "gone")
    assert len(BUILDERS["fashion_mnist"](root, download=True).train) == 20, (
        "it is there, nothing is fetched"
    )


@needs_mnist
def test_mnist_is_the_real_one() -> None:
    splits = check(BUILDERS["mnist"](Path(os.environ["DSTRUN_DATA"])))
    assert (len(splits.train), len(splits.test), splits.shape, splits.classes) == (
        60_000,
        10_000,
        (1, 28, 28),
        10,
    )
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.train.images.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


@needs_cifar10
@pytest.mark.slow
def test_cifar10_is_the_real_one() -> None:
    splits = check(BUILDERS["cifar10"](Path(os.environ["DSTRUN_DATA"])))
    assert (len(splits.train), len(splits.test), splits.shape, splits.classes) == (
        50_000,
        10_000,
        (3, 32, 32),
        10,
    )
    assert splits.train.labels.bincount().tolist() == [5000] * 10
    means = splits.train.images.float().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
