"""Splits and batches: what is read, in which order it comes, and how it is cropped, flipped and normalised."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from dstrun.data import BUILDERS, Batches, DataError, Split, Splits
from dstrun.data.checks import check, note_missing_classes
from dstrun.data.splits import chosen, stratified
from tests.conftest import Command, made_up, needs_cifar10, needs_mnist

CPU = torch.device("cpu")


def numbered(count: int, side: int = 4) -> Split:
    """Images whose pixels are distinct within an image and whose label is their number."""
    pixels = torch.arange(side * side, dtype=torch.uint8).view(1, 1, side, side)
    return Split((pixels + torch.arange(count).view(-1, 1, 1, 1)).to(torch.uint8), torch.arange(count))


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
    orders = {str(labels_of(Batches(numbered(10), 4, CPU, seed=s), e)) for s in range(10) for e in range(10)}
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
        transforms.normalize(transforms.to_tensor(image.permute(1, 2, 0).numpy()), mean, std) for image in split.images
    ]
    assert torch.equal(ours, torch.stack(theirs))


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
    """Which crop of which padded image this is; fails when it is none."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    for top in range(3):
        for left in range(3):
            windows = padded[:, :, top : top + 5, left : left + 6]
            for mirrored in (False, True):
                if (windows.flip(3) if mirrored else windows).eq(image).all((1, 2, 3)).any():
                    return top, left, mirrored
    raise AssertionError("not a crop of any image")


def test_half_of_the_images_are_flipped() -> None:
    split = numbered(1000)
    batches = Batches(split, 1000, CPU, flip=True)
    ((images, labels),) = batches.shuffled(0)
    plain = split.images[labels].float() / 255
    share = (images != plain).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)


def test_a_limit_chooses_the_same_images_every_time() -> None:
    assert chosen(5, 0).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(chosen(1000, 10), chosen(1000, 10))
    assert chosen(1000, 10).tolist() == sorted(set(chosen(1000, 10).tolist()))


def test_a_stratified_split_takes_the_same_share_of_every_class() -> None:
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 5)
    rest, held_out = stratified(labels, 0.2)
    assert labels[held_out].bincount().tolist() == [2, 4, 1]
    assert sorted([*rest.tolist(), *held_out.tolist()]) == list(range(35))


def test_digits_are_split_four_to_one_and_fill_28_by_28() -> None:
    splits = check(BUILDERS["digits"](Path()))
    assert splits.shape == (1, 28, 28)
    assert len(splits.train) + len(splits.test) == 1797
    assert len(splits.test) == pytest.approx(1797 / 5, abs=5)
    assert splits.train.labels.bincount().min() > 130
    assert not splits.train.images[:, :, :2].any()
    assert splits.train.images.max() > 240


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Split(torch.zeros(2, 1, 4, 4), torch.zeros(2).long()), "train images are torch.float32"),
        (Split(torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2).long()), r"expected uint8 \(N, C, H, W\)"),
        (Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3).long()), r"expected int64 \(2,\)"),
        (Split(torch.zeros(0, 1, 4, 4, dtype=torch.uint8), torch.zeros(0).long()), "has no images"),
        (Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 9])), "go from 0 to 9, expected 0 to 2"),
        (Split(torch.zeros(2, 1, 5, 4, dtype=torch.uint8), torch.zeros(2).long()), "test images"),
    ],
)
def test_splits_that_no_run_could_use_are_refused(broken: Split, message: str) -> None:
    test = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2).long())
    with pytest.raises(DataError, match=message):
        check(Splits(broken, test, classes=3))


def _tree(root: Path, images: dict[str, int], size: tuple[int, int] = (20, 10)) -> None:
    for name, count in images.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((*size, 3), 10 * number, np.uint8)).save(root / name / f"{number}.png")


def test_hidden_folders_and_a_test_part_without_classes_are_passed_over(tmp_path: Path) -> None:
    _tree(tmp_path / "train", {"cat": 3, "dog": 1, ".ipynb_checkpoints": 1})
    _tree(tmp_path / "train" / "cat", {".thumbnails": 1})
    _tree(tmp_path / "val", {"cat": 2})
    _tree(tmp_path, {"test": 4})
    splits = check(BUILDERS["folder"](tmp_path, size=8))
    assert (splits.classes, len(splits.train), len(splits.test)) == (2, 4, 2)


def test_two_trees_of_one_name_are_not_one_run(command: Command) -> None:
    for place, classes in (("birds", "ab"), ("cars", "cd"), ("copy", "ab")):
        _tree(Path(place, "images"), dict.fromkeys(classes, 10), size=(28, 28))
    words = ["model=lenet5", "data=folder", "data.size=28", "schedule.epochs=1"]
    assert command(*words, "data.root=birds/images").code == 0
    outcome = command(*words, "data.root=cars/images")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "other classes ('a', and there is 'c' now); overwrite=true starts over, group=NAME keeps both\n"
    )
    assert command(*words, "data.root=cars/images", "group=cars").code == 0
    assert "finished already" in command(*words, "data.root=copy/images").out
    outcome = command("-m", *words, "data.root=birds/images,cars/images")
    assert (outcome.code, "have one name" in outcome.err) == (2, True)


def test_a_folder_with_train_and_test_is_read_as_it_lies(tmp_path: Path) -> None:
    _tree(tmp_path / "train", {"cat": 3, "dog": 2})
    _tree(tmp_path / "val", {"dog": 1})
    splits = check(BUILDERS["folder"](tmp_path, size=8))
    assert splits.shape == (3, 8, 8)
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert splits.test.labels.tolist() == [1]
    assert splits.train.images[2].unique().tolist() == [20]


def test_a_folder_of_classes_is_split_by_class(tmp_path: Path) -> None:
    _tree(tmp_path, {"a": 10, "b": 5})
    splits = BUILDERS["folder"](tmp_path, size=8, train_limit=6)
    assert len(splits.train) == 6
    assert splits.test.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("what", ["nothing", "no images", "empty class", "damaged", "new class", "no test", "too many"])
def test_a_folder_that_cannot_be_read_says_why(tmp_path: Path, what: str) -> None:
    root, size = tmp_path / "tree", 8
    if what != "nothing":
        _tree(root, {"a": 5, "b": 5} if what != "no images" else {})
        root.mkdir(exist_ok=True)
    if what == "empty class":
        (root / "c").mkdir()
    if what == "damaged":
        (root / "a" / "3.png").write_bytes(b"not an image")
    if what == "new class":
        _tree(root / "train", {"a": 1, "b": 1})
        _tree(root / "test", {"z": 1})
    if what == "no test":
        _tree(root / "train", {"a": 1, "b": 1})
    if what == "too many":
        size = 200_000
    messages = {
        "nothing": "there is no folder",
        "no images": "no class folders with images",
        "empty class": "class 'c' in .* holds no image",
        "damaged": r"1 of 8 images cannot be decoded \(.*/a/3.png: cannot identify .*\); data.args.undecodable=0.125 ",
        "new class": "has classes that the training part has not: z",
        "no test": "has train/ but no part to test on beside it: expected folders named train",
        "too many": "this machine has .*: lower data.size",
    }
    with pytest.raises(DataError, match=messages[what]):
        BUILDERS["folder"](root, size=size)


def test_a_stated_share_of_a_folder_may_be_undecodable(tmp_path: Path) -> None:
    """Three of twenty: one that is none, one cut in the middle, one empty; a share of 0.15 is enough, 0.14 is not."""
    _tree(tmp_path / "train", {"a": 10, "b": 10}, size=(40, 40))
    _tree(tmp_path / "test", {"a": 2, "b": 2})
    broken = [tmp_path / "train" / name for name in ("a/3.png", "a/7.png", "b/0.png")]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(broken[1])
    for file, left in zip(broken, (b"no image", broken[1].read_bytes()[:1000], b""), strict=True):
        file.write_bytes(left)
    splits = BUILDERS["folder"](tmp_path, size=8, undecodable=0.15)
    assert splits.train.labels.tolist() == [0] * 8 + [1] * 9
    assert splits.train.images[3].unique().tolist() == [40], "the third is gone, the fourth in its place"
    (note,) = splits.notes
    assert note.startswith(f"3 of 20 images cannot be decoded ({broken[0]}: cannot identify image file")
    assert note.endswith(", and 2 more): left out")
    with pytest.raises(
        DataError, match=r"more than data.args.undecodable=0.14 allows; data.args.undecodable=0.15 leaves"
    ):
        BUILDERS["folder"](tmp_path, size=8, undecodable=0.14)
    with pytest.raises(ValueError, match="undecodable is 7, expected a share"):
        BUILDERS["folder"](tmp_path, size=8, undecodable=7)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, np.float32), (0.5, np.float32), (40_000, np.uint16)])
def test_pixels_that_are_no_bytes_are_refused(tmp_path: Path, value: float, kind: type) -> None:
    _tree(tmp_path / "train", {"a": 1, "b": 1})
    _tree(tmp_path / "test", {"a": 1, "b": 1})
    Image.fromarray(np.full((8, 8), value, kind)).save(tmp_path / "train" / "a" / "1.tiff")
    with pytest.raises(DataError, match=r"1 of 3 images .*a/1.tiff: has floating-point or 16-bit pixels"):
        BUILDERS["folder"](tmp_path, size=8)


def test_a_class_of_which_there_is_nothing_to_train_on_is_noted() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    splits = Splits(Split(images, torch.tensor([0, 2])), Split(images, torch.tensor([0, 1])), classes=4)
    assert note_missing_classes(splits).notes == ("no training image of 2 of 4 classes (1, 3)",)


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    _tree(tmp_path, {"a": 10})
    with pytest.raises(DataError, match="there is 1 class, expected at least 2"):
        check(BUILDERS["folder"](tmp_path, size=8))


@needs_mnist
def test_one_bit_of_mnist_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(Path(os.environ["DSTRUN_DATA"], "MNIST"), tmp_path / "MNIST")
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"MNIST is damaged: .*train-images-idx3-ubyte is not the file that was publi"):
        BUILDERS["mnist"](tmp_path)


@needs_cifar10
def test_one_bit_of_cifar10_is_noticed(tmp_path: Path) -> None:
    """Before it is unpickled: torchvision compares its digest."""
    shutil.copytree(Path(os.environ["DSTRUN_DATA"], "cifar-10-batches-py"), tmp_path / "cifar-10-batches-py")
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="CIFAR10 is damaged"):
        BUILDERS["cifar10"](tmp_path)


def test_torchvisions_sets_say_what_is_missing_and_what_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"MNIST is not there: expected its files in .*MNIST/raw"):
        BUILDERS["mnist"](tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03")
    with pytest.raises(DataError, match="MNIST is damaged"):
        BUILDERS["mnist"](tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataError, match="CIFAR10 is damaged"):
        BUILDERS["cifar10"](tmp_path)


@needs_mnist
def test_mnist_is_the_real_one() -> None:
    splits = check(BUILDERS["mnist"](Path(os.environ["DSTRUN_DATA"])))
    assert (len(splits.train), len(splits.test), splits.shape, splits.classes) == (60_000, 10_000, (1, 28, 28), 10)
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.train.images.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


@needs_cifar10
def test_cifar10_is_the_real_one() -> None:
    splits = check(BUILDERS["cifar10"](Path(os.environ["DSTRUN_DATA"])))
    assert (len(splits.train), len(splits.test), splits.shape, splits.classes) == (50_000, 10_000, (3, 32, 32), 10)
    assert splits.train.labels.bincount().tolist() == [5000] * 10
    means = splits.train.images.float().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
