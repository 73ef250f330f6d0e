"""A checkpoint, the one before it, and what is told of one that cannot be read or written."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dstrun.runs import checkpoint
from dstrun.runs.checkpoint import LaterFormatError, list_checkpoints, load
from dstrun.system.run_files import CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE

HERE = Path()


def steps() -> list[int]:
    return [load(path)["step"] for path in list_checkpoints(HERE)]


def test_the_one_before_is_kept_until_the_last() -> None:
    assert list_checkpoints(HERE) == []
    for step in (1, 2, 3):
        checkpoint.save(HERE, {"model": {}, "step": step})
    assert steps() == [3, 2]
    checkpoint.save_last(HERE, {"model": {}, "step": 4})
    assert steps() == [4]
    checkpoint.save(HERE, {"model": {}, "step": 5})
    (HERE / CHECKPOINT_FILE).unlink()
    assert [path.name for path in list_checkpoints(HERE)] == [PREVIOUS_CHECKPOINT_FILE]
    checkpoint.remove(HERE)
    assert list_checkpoints(HERE) == []


def test_a_checkpoint_comes_back_as_it_was_saved() -> None:
    checkpoint.save(HERE, {"model": {"weight": torch.arange(3.0)}, "names": ["a"]})
    state = load(HERE / CHECKPOINT_FILE)
    assert (state["format"], state["names"]) == (1, ["a"])
    assert state["model"]["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "there is no checkpoint checkpoint.pt"),
        (b"PK", ValueError, "checkpoint.pt cannot be read (BadZipFile)"),
        ([1], ValueError, "checkpoint.pt is no checkpoint of a run"),
        ({"step": 1}, ValueError, "checkpoint.pt is no checkpoint of a run"),
        ({"model": Path()}, ValueError, "checkpoint.pt cannot be read (UnpicklingError)"),
        (
            {"model": {}, "format": 2},
            LaterFormatError,
            "a later dstrun (format 2, this one reads up to 1)",
        ),
    ],
)
def test_what_cannot_be_gone_on_from(content: Any, error: type[Exception], message: str) -> None:
    if isinstance(content, bytes):
        Path(CHECKPOINT_FILE).write_bytes(content)
    elif content is not None:
        torch.save(content, CHECKPOINT_FILE)
    with pytest.raises(error) as refused:
        load(HERE / CHECKPOINT_FILE)
    assert message in str(refused.value)


def test_one_of_an_early_version_has_no_format() -> None:
    torch.save({"model": {}}, CHECKPOINT_FILE)
    assert load(HERE / CHECKPOINT_FILE) == {"model": {}}


@pytest.mark.parametrize(
    ("cause", "raised"), [(OSError("disk full"), OSError), (ValueError(), RuntimeError)]
)
def test_a_full_disk_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, raised: type
) -> None:
    """Which torch reports as an error in its archive, from another of its kind."""

    def fail(*_: object) -> None:
        try:
            raise RuntimeError("unexpected position") from cause
        except RuntimeError as first:
            raise RuntimeError("in archive") from first

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(raised):
        checkpoint.save(HERE, {"model": {}})
    assert not list(HERE.iterdir())


def test_generators_go_on_where_they_were() -> None:
    device = torch.device("cpu")
    state = checkpoint.generators(device)
    assert set(state) == {"cpu"}
    drawn = torch.rand(3)
    checkpoint.set_generators(state, device)
    assert torch.equal(torch.rand(3), drawn)
    checkpoint.set_generators(
        state | {"cuda": torch.zeros(1)}, device
    )  # begun on a GPU, resumed without one


def test_a_bit_that_has_turned_among_the_weights_is_damage() -> None:
    checkpoint.save(HERE, {"model": {"weight": torch.ones(1000)}})
    content = bytearray(Path(CHECKPOINT_FILE).read_bytes())
    place = content.index(torch.ones(10).numpy().tobytes()) + 2000
    content[place] ^= 1
    Path(CHECKPOINT_FILE).write_bytes(content)
    assert torch.load(CHECKPOINT_FILE, weights_only=True)["model"]["weight"].numel() == 1000, (
        "which torch reads all the same"
    )
    with pytest.raises(ValueError, match=r"^checkpoint.pt is damaged \(.*/data/0\)$"):
        load(HERE / CHECKPOINT_FILE)
