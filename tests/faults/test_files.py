"""Files of runs, damaged at random: readers report the damage, or read what was written."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from dstrun.compare import aggregate
from dstrun.compare.labels import with_labels
from dstrun.compare.report.table import lines
from dstrun.compare.run_tables import Store
from dstrun.runs import checkpoint
from tests.helpers.commands import Command, Trained

FEW, MANY = 10, 10_000
SECONDS = 10  # of computing
QUICK = [
    "schedule.epochs=2",
    "data.train_limit=80",
    "data.test_limit=40",
    "schedule.batch_size=40",
    "threads=1",
]
STEERED = [*QUICK, "reg.target_density=0.2", "checkpoint.every=0"]
READ = ("config.yaml", "status.json", "metrics.csv", "layers.csv", "summary.json")
FIGURES = ["test_accuracy", "density", "kept", "total", "parameters_kept", "epoch"]


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return the content with some damage.

    Bits flipped, bytes lost, inserted or doubled, the end cut off, or a piece replaced.
    """
    at = chance.randrange(len(content) + 1)
    end = min(len(content), at + chance.choice([1, 1, 2, 8, 100, 4096]))
    kind = chance.randrange(8)
    if kind == 0 and at < len(content):
        return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content[end:]
    if kind == 3:
        return content[:end] + content[at:]
    if kind == 4:
        odd = [
            b"\0",
            b"nan",
            b"1e999",
            b"-",
            b"9" * 400,
            b'"',
            b",",
            b"\n",
            b"\xff\xfe",
            b"&a [*a]",
            b"!!python/object:os.x",
        ]
        return content[:at] + chance.choice(odd) + content[at:]
    if kind == 5:
        return content[:at] + chance.randbytes(end - at) + content[end:]
    if kind == 6:
        digit = [place for place, byte in enumerate(content[:20_000]) if chr(byte).isdigit()]
        place = chance.choice(digit) if digit else at
        return content[:place] + str(chance.randrange(10)).encode() + content[place + 1 :]
    return chance.choice([b"", b"{}", b"[]", b"null", b"0", b"\n" * 50, b"PK\3\4", content * 2])


@pytest.fixture
def finished(trained: Trained) -> Path:
    """Return the folder of a run that has trained two epochs."""
    trained(*STEERED)
    (folder,) = Path("outputs/single").iterdir()
    return folder


def figures(store: Store) -> pd.DataFrame:
    return store.runs[[*FIGURES, "reg.target_density", "seed", "setting"]].reset_index(drop=True)


def try_readers(folder: Path, count: int, chance: random.Random) -> dict[str, int]:
    """Return how many of the damaged files the store of runs has noticed."""
    whole = Store([folder.parent])
    wanted, layers = figures(whole), whole.layers().drop(columns="run")
    originals = {name: (folder / name).read_bytes() for name in READ}
    outcome = dict.fromkeys(("reported", "as before", "not taken for a run"), 0)
    for _ in range(count):
        name = chance.choice(READ)
        (folder / name).write_bytes(damage(originals[name], chance))
        started = time.process_time()
        store = Store([folder.parent])
        read = store.layers()
        if len(store.runs):
            runs = with_labels(store.runs)
            lines(aggregate.by_setting(runs), ["accuracy", "density", "seconds"])
        assert time.process_time() - started < SECONDS, name
        if not len(store.runs):
            outcome["not taken for a run"] += 1
        elif store.notes or store.runs["state"].iloc[0] != "finished":
            outcome["reported"] += 1
        else:
            pd.testing.assert_frame_equal(figures(store), wanted)
            pd.testing.assert_frame_equal(read.drop(columns="run"), layers)
            outcome["as before"] += 1
        (folder / name).write_bytes(originals[name])
    return outcome


def try_checkpoints(path: Path, count: int, chance: random.Random) -> dict[str, int]:
    """Check that each is rejected, or read as it was saved."""
    original, wanted = path.read_bytes(), checkpoint.load(path)
    outcome = dict.fromkeys(("refused", "as before"), 0)
    for _ in range(count):
        path.write_bytes(damage(original, chance))
        started = time.process_time()
        try:
            state = checkpoint.load(path)
        except ValueError:
            outcome["refused"] += 1
        else:
            assert_same(state, wanted)
            outcome["as before"] += 1
        assert time.process_time() - started < SECONDS
    path.write_bytes(original)
    return outcome


def assert_same(found: object, wanted: object) -> None:
    if isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found, wanted)
    else:
        assert found == wanted


def try_commands(command: Callable, folder: Path, count: int, chance: random.Random) -> None:
    """Run the same command on a damaged run: it succeeds or reports in one line why not."""
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    for _ in range(count):
        name = chance.choice([*READ, "checkpoint.pt", "train.log"])
        (folder / name).write_bytes(damage((kept / name).read_bytes(), chance))
        if chance.random() < 0.5 and name != "status.json":
            (folder / "status.json").unlink()
        started = time.process_time()
        outcome = command(*STEERED)
        assert time.process_time() - started < SECONDS
        assert outcome.code in (0, 2), (name, outcome)
        assert "Traceback" not in outcome.out + outcome.err
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
    shutil.rmtree(kept)


@pytest.mark.slow
def test_a_few_damaged_files(finished: Path) -> None:
    outcome = try_readers(finished, FEW, random.Random(0))
    assert outcome["reported"] > FEW / 2
    assert try_checkpoints(finished / "checkpoint.pt", FEW, random.Random(0))["refused"] > FEW / 2


@pytest.mark.faults
def test_thousands_of_damaged_files(finished: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    print(try_readers(finished, MANY, random.Random(seed)))
    print(try_checkpoints(finished / "checkpoint.pt", MANY, random.Random(seed)))


@pytest.mark.faults
def test_a_damaged_run_started_again(command: Command, finished: Path) -> None:
    try_commands(command, finished, 300, random.Random())


def test_no_damaged_config_makes_code_run(command: Command, finished: Path) -> None:
    (finished / "config.yaml").write_text("!!python/object/apply:os.system ['touch ran']")
    for words in (["report"], STEERED, ["rerun", str(finished)], ["eval", str(finished)]):
        outcome = command(*words)
        assert outcome.code == (0 if words == ["report"] else 2)
        assert "Traceback" not in outcome.err
        assert not Path("ran").exists()
