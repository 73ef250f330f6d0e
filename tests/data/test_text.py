"""Text: which files are read, how it is split and cut into sequences, and their order."""

from pathlib import Path

import pytest
import torch

from dstrun.data import BUILDERS, DataError, Split, Splits, TextBatches, TextSplit, check
from dstrun.data.splits import held_out_split, limited_split
from dstrun.data.text import text
from tests.helpers.commands import Command

CPU = torch.device("cpu")


def numbered(count: int, length: int) -> TextSplit:
    """Return a text of the bytes 0, 1, 2, …"""
    return TextSplit(torch.arange(count, dtype=torch.uint8), length)


def write(root: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def all_of(split: Split | TextSplit) -> bytes:
    assert isinstance(split, TextSplit)
    return bytes(split.text.tolist())


def test_files_are_joined_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """Other endings and hidden files are left out; a line end is added where one lacks."""
    files = {"b_txt": "second\n", "a__z_TXT": "first", "c_text": "third, ä\n", "d_md": "others\n"}
    write(tmp_path, **files, _hidden_txt="no\n")
    splits = text(tmp_path, length=2)
    whole = "first\nsecond\nthird, ä\n".encode()
    assert all_of(splits.train) + all_of(splits.test) == whole
    assert (splits.classes, splits.task, splits.shape) == (256, "next_token", (2,))
    assert splits.origin["bytes"] == len(whole)
    assert all_of(text(tmp_path, length=1, endings=["md"]).train) in b"others\n"


def test_the_last_tenth_is_for_testing(tmp_path: Path) -> None:
    content = "".join(f"{number:04}\n" for number in range(100))  # 500 bytes: 50 sequences
    splits = text(write(tmp_path, a_txt=content), length=10)
    assert len(splits.test) == 5
    assert all_of(splits.test) == content[-51:].encode()
    assert all_of(splits.train) == content[:-51].encode()


def test_parts_are_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, train__a_txt="to train on\n" * 9, test__a_txt="to test on\n" * 3)
    splits = text(tmp_path, length=4)
    assert all_of(splits.train) == b"to train on\n" * 9
    assert all_of(splits.test) == b"to test on\n" * 3


def test_the_record_of_a_text_is_that_of_its_bytes(tmp_path: Path) -> None:
    one = text(write(tmp_path / "one", a_txt="abcdefgh\n" * 9), length=2).origin
    renamed = text(write(tmp_path / "two", b_txt="abcdefgh\n" * 9), length=2).origin
    other = text(write(tmp_path / "three", a_txt="abcdefgh\n" * 8 + "abcdefgi\n"), length=2).origin
    assert one == renamed
    assert one["bytes"] == other["bytes"]
    assert one["text"] != other["text"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "has no file (.text, .txt); data.args.endings=[md] reads others"),
        ({"a_md": "text\n"}, "has no file (.text, .txt)"),
        ({"a_txt": "", "b_txt": ""}, "has 2 files (.text, .txt) without text"),
        ({"a_txt": b"good\nb\xe4d\n"}, "a.txt is not UTF-8: byte 0xe4 at offset 6; `iconv"),
        ({"a_txt": b"1234567\n"}, "has 8 bytes, expected at least 9: 4 sequences of data.args."),
        (
            {"train__a_txt": "long enough\n", "test__a_txt": "it\n"},
            "the test text has 3 bytes, expected at least 5: 2 sequences of data.args.length=2",
        ),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_in_a_line(
    tmp_path: Path, files: dict[str, str | bytes], expected: str
) -> None:
    with pytest.raises(DataError) as error:
        text(write(tmp_path, **files), length=2)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of text files, got nothing there"):
        text(tmp_path / "missing")
    with pytest.raises(DataError, match="got a file"):
        text(write(tmp_path, a_txt="text") / "a.txt")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.args.length=0", "data.args: length is 0, expected a whole number ≥ 1"),
        ("data.args.length=2.5", "data.args: length is 2.5, expected a whole number ≥ 1"),
        ("data.args.endings=md", "data.args: endings is 'md', expected a list such as [txt, md]"),
        ("data.root=missing", "data.root: expected a folder of text files, got nothing there"),
        (
            "model=lenet5",
            "model=lenet5: takes images, and data.root=texts has sequences",
        ),
        ("model=timm:resnet18", "model=timm:resnet18: takes images, and data.root=texts has "),
        ("model=torchvision:vgg11", "model=torchvision:vgg11: takes images, and data.root=texts "),
        ("schedule.mixup=0.2", "got 0.2, and the bytes of data.root=texts cannot be mixed"),
        ("reg=synflow", "reg.method: synflow feeds the network an image of ones"),
        ("reg=grasp", "reg.images: got 0, ten images of each class, and data.root=texts has text"),
        ("data.validation=1e-9", "data.validation: 1e-09 of "),
        ("data.args.length=4000", "the whole text has "),
        ("model.args.context=100", "sequence of the data has 128 tokens, expected a context of"),
    ],
)
def test_bad_options_are_refused_in_a_line(command: Command, word: str, expected: str) -> None:
    write(Path("texts"), a_txt="A line of a text that goes on and on.\n" * 100)
    words = ["model=gpt", "data=text", "data.root=texts", "reg.density=0.5", word]
    outcome = command(*words)
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    assert lines[-1].startswith("dstrun: ")
    assert expected.replace("whole text", "text") in lines[-1]
    assert not Path("outputs").exists()


def test_gpt_takes_no_images(command: Command) -> None:
    outcome = command("model=gpt", "data=digits")
    assert outcome.code == 2
    assert "model=gpt: the data are 1×28×28, expected sequences of tokens" in outcome.err


def test_targets_are_the_inputs_shifted_by_one_and_the_end_goes_on_with_the_beginning() -> None:
    batches = TextBatches(numbered(101, 10), 4, CPU, seed=3)
    places = []
    for inputs, targets in batches.shuffled(0):
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape == targets.shape == (len(inputs), 10)
        assert torch.equal(targets, (inputs + 1) % 101)
        places += inputs[:, 0].tolist()
    assert len(places) == len(numbered(101, 10)) == 10
    assert len({place % 10 for place in places}) <= 2  # of one offset, around the end
    assert sorted(places) != places


def test_every_epoch_cuts_elsewhere_and_depends_on_seed_and_number_alone() -> None:
    split = numbered(201, 10)

    def firsts(seed: int, epoch: int) -> list[int]:
        batches = TextBatches(split, 8, CPU, seed=seed)
        return torch.cat([inputs[:, 0] for inputs, _ in batches.shuffled(epoch)]).tolist()

    assert firsts(0, 1) == firsts(0, 1)
    offsets = {firsts(seed, epoch)[0] % 10 for seed in range(3) for epoch in range(8)}
    assert len(offsets) > 5
    assert firsts(0, 1) != firsts(0, 2) != firsts(1, 2)


def test_an_epoch_goes_on_at_any_batch() -> None:
    batches = TextBatches(numbered(201, 10), 8, CPU)
    whole = list(batches.shuffled(5))
    rest = list(batches.shuffled(5, start=2))
    assert len(whole) == len(batches) == len(rest) + 2
    for (inputs, targets), (others, their) in zip(whole[2:], rest, strict=True):
        assert torch.equal(inputs, others)
        assert torch.equal(targets, their)


@pytest.mark.parametrize("count", [41, 42, 47, 50, 51])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_byte_of_a_held_out_text_is_predicted_once(count: int, ranks: int) -> None:
    predicted: list[int] = []
    sequences = 0
    for rank in range(ranks):
        batches = TextBatches(numbered(count, 10), 2, CPU, part=(rank, ranks))
        for inputs, targets in batches.in_order():
            assert torch.equal(targets, inputs + 1)
            predicted += targets.flatten().tolist()
            sequences += len(targets)
    assert sorted(predicted) == list(range(1, count))
    assert sequences == len(numbered(count, 10))


def test_ranks_share_each_batch() -> None:
    split = numbered(111, 10)  # 11 sequences: batches of 5, 5 and one
    alone = list(TextBatches(split, 5, CPU).shuffled(0))
    parts = [list(TextBatches(split, 5, CPU, part=(rank, 2)).shuffled(0)) for rank in (0, 1)]
    for whole, *own in zip(alone, *parts, strict=True):
        assert torch.equal(torch.cat([inputs for inputs, _ in own]), whole[0])
    whole = list(TextBatches(split, 5, CPU, part=(1, 2)).shuffled(0, whole=True))
    assert torch.equal(whole[0][0], alone[0][0])


def test_limits_are_the_first_sequences_and_validation_is_the_end() -> None:
    split = numbered(101, 10)
    few = limited_split(split, 4)
    assert isinstance(few, TextSplit)
    assert few.text.tolist() == list(range(41))
    assert limited_split(split, 0) is limited_split(split, 10) is split
    rest, held_out = held_out_split(split, 0.2)
    assert isinstance(rest, TextSplit)
    assert isinstance(held_out, TextSplit)
    assert held_out.text.tolist() == list(range(80, 101))
    assert rest.text.tolist() == list(range(80))
    assert (len(rest), len(held_out)) == (8, 2)
    assert len(held_out_split(split, 0.001)[1]) == 0
    assert len(held_out_split(split, 0.999)[0]) == 0


def test_what_a_builder_of_a_user_returns_is_checked() -> None:
    good = numbered(101, 10)
    assert check(Splits(good, good, 256)).train is good
    floats = TextSplit(torch.zeros(100), 10)
    images = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    for splits, expected in (
        (Splits(good, images, 256), "test is a Split, expected dstrun.TextSplit"),
        (Splits(good, floats, 256), r"the test text is torch.float32 \(100,\), expected"),
        (Splits(good, numbered(1, 10), 256), "the test text has 1 bytes, expected at least 2"),
        (Splits(good, good, 10), "classes is 10, expected 256, the values of a byte"),
        (Splits(good, numbered(101, 5), 256), "train sequences have 10 bytes, test sequences 5"),
    ):
        with pytest.raises(DataError, match=expected):
            check(splits)


def test_text_is_a_builder() -> None:
    assert BUILDERS["text"] is text
