"""Lottery tickets: what is kept and rewound, and that a run in rounds can be resumed anywhere."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from dstrun.methods.imp import IMP
from dstrun.training.divergence import find_first_nonfinite
from dstrun.training.loop import Progress, Record
from dstrun.training.prepare import prepare
from dstrun.training.run import run
from dstrun.training.trainer import Trainer
from tests.helpers.commands import Command
from tests.helpers.matrix import WEIGHTS, Matrix
from tests.helpers.tiny import config, tiny, training  # noqa: F401

STEPS = 6  # an epoch, of the tiny data
TINY: dict[str, Any] = {  # epochs 0 1 2, 1 2, 1 2: 7 of them, 42 steps
    "reg__method": "imp",
    "reg__density": 0.25,
    "reg__rounds": 2,
    "reg__rewind_epoch": 1,
    "schedule__epochs": 3,
    "schedule__momentum": 0.5,
    "schedule__lr": 0.1,
    "schedule__rate": "cosine",
    "data__args": {"dot": False},
    "data__pad": 1,
}


def trained_to(matrix: Matrix, weights: Tensor) -> Tensor:
    """Set the weights as if a round had ended with them; pruned ones stay 0."""
    weights = weights * matrix.layer.mask.keep
    matrix.weight.data.copy_(weights)
    matrix.momentum.fill_(3.0)
    return weights


def test_each_pruning_keeps_the_highest_of_the_round_and_rewinds_them_to_the_start() -> None:
    """Density 1/4 by two prunings of a half each: 16 → 8 → 4.

    Trained magnitudes are 17 − |W| in round 0, so that 1 to 8 of W are kept, and |W| in round 1, so
    that 5 to 8 of these are.
    """
    matrix = Matrix(IMP(0.25, rounds=2), steps=6)
    assert matrix.method.rounds == 3
    matrix.step(0)
    trained_to(matrix, 17 - WEIGHTS.abs())
    matrix.method.end_round(0)
    assert matrix.kept() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert matrix.weight.equal(WEIGHTS * (WEIGHTS.abs() <= 8))
    assert not matrix.momentum.any()
    matrix.step(2)
    trained_to(matrix, 100 * WEIGHTS.abs())
    matrix.method.end_round(1)
    assert matrix.kept() == [5, 6, 7, 8]
    assert matrix.weight.equal(WEIGHTS * ((WEIGHTS.abs() >= 5) & (WEIGHTS.abs() <= 8)))
    assert not matrix.momentum.any()


def test_weights_are_rewound_to_the_beginning_of_the_epoch_asked_for() -> None:
    """Two steps an epoch: those of step 2 are kept, in front of it."""
    matrix = Matrix(IMP(0.25, rounds=2, rewind_epoch=1), steps=6)
    for step in range(4):
        matrix.weight.data.copy_(WEIGHTS + step)
        matrix.step(step)
    matrix.method.end_round(0)
    keep = matrix.layer.mask.keep
    assert matrix.weight.equal((WEIGHTS + 2) * keep)
    assert keep.sum() == 8


def test_with_learning_rate_rewinding_weights_stay_and_momentum_does_not() -> None:
    matrix = Matrix(IMP(0.25, rounds=2, rewind="learning_rate"), steps=6)
    matrix.step(0)
    weights = trained_to(matrix, 17 - WEIGHTS.abs())
    matrix.method.end_round(0)
    assert matrix.weight.equal(weights * (WEIGHTS.abs() <= 8))
    assert not matrix.momentum.any()


def states(
    stop: Any = lambda progress: False, begun: Trainer | None = None
) -> tuple[list[Record], list[dict[str, Any]], Trainer]:
    """Return records, the state at each of them, and the trainer at the end of the run."""
    trainer = begun or training(**TINY)
    records, found = [], []
    for record in trainer.records(stop):
        records.append(record)
        found.append(copy.deepcopy(trainer.state_dict()))
    return records, found, trainer


def own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(".mask.keep")}


@pytest.mark.usefixtures("tiny")
def test_a_run_rewinds_everything_but_masks_and_repeats_data_and_learning_rate() -> None:
    """Rounds of epochs 0 1 2, 1 2, 1 2; the weights of a round's start are those after epoch 0."""
    wanted = config(**TINY)
    trainer = Trainer(wanted, prepare(wanted))
    orders: list[list[int]] = []
    starts: list[dict[str, Tensor]] = []
    end_round = trainer.method.end_round

    def rewound(number: int) -> None:
        end_round(number)
        starts.append(copy.deepcopy(trainer.model.state_dict()))
        assert not any(
            value["momentum_buffer"].any()
            for value in trainer.update.optimiser.state_dict()["state"].values()
        )

    trainer.method.end_round = rewound  # type: ignore[method-assign]
    records, found, _ = states(begun=trainer)
    training_batches = [images for images, is_training, _ in trainer.model.batches if is_training]
    for epoch in range(7):
        own_batches = training_batches[epoch * STEPS : (epoch + 1) * STEPS]
        orders.append([number for batch in own_batches for number in batch])
    assert orders[3:5] == orders[5:7] == orders[1:3] != orders[0:2]
    rates = [record.figures["lr"] for record in records]
    assert rates[3:5] == rates[5:7] == rates[1:3]
    assert [(record.epoch, record.step) for record in records] == [
        (epoch, epoch * STEPS) for epoch in range(1, 8)
    ]
    total = sum(layer.total for layer in records[0].layers)
    assert [sum(layer.kept for layer in record.layers) for record in records] == [
        *[total] * 3,
        *[round(total / 2)] * 2,
        *[round(total / 4)] * 2,
    ]
    first = found[0]["model"]
    assert len(starts) == 2
    for start in starts:
        for name, value in own(start).items():
            layer, _, part = name.rpartition(".")
            keep = start.get(f"{layer}.mask.keep") if part == "weight" else None
            assert value.equal(first[name] if keep is None else first[name] * keep), name


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("rewind", "step"),
    [
        pytest.param("weights", 4, id="before the weights to rewind to"),
        pytest.param("weights", 3 * STEPS, id="in a round's last step"),
        pytest.param("learning_rate", 3 * STEPS, id="in a round's last step, weights kept"),
        pytest.param("weights", 3 * STEPS + 1, id="in a round's first step"),
    ],
)
def test_a_resumed_run_goes_on_as_if_nothing_had_been(
    monkeypatch: pytest.MonkeyPatch, rewind: str, step: int
) -> None:
    """At a pause after that step, and at the end of the epoch after it."""
    monkeypatch.setitem(TINY, "reg__rewind", rewind)
    whole, _, end = states()
    _, found, _ = states(lambda progress: progress.step == step)
    wanted = config(**TINY)
    at_pause = next(place for place, one in enumerate(found) if one["progress"]["batch"])
    for state in found[at_pause : at_pause + 2]:
        epochs = state["progress"]["epoch"]
        resumed, _, then = states(begun=Trainer(wanted, prepare(wanted), copy.deepcopy(state)))
        assert [record.layers for record in resumed] == [record.layers for record in whole[epochs:]]
        for ours, theirs in zip(resumed, whole[epochs:], strict=True):
            for figure in ("train_loss", "test_loss", "lr", "density"):
                assert ours.figures[figure] == theirs.figures[figure]
        for ours_, theirs_ in zip(
            then.model.state_dict().values(), end.model.state_dict().values(), strict=True
        ):
            assert ours_.equal(theirs_)


@pytest.mark.usefixtures("tiny")
def test_the_search_for_a_divergence_repeats_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of round 0, whose masks have not moved yet, into round 1."""
    weights: list[Tensor] = []

    def note(progress: Progress) -> bool:
        weights.append(trainer.model.fc.weight.detach().clone())  # type: ignore[attr-defined]
        return False

    trainer = training(**TINY)
    _, found, _ = states(note, trainer)
    again: list[Tensor] = []
    monkeypatch.setattr(
        "dstrun.training.divergence.not_finite",
        lambda model: again.append(model.fc.weight.detach().clone()) or [],
    )
    find_first_nonfinite(trainer, found[2], 4 * STEPS, lambda: False)
    assert len(again) == STEPS
    for ours, theirs in zip(again, weights[3 * STEPS : 4 * STEPS], strict=True):
        assert ours.equal(theirs)


@pytest.mark.usefixtures("tiny")
def test_console_and_status_say_how_many_rounds_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(config(**TINY), default_group="single")
    said = capsys.readouterr().out
    lines = [line.rstrip() for line in said.splitlines() if line.startswith("epoch ")]
    assert [line.partition(" s  ")[2] for line in lines] == [
        *("round 1 of 3", "", ""),
        *("round 2 of 3", ""),
        *("round 3 of 3", ""),
    ]
    assert all(line.startswith(f"epoch {epoch}/7") for epoch, line in enumerate(lines, 1))
    assert "3 rounds of 3 epochs of 6 steps" in said
    (status,) = Path("outputs").rglob("status.json")
    assert json.loads(status.read_text())["epochs"] == 7
    assert (
        "imp, density 25.00% (global) by 2 prunings of 50.00%, weights rewound to epoch 1" in said
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "reg.rounds: reg=imp needs a number of prunings, such as reg.rounds=3"),
        (
            ["reg.rounds=2", "reg.rewind_epoch=5", "schedule.epochs=5"],
            "reg.rewind_epoch: got 5 with schedule.epochs=5, expected an earlier one",
        ),
    ],
)
def test_rounds_that_cannot_be_are_refused(command: Command, words: list[str], said: str) -> None:
    outcome = command("reg=imp", "reg.density=0.1", *words)
    assert (outcome.code, outcome.err) == (2, f"dstrun: {said}\n")
    assert not Path("outputs").exists()


def test_at_least_one_pruning() -> None:
    with pytest.raises(ValueError, match=r"^rounds: got 0"):
        IMP(0.1, rounds=0)


def test_what_it_does_is_told() -> None:
    assert IMP(0.25, rounds=2, rewind="learning_rate", scope="layer").describe() == (
        "imp, density 25.00% (layer) by 2 prunings of 50.00%, learning rate rewound to the start"
    )
