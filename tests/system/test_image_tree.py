"""Trees of images: parts and classes by name, skipped entries, differences of trees."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from dstrun.runs.data_record import differences
from dstrun.system.errors import DataError
from dstrun.system.image_tree import Tree, index, list_tree, lister
from dstrun.system.image_tree.names import role_of


def grow(root: str, *files: str) -> Path:
    """Write files of a few bytes below a root; a name that ends in / is a folder."""
    for name in files:
        path = Path(root, name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"image")
    return Path(root)


def parts(train: str, test: str, classes: Iterable[str] = ("cat", "dog", "owl")) -> list[str]:
    """Return names of two images per class for training and one for testing."""
    names = [f"{train}/{name}/{number}.png" for name in classes for number in range(2)]
    return [*names, *(f"{test}/{name}/0.png" for name in classes)]


def counts(tree: Tree) -> dict[str, int]:
    return {name: len(part.files) for name, part in tree.parts.items()}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("TRAIN", "VAL"),
        ("training_set", "test_set"),
        ("Train", "Valid"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_images", "test_images"),
        ("train", "eval"),
        ("train", "dev"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
        ("images_train", "test"),
        ("TrainData", "ValidationData"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("Training Images", "Test Images"),
        ("archive/pets/train", "archive/pets/test"),
        ("train/x", "test/x"),
        ("training-data/train", "training-data/validation"),
        ("train_32x32", "test_32x32"),
        ("my.train", "my.holdout"),
    ],
)
def test_parts_are_known_by_their_names(train: str, test: str) -> None:
    tree = list_tree(grow("tree", *parts(train, test)))
    assert tree.classes == ("cat", "dog", "owl")
    assert counts(tree) == {"train": 6, "test": 3}
    assert tree.parts["train"].counts == (2, 2, 2)
    assert tree.fingerprint == list_tree(grow("plain", *parts("train", "test"))).fingerprint


@pytest.mark.parametrize(
    "name",
    ["cat", "test tube", "contest", "latest", "trainer", "devil", "value", "rain", "évalidation"],
)
def test_other_names_are_classes(name: str) -> None:
    found = role_of(name)
    assert found is None or found[1], "a part beside others of the same kind only"
    assert list_tree(grow("tree", f"{name}/1.png", "zebra/1.png")).classes == tuple(
        sorted((name, "zebra"))
    )


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_class_may_be_called_like_a_part_where_it_holds_images(name: str) -> None:
    tree = list_tree(grow("tree", f"{name}/1.png", "bus/1.png", "invalid/1.png"))
    assert tree.classes == tuple(sorted((name, "bus", "invalid")))
    assert tree.notes == (f"tree/{name} is used as a class",)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (
            parts("fold1", "fold2"),
            "tree holds fold1, fold2, and these hold cat, dog, owl, which look like the classes: "
            "expected parts named train (training) and test",
        ),
        (
            parts("Lernen", "Proben"),
            "tree holds Lernen, Proben, and these hold cat, dog, owl, which look like",
        ),
        (
            ["cat/train/1.png", "cat/test/1.png", "dog/train/1.png", "dog/test/1.png"],
            "tree holds cat, dog, and the",
        ),
        (
            ["trainA/1.png", "testA/1.png", "trainB/1.png", "testB/1.png"],
            "tree holds the parts of several data sets",
        ),
        (
            ["train/cat/1.png", "train/dog/1.png"],
            "tree has train/ but no part to test on beside it: expected folders",
        ),
        (["test/cat/1.png", "test/dog/1.png"], "tree has test/ but no part to train on beside it"),
        (
            ["cat/1.png", "dog/1.png", "test/1.png"],
            "tree has test/ but no part to train on beside it",
        ),
        (
            ["cat/1.png", "dog/1.png", "val/cat/1.png"],
            "tree has val/ but no part to train on beside it",
        ),
        (
            ["train/1.png", "test/1.png"],
            "tree/train holds 1 image and no class folders with images in them",
        ),
        (
            ["train/cat/1.png", "Train/cat/1.png", "test/cat/1.png"],
            "tree has Train/, train/, of which only one can",
        ),
        (
            ["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"],
            "tree/test has classes that the training",
        ),
        (["cat/1.png", "dog/"], "class 'dog' in tree holds no image (.jpg, "),
        (
            ["cat/1.png", "dog/1.heic", "dog/2.heic", "dog/.x"],
            "; it holds 3 files (2 .heic, 1 hidden)",
        ),
        (
            ["1.png", "2.png"],
            "tree holds 2 images and no class folders with images in them: "
            "expected tree/CLASS/*.png",
        ),
    ],
)
def test_a_tree_that_cannot_be_meant_is_refused(files: list[str], line: str) -> None:
    with pytest.raises(DataError) as refused:
        list_tree(grow("tree", *files))
    assert line in str(refused.value)


def test_what_is_passed_over_is_counted() -> None:
    grow(
        "tree",
        *parts("train", "test"),
        "train/cat/deep/er/3.JPG",
        "train/cat/4.jfif",
        "train/cat/5.JPE",
    )
    grow(
        "tree",
        "train/cat/6.heic",
        "train/dog/7.heic",
        "train/dog/.8.png",
        "train/dog/list",
        "test/owl/.thumbs/9.png",
    )
    grow(
        "tree",
        "val/cat/1.png",
        "docs/",
        ".git/",
        "__MACOSX/train/",
        "README.txt",
        "cover.png",
        "train/10.png",
        "train/labels.csv",
    )
    tree = list_tree(Path("tree"))
    assert counts(tree) == {"train": 9, "test": 3}
    assert tree.parts["train"].files[:5] == [
        f"tree/train/cat/{name}" for name in ("0.png", "1.png", "4.jfif", "5.JPE", "deep/er/3.JPG")
    ]
    assert tree.notes == (
        "in tree not used: docs, val",
        "skipped 1 image in tree, outside of class folders",
        "skipped 1 image in tree/train, outside of class folders",
        "skipped 9 files (4 hidden, 2 .heic, 1 .txt, 1 .csv, 1 no ending)",
    )


def test_links_are_followed_and_loops_of_links_end() -> None:
    grow("elsewhere", "more/2.png", "3.png")
    grow("tree", "cat/1.png", "dog/1.png")
    for name, target in {
        "cat/more": "../../elsewhere/more",
        "cat/3.png": "../../elsewhere/3.png",
        "cat/loop": ".",
        "cat/up": "..",
        "cat/self": "self",
        "dog/gone.png": "nowhere.png",
        "owl": "../elsewhere",
    }.items():
        Path("tree", name).symlink_to(target)
    os.mkfifo("tree/dog/pipe.png")
    tree = list_tree(Path("tree"))
    assert tree.classes == ("cat", "dog", "owl")
    files = tree.parts["all"].files
    assert list(files)[: tree.parts["all"].counts[0]] == [
        "tree/cat/1.png",
        "tree/cat/3.png",
        "tree/cat/more/2.png",
    ]
    assert "tree/dog/gone.png" in files, "which will be said not to be readable"
    assert "tree/dog/pipe.png" not in files
    assert tree.notes == (
        "skipped 2 files (1 no ending, 1 .png) and 1 link to a folder above or beside its class",
    )


@pytest.mark.parametrize(
    "target", ["..", "../..", "../../..", "../../test", "../../val", "../dog", "../../test/cat"]
)
@pytest.mark.parametrize("place", ["tree/train/cat", "elsewhere"])
def test_a_link_that_would_label_images_of_others_is_passed_over(place: str, target: str) -> None:
    grow("tree", *parts("train", "test"), "val/cat/0.png")
    plain = list_tree(Path("tree")).parts
    if place == "elsewhere":
        grow("elsewhere").mkdir()
        Path("tree/train/cat/more").symlink_to("../../../elsewhere")
    Path(place, "loop").symlink_to(Path("tree/train/cat", target).resolve())
    tree = list_tree(Path("tree"))
    assert tree.parts == plain
    assert tree.notes[-1] == "skipped 1 link to a folder above or beside its class"


def test_links_between_trees_and_to_folders_inside_a_class_stay() -> None:
    grow("store", *parts("train", "test"), "train/cat/kitten/0.png")
    grow("tree/train/dog", "0.png")
    for name in ("cat", "cat/kitten"):
        Path("tree/train", Path(name).name).symlink_to(Path("store/train", name).resolve())
    Path("tree/test").symlink_to("train")
    tree = list_tree(Path("tree"))
    assert tree.notes == ()
    assert tree.parts["train"].counts == tree.parts["test"].counts == (3, 1, 1)


def test_a_class_that_is_a_link_to_its_own_tree_is_refused() -> None:
    Path(grow("tree", *parts("train", "test")), "train/loop").symlink_to("../../tree")
    with pytest.raises(
        DataError, match=r"'loop' in tree/train holds no image .* it holds 1 link to a folder above"
    ):
        list_tree(Path("tree"))


@pytest.mark.parametrize(
    "link", ["tree/train/zebra", "tree/train/001.zebra", "tree/test/cat", "tree/test"]
)
def test_a_class_or_part_that_is_a_link_to_nothing_is_refused(link: str) -> None:
    files = [name for name in parts("train", "test") if not f"tree/{name}".startswith(f"{link}/")]
    Path(
        grow("tree", *files, "val/cat/0.png", "train/cat/0.png"), Path(link).relative_to("tree")
    ).symlink_to("/nowhere")
    with pytest.raises(DataError) as refused:
        list_tree(Path("tree"))
    assert (
        str(refused.value)
        == f"{link} is a link to /nowhere, which cannot be reached: mount it, or remove {link}"
    )


def test_a_fingerprint_is_of_names_sizes_and_parts_and_not_of_the_place() -> None:
    first = list_tree(grow("a", *parts("train", "test")))
    assert (
        list_tree(grow("b/c", *parts("train", "test"), "train/.hidden/1.png")).fingerprint
        == first.fingerprint
    )
    assert first is list_tree(Path("a")), "listed once a process"
    found = {first.fingerprint}
    for change in ("train/cat/9.png", "test/cat/9.png"):
        found.add(list_tree(grow("a", change)).fingerprint)
    Path("b/c/train/cat/0.png").write_bytes(b"another")
    grow("b/c", "train/.hidden/2.png").joinpath("train/touched.txt").touch()
    found.add(list_tree(Path("b/c")).fingerprint)
    assert len(found) == 4


def test_how_trees_differ_is_said_in_words() -> None:
    small = list_tree(grow("small", *parts("train", "test"))).facts
    more = list_tree(grow("more", *parts("train", "test"), "train/cat/9.png")).facts
    other = list_tree(grow("other", *parts("train", "test", ("cat", "dog", "cow")))).facts
    renamed = list_tree(
        grow("renamed", *(name.replace("0.png", "7.png") for name in parts("train", "test")))
    ).facts
    fewer = list_tree(grow("fewer", *parts("train", "test", ("cat", "dog")))).facts
    assert differences(small, small) == []
    assert differences({"version": 1}, {"version": 2}) == ["version 1, and it is 2 now"]
    assert differences(small, more) == ["6 training images, and there are 7 now"]
    assert differences(small, other) == ["other classes ('dog', and there is 'cow' now)"]
    assert differences(small, renamed) == [
        "as many images, of which some have another name or size now"
    ]
    assert differences(small, fewer)[0] == "3 classes, and there are 2 now"
    assert differences({}, small) == differences({"tree_images": 3, "class_names": 1}, small) == []


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every tree has an index, in this folder, and no process remembers one."""
    monkeypatch.setattr(index, "LARGE", 1)
    monkeypatch.setattr(index, "SETTLED", 0)
    monkeypatch.setattr("dstrun.system.image_tree.MOST_KNOWN", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def listed(monkeypatch: pytest.MonkeyPatch, root: Path) -> tuple[Tree, bool]:
    """Return a tree, and whether its folders were read."""
    read: list[Path] = []
    reads = lister.read_folder
    monkeypatch.setattr(lister, "read_folder", lambda folder: read.append(folder) or reads(folder))
    return list_tree(root), bool(read)


@pytest.mark.parametrize("whole", [False, True])
def test_a_large_tree_is_listed_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path, whole: bool
) -> None:
    root = grow("tree", *(["cat/1.png", "dog/\udce9.png"] if whole else parts("train", "test")))
    first, was_read = listed(monkeypatch, root)
    assert was_read
    assert listed(monkeypatch, root) == (first, False)
    (file,) = cache.rglob("*.index")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert listed(monkeypatch, root) == (first, True), "the index is damaged"
    grow("tree", "cat/new.png" if whole else "train/cat/new.png")
    second, was_read = listed(monkeypatch, root)
    assert was_read
    assert second.fingerprint != first.fingerprint
    assert listed(monkeypatch, root) == (second, False)


def test_no_index_of_a_small_tree_or_of_one_that_just_changed_or_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    root = grow("tree", *parts("train", "test"))
    for name, value in (("LARGE", 10), ("SETTLED", 10**12)):
        with monkeypatch.context() as patched:
            patched.setattr(index, name, value)
            list_tree(root)
        assert not cache.exists()
    cache.write_text("in the way")
    assert counts(list_tree(root)) == {"train": 6, "test": 3}
