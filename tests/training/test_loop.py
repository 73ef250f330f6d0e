"""What the loop says of an epoch, by an update that changes nothing and whose figures are known."""

import io
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.runs.rounds import Rounds
from dstrun.training.divergence import find_first_nonfinite
from dstrun.training.loop import Progress, Record, train
from dstrun.training.prepare import prepare
from dstrun.training.trainer import Trainer
from tests.helpers.tiny import TRAIN, config, tiny, training  # noqa: F401


class Batches:
    """Two batches an epoch, of 3 images and of 2, each filled with the epoch's number."""

    def __len__(self) -> int:
        return 2

    def size(self, batch: int) -> int:
        return (3, 2)[batch]

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        yield from [
            (torch.full((count, 4), float(epoch)), torch.zeros(count).long()) for count in (3, 2)
        ][start:]


class Counts:
    """Says of batch k, counted from 0 over the run, that its mean loss was k and one image right;
    keeps what it got.
    """

    autocast = staticmethod(nullcontext)

    def __init__(self) -> None:
        self.model, self.method = (
            nn.Sequential(nn.Linear(4, 5), nn.Embedding(1, 5)),
            DynamicSparseTraining(0.5),
        )
        self.method.prepare(self.model, past=[])
        self.model[0].mask.threshold.data.fill_(9.0)
        self.method.before_step = lambda step: self.steps.append(step)  # type: ignore[method-assign]
        self.steps: list[int] = []
        self.seen: list[tuple[float, int, float, bool]] = []

    def __call__(self, images: Tensor, labels: Tensor, lr: float, of: int) -> tuple[Tensor, Tensor]:
        self.seen.append((images[0, 0].item(), len(images), lr, self.model.training))
        return torch.tensor(float(len(self.seen) - 1)), torch.tensor(1)


def begun(update: Counts, progress: Progress, epochs: int = 1, **options: Any) -> Iterator[Record]:
    """Training whose learning rate is 1, 1/2, 1/3, …"""
    batches: Any = Batches()
    return train(
        update,
        batches,
        lambda step: 1 / (1 + step),
        {},
        rounds=Rounds(epochs),
        progress=progress,
        **options,
    )  # type: ignore[arg-type]


def trained(epochs: int = 2, **options: Any) -> tuple[Counts, list[Record]]:
    update = Counts()
    return update, list(begun(update, Progress(), epochs, **options))


def test_an_epochs_figures_are_means_over_its_images_and_its_rate_is_the_last_that_was_used() -> (
    None
):
    """Losses 0 and 1 of 3 images and 2, then 2 and 3; two of five right; rates 1, 1/2, 1/3, 1/4."""
    update, (first, second) = trained()
    assert update.seen == [
        (0, 3, 1, True),
        (0, 2, 1 / 2, True),
        (1, 3, 1 / 3, True),
        (1, 2, 1 / 4, True),
    ]
    assert update.steps == [0, 1, 2, 3]
    for record, expected in ((first, (1, 2, 1 / 2)), (second, (2, 4, 1 / 4))):
        assert (record.epoch, record.step, record.figures["lr"]) == expected
    assert (first.figures["train_loss"], second.figures["train_loss"]) == (2 / 5, 12 / 5)
    assert first.figures["train_accuracy"] == second.figures["train_accuracy"] == 2 / 5


def test_densities_with_and_without_what_has_no_mask() -> None:
    """Nothing is kept of 20 masked weights; 5 are left dense. Five thresholds of 9 are pushed up by
    exp(−9) each.
    """
    _, (*_, last) = trained()
    assert (last.figures["density"], last.figures["density_model"]) == (0, 5 / 25)
    assert (last.figures["penalty"], last.figures["alpha"]) == (
        pytest.approx(5 * 2.718281828**-9),
        0.5,
    )


def test_an_epoch_goes_on_where_it_was_left() -> None:
    """Left after its first batch, with what that batch came to."""
    update, progress = Counts(), Progress()
    pause = next(begun(update, progress, between_steps=lambda _: True))
    assert (pause.kind, pause.epoch, pause.step, pause.layers) == ("pause", 1, 1, [])
    (end,) = begun(update, Progress(**progress.state_dict()))
    assert [images for _, images, _, _ in update.seen] == [3, 2]
    assert (end.step, end.figures["train_loss"], end.figures["train_accuracy"]) == (2, 2 / 5, 2 / 5)


def test_layers_are_measured_at_every_so_many_updates_but_not_twice_at_an_epochs_end() -> None:
    _, records = trained(3, log_steps=3)
    assert [(record.kind, record.step) for record in records] == [
        ("epoch", 2),
        ("step", 3),
        ("epoch", 4),
        ("epoch", 6),
    ]
    assert [[layer.layer for layer in record.layers] for record in records] == [["0"]] * 4


def test_without_epochs_the_model_is_measured_once() -> None:
    _, (record,) = trained(0)
    assert (record.kind, record.epoch, record.step) == ("epoch", 0, 0)
    assert "train_loss" not in record.figures


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.usefixtures("tiny")
def test_seconds_are_those_of_updates_and_of_evaluation(
    monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """By a clock that goes on by one whenever it is read: once around the updates, or each of six,
    and once around the evaluation. What a caller does with a record takes no time of the run's.
    """
    trains = training(schedule__epochs=2)
    ticks = count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    epochs = []
    for record in trains.records(lambda _: paused):
        epochs += [record.figures] if record.kind == "epoch" else []
        next(ticks)
    updates = 7 if paused else 1  # six, and the end of the epoch
    assert [figures["seconds"] for figures in epochs] == [updates + 1] * 2
    assert [figures["images_per_second"] for figures in epochs] == [TRAIN / updates] * 2


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("step", [5, 6, 7])
@pytest.mark.parametrize("method", ["dense", "dst", "set"])
def test_figures_of_layers_are_the_same_in_a_run_that_was_resumed(method: str, step: int) -> None:
    """After any of two epochs of six steps; after the sixth the epoch's figures are still to come.

    Masks of SET move in every second step.
    """
    options = {"reg__method": method, "reg__density": 0.5 if method == "set" else 0}
    wanted = config(**options, reg__every=2, log__steps=4)
    prepared = prepare(wanted)
    whole, state = Trainer(wanted, prepared), io.BytesIO()
    records = []
    for record in whole.records(lambda progress: progress.step == step):
        records += [record] if record.kind != "pause" else []
        if record.kind == "pause":
            torch.save(whole.state_dict(), state)
            before = len(records)
    state.seek(0)
    resumed = Trainer(wanted, prepared, torch.load(state, weights_only=True), whole.data)
    rest = [record.layers for record in resumed.records(lambda _: False)]
    assert rest == [record.layers for record in records[before:]]
    assert all(layer.gradient_norm for layer in rest[0])


@pytest.mark.usefixtures("tiny")
def test_where_nothing_breaks_nothing_is_found_and_nothing_is_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trains = training(log__steps=1)
    with monkeypatch.context() as patch:  # no images but those that are there
        patch.setattr("dstrun.training.trainer.make_batches", lambda *_: 1 / 0)
        assert find_first_nonfinite(trains, None, 3, lambda: False) == (0, [])
    trains.model.batches.clear()
    records = list(trains.records(lambda _: False, evaluates=False))
    assert [record.kind for record in records] == ["epoch", "epoch"]
    assert all(is_training for _, is_training, _ in trains.model.batches)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("broken", "last", "given_up", "found"),
    [
        (3, 5, 9, (3, ["fc.weight"])),
        (6, 5, 9, (0, [])),
        (3, 5, 2, (0, [])),
        (9, 99, 99, (9, ["fc.weight"])),
    ],
    ids=["found", "later than asked for", "given up before", "in the second epoch"],
)
def test_where_a_weight_breaks_is_found_by_training_again(
    monkeypatch: pytest.MonkeyPatch,
    broken: int,
    last: int,
    given_up: int,
    found: tuple[int, list[str]],
) -> None:
    """Of twelve updates; what is looked at after each of them is counted."""
    looks, asked = count(1), count(1)
    monkeypatch.setattr(
        "dstrun.training.divergence.not_finite",
        lambda model: ["fc.weight"] * (next(looks) == broken),
    )
    assert find_first_nonfinite(training(), None, last, lambda: next(asked) >= given_up) == found
    assert next(looks) == min(broken, last, given_up) + 1


@pytest.mark.usefixtures("tiny")
def test_the_wait_for_data_is_a_share_of_the_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of clocks that go on by 14 and by 1 when read: one before, one after an epoch's updates; two
    for each of six batches, and for the end.
    """
    for name, step in (("time.perf_counter", 14), ("time.monotonic", 1)):
        ticks = count(step=step)
        monkeypatch.setattr(name, lambda ticks=ticks: float(next(ticks)))
    records = training(schedule__epochs=2).records(lambda _: False)
    assert [record.figures["data_wait"] for record in records] == [0.5, 0.5]
