"""What holds for every method of the registry, tried on a tiny network: see helpers/methods.py."""

import signal
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dstrun.config.check import check
from dstrun.config.options import Config
from dstrun.methods.fixed.mask import FixedMask
from dstrun.runs import checkpoint
from dstrun.training.loop import Record
from dstrun.training.prepare import prepare
from dstrun.training.trainer import Trainer
from tests.helpers.commands import Command
from tests.helpers.methods import FIXED, NAMES, config_options, words
from tests.helpers.runs import LONG, TIMES, assert_broken_equals_whole, kill_in_epoch, stop_at
from tests.helpers.tiny import BASE, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")


def config_of(name: str, **options: Any) -> Config:
    """Return the config of a run of 12 steps in two epochs, with momentum."""
    named = {key.replace("__", "."): value for key, value in options.items()}
    return check(BASE | {"schedule.momentum": 0.9, "log.steps": 2} | config_options(name) | named)


def trainer_of(wanted: Config, state: dict[str, Any] | None = None) -> Trainer:
    return Trainer(wanted, prepare(wanted), state)


def trained(trainer: Trainer, saves: Collection[int] = ()) -> tuple[list[Record], dict[int, int]]:
    """Train to the end; return the rows without times, and how many there were at each save.

    Checkpoints are written after the steps of `saves`, to folders of their numbers.
    """
    rows: list[Record] = []
    saved: dict[int, int] = {}
    for record in trainer.records(lambda progress: progress.step in saves):
        if record.kind != "pause":
            figures = {key: one for key, one in record.figures.items() if key not in TIMES}
            rows.append(replace(record, figures=figures))
        if record.step in saves and record.step not in saved:
            Path(str(record.step)).mkdir()
            checkpoint.save(Path(str(record.step)), trainer.state_dict())
            saved[record.step] = len(rows)
    return rows, saved


@pytest.mark.parametrize("name", NAMES)
def test_resumed_after_any_step_it_is_the_undisturbed_run(name: str) -> None:
    """Bit for bit: figures of all layers at every second step, accuracies, weights and masks.

    Between updates, in front of one, and at the end of an epoch.
    """
    wanted = config_of(name)
    whole = trainer_of(wanted)
    rows, saved = trained(whole, saves=(1, 4, 6, 9))
    for step, count in saved.items():
        resumed = trainer_of(wanted, checkpoint.load_newest(Path(str(step))))
        assert trained(resumed)[0] == rows[count:], f"from step {step}"
        assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert len(saved) == 4


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("name", FIXED)
def test_weights_kept_at_0_train_as_their_product_with_the_mask(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: in training a pruned weight is 0 already."""
    wanted = config_of(name, schedule__weight_decay=0.1)
    without = trainer_of(wanted)
    assert all(layer.mask.holds_zeros for layer in without.method.layers)
    rows, _ = trained(without)
    monkeypatch.setattr(FixedMask, "holds_zeros", property(lambda _: False, lambda *_: None))
    with_product = trainer_of(wanted)
    assert trained(with_product)[0] == rows
    assert_same(with_product.model.state_dict(), without.model.state_dict())


def test_pruned_weights_that_go_on_learning_are_masked() -> None:
    trainer = trainer_of(config_of("gmp", reg__regrow=True, reg__start=0.0, reg__until=0.5))
    trained(trainer)
    for layer in trainer.method.layers:
        assert layer.weight[~layer.mask.keep].any()
        for mode in (True, False):
            masked = layer.mask.train(mode)(layer.weight)
            assert torch.equal(masked != 0, layer.mask.keep)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_killed_and_started_again_it_is_the_undisturbed_run(
    name: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*LONG, *words(name), "schedule.ema=0.9"]
    assert command(*asked, "group=whole").code == 0
    assert stop_at(command, monkeypatch, 14, signal.SIGTERM, asked).code != 0
    kill_in_epoch(3, asked)
    assert command(*asked, "group=broken").code == 0
    assert_broken_equals_whole()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"schedule__accumulate": 2, "schedule__clip": 0.1},
    {"schedule__precision": "bf16", "schedule__channels_last": True},
    {"schedule__optimiser": "adam"},
    {"schedule__optimiser": "adamw", "schedule__nesterov": True},
]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, marks=[pytest.mark.slow] * bool(options and name != "rigl"))
        for name in FIXED
        for options in OPTIONS
    ],
)
def test_pruned_weights_are_0_without_momentum(name: str, options: dict[str, Any]) -> None:
    """After 30 steps with weight decay, which would move them, in masks that have moved."""
    wanted = config_of(name, schedule__epochs=5, schedule__weight_decay=0.1, **options)
    trainer = trainer_of(wanted)
    trained(trainer)
    assert trainer.progress.step >= 30
    pruned = 0
    for layer in trainer.method.layers:
        moments = trainer.method.moments(layer)
        assert len(moments) == (2 if "adam" in wanted.schedule.optimiser else 1)
        if trainer.method.has_dense_momentum:  # which is what it grows by
            moments = []
        for tensor in (layer.weight, *moments):
            assert not tensor[~layer.mask.keep].any(), layer.name
        pruned += int((~layer.mask.keep).sum())
    assert pruned > 0.6 * 108
