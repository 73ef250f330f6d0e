"""The average of the weights: its arithmetic, what is evaluated, saved and read, and resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dstrun.config.check import check
from dstrun.export.load import load
from dstrun.export.masks import read_masks
from dstrun.methods.dst import compiled_masks
from dstrun.runs import checkpoint
from dstrun.system.errors import InputError
from dstrun.training.average import NO_AVERAGE, Average
from dstrun.training.evaluate import evaluate
from dstrun.training.loop import Record
from dstrun.training.prepare import prepare
from dstrun.training.run import evaluate_run, run
from dstrun.training.trainer import Trainer
from tests.helpers.methods import NAMES, config_options
from tests.helpers.runs import rows
from tests.helpers.tiny import BASE, config, tiny, training  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")


def number(value: float) -> nn.Module:
    """Return a module whose only parameter is a number."""
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(value)
    return module


def average_of(values: list[float], decay: float) -> float:
    """Return the average of a weight that is 0 at the start and then takes the values."""
    module = number(0.0)
    average = Average(module, decay)
    for value in values:
        module.weight.data.fill_(value)
        average.update()
    with average.in_model():
        return module.weight.item()


def test_the_average_follows_its_formula() -> None:
    """d = 1/10 in step 0, 2/11 in step 1, 3/12 in step 2, where they are below the decay."""
    assert average_of([10.0], 0.9) == pytest.approx(9.0)
    assert average_of([10.0, 20.0], 0.9) == pytest.approx(9.0 * 2 / 11 + 20.0 * 9 / 11)
    assert average_of([10.0, 20.0], 0.125) == pytest.approx((10.0 * 0.9) * 0.125 + 20.0 * 0.875)
    assert average_of([1.0] * 999 + [0.0], 0.5) == pytest.approx(0.5)


def test_the_model_has_the_average_for_a_time_and_then_its_own_weights_in_their_place() -> None:
    """In the same memory and version, so that compiled code and autograd find them as they were."""
    module = number(0.0)
    average, weight = Average(module, 0.9), module.weight
    weight.data.fill_(10.0)
    average.update()
    before = weight.data_ptr(), weight._version
    with average.in_model():
        assert weight.item() == pytest.approx(9.0)
    assert (weight.item(), (weight.data_ptr(), weight._version)) == (10.0, before)
    average.keep()
    assert weight.item() == pytest.approx(9.0)


def test_parameters_and_statistics_of_batch_norm_are_averaged_and_no_other_buffer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer("other", torch.ones(2))
    model.add_module("twin", model[0])  # both names must lead to the average
    names = {*model.state_dict()} - {"other", "1.num_batches_tracked"}
    weights = Average(model, 0.5).state_dict()["weights"]
    assert {*weights} == names
    assert weights["twin.weight"] is weights["0.weight"]


def test_without_a_decay_nothing_is_averaged_or_saved() -> None:
    for none in (NO_AVERAGE, Average(number(1.0), 0.0)):
        none.update()
        none.restart()
        none.keep()
        assert none.state_dict() == {}
    assert training().state_dict()["average"] == {}


@pytest.mark.parametrize("value", [1.0, 1.5, -0.1, float("nan"), "often"])
def test_a_decay_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"schedule.ema: got .*, expected a number ≥ 0 and < 1"):
        check(BASE | {"schedule.ema": value})


SET = {"reg__method": "set", "reg__density": 0.3, "reg__every": 2}
LONG: dict[str, Any] = {"schedule__ema": 0.9, "schedule__lr": 0.5, "log__steps": 4}


def test_figures_are_those_of_the_average_and_training_is_as_without() -> None:
    """Loss, accuracy and rate of training do not change; held-out figures and masks do."""
    options = {"reg__alpha": 0.3, "schedule__epochs": 3} | LONG
    averaged, plain = (training(**options | {"schedule__ema": ema}) for ema in (0.9, 0.0))
    ours, theirs = ([*one.records(lambda _: False)] for one in (averaged, plain))
    for one, other in zip(ours, theirs, strict=True):
        assert (one.kind, one.step) == (other.kind, other.step)
        for name in ("train_loss", "train_accuracy", "penalty"):
            assert one.figures.get(name) == other.figures.get(name)
        assert kept(one) != kept(other)
        assert one.kind == "step" or one.figures["test_loss"] != other.figures["test_loss"]
    last = ours[-1]  # and the model in the end is what was measured
    assert [layer.kept for layer in averaged.method.measure()] == kept(last)
    found = evaluate(averaged.model, averaged._splits["test"]())
    assert found == (last.figures["test_loss"], last.figures["test_accuracy"])


def kept(record: Record) -> list[int]:
    return [layer.kept for layer in record.layers]


def test_an_average_begins_anew_where_a_round_rewinds_weights() -> None:
    """At the first step of the next round it is 1/10 of the rewound weights and 9/10 of the new."""
    options = {"reg__method": "imp", "reg__density": 0.5, "reg__rounds": 1, "schedule__epochs": 1}
    trainer = training(**options, **LONG)
    begun = trainer.model.fc.bias.detach().clone()
    for record in trainer.records(lambda progress: progress.step == 7):
        if record.step == 7:
            now = trainer.model.fc.bias.detach().clone()
            with trainer.average.in_model():
                torch.testing.assert_close(trainer.model.fc.bias, begun * 0.1 + now * 0.9)


def test_masks_computed_for_the_next_step_are_those_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With compile=mask they wait while the average is in the model."""
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    monkeypatch.setattr(compiled_masks, "compiled", lambda function, device: function)
    results = []
    for compile in ("mask", "off"):
        trainer = training(schedule__compile=compile, reg__alpha=0.3, **LONG)
        rows = [record.figures for record in trainer.records(lambda _: False)]
        results.append([figures["test_loss"] for figures in rows if figures])
    assert results[0] == pytest.approx(results[1], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("options", [{"reg__target_density": 0.4}, SET])
def test_given_and_frozen_masks_prune_the_average_to_the_density_asked_for(
    options: dict[str, Any],
) -> None:
    """Masks of now: those under the average's own thresholds, or all of late, keep other counts."""
    results = []
    for ema in (0.99, 0.0):
        trainer = training(**options, schedule__epochs=5, schedule__lr=0.1, schedule__ema=ema)
        *_, last = trainer.records(lambda _: False)
        results.append(last)
    assert kept(results[0]) == kept(results[1])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("dst", "rigl", "imp")))
        for name in NAMES
    ],
)
def test_resumed_after_any_step_it_is_the_undisturbed_run(name: str) -> None:
    """Bit for bit, and given masks are those that the method has in the end."""
    wanted = check(
        BASE
        | {"schedule.momentum": 0.9, "log.steps": 2, "schedule.ema": 0.9}
        | {"schedule.accumulate": 2, "schedule.lr": 0.1}
        | config_options(name)
    )
    whole = Trainer(wanted, prepare(wanted))
    records, saved = [], {}
    for record in whole.records(lambda progress: progress.step in (1, 6, 9)):
        records.append(figures_of(record))
        if record.kind == "pause":
            Path(str(record.step)).mkdir()
            checkpoint.save(Path(str(record.step)), whole.state_dict())
            saved[record.step] = len(records)
    assert len(saved) == 3
    for step, count in saved.items():
        state = checkpoint.load(Path(str(step)) / "checkpoint.pt")
        resumed = Trainer(wanted, prepare(wanted), state)
        rest = [figures_of(record) for record in resumed.records(lambda _: False)]
        assert rest == [one for one in records[count:] if one[0] != "pause"], f"from step {step}"
        for key, value in whole.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[key], value), key


def figures_of(record: Record) -> tuple:
    times = ("seconds", "images_per_second", "data_wait")
    figures = {name: one for name, one in record.figures.items() if name not in times}
    return record.kind, record.step, record.layers, figures


@pytest.mark.parametrize("options", [{"reg__alpha": 0.3}, SET])
def test_what_is_read_of_a_run_is_the_average(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its last checkpoint: weights, masks, the network without masks, and `eval`."""
    wanted = config(**options, **LONG)
    folder = run(wanted, default_group="single")
    (*_, last) = rows(folder / "metrics.csv")
    state = checkpoint.load_newest(folder)
    assert "average" not in state
    again = training(**options, **LONG)
    list(again.records(lambda _: False))
    for name, value in again.model.state_dict().items():
        assert torch.equal(state["model"][name], value)
    images = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(load(folder)(images), again.model.eval()(images))
    masks = read_masks(folder)
    density = sum(mask.sum() for mask in masks.values()) / sum(mask.size for mask in masks.values())
    assert float(last["density"]) == pytest.approx(density)
    capsys.readouterr()
    evaluate_run(folder, wanted)
    said = f"test accuracy {float(last['test_accuracy']):.2%}  "
    assert f"{said}test loss {float(last['test_loss']):.4f}" in capsys.readouterr().out


def test_a_checkpoint_under_way_is_read_as_the_average_and_resumed_as_the_weights() -> None:
    trainer = training(**LONG)
    next(trainer.records(lambda progress: progress.step == 3))
    live = {name: one.clone() for name, one in trainer.model.state_dict().items()}
    Path("run").mkdir()
    checkpoint.save(Path("run"), trainer.state_dict())
    with trainer.average.in_model():
        averages = {name: one.clone() for name, one in trainer.model.state_dict().items()}
    read = checkpoint.load_newest(Path("run"))["model"]
    assert all(torch.equal(read[name], value) for name, value in averages.items())
    assert not torch.equal(read["fc.weight"], live["fc.weight"])
    resumed = checkpoint.load(Path("run/checkpoint.pt"))["model"]
    assert all(torch.equal(resumed[name], value) for name, value in live.items())
