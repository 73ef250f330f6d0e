"""The comparison of a compiled step with an uncompiled one; what stands for compiled code is here
the code itself, with or without a fault. Compiled for real: tests/methods/test_compiled.py.
"""

import copy
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.config.options import Config
from dstrun.methods.dst import masking
from dstrun.system.errors import RunFailedError
from dstrun.training.compile_check import CompiledStepError, compare_with_eager, differences
from dstrun.training.prepare import prepare
from dstrun.training.ranks import Ranks
from dstrun.training.run import run
from dstrun.training.trainer import Trainer
from tests.helpers.methods import NAMES, config_options
from tests.helpers.tiny import Tiny, config, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")
Function = Callable[..., Any]


def compile_to(monkeypatch: pytest.MonkeyPatch, made: Callable[[Function], Function]) -> None:
    """Let `made(function)` stand for what the compiler makes of a function."""
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    for place in ("compiled_masks", "method"):
        monkeypatch.setattr(f"dstrun.methods.dst.{place}.compiled", lambda one, _: made(one))
    monkeypatch.setattr(torch, "compile", lambda function, **_: made(function))


def faithful(function: Function) -> Function:
    return function


def losing(function: Function) -> Function:
    """Return the function without the gradients of weights through their masks."""

    def lost(grad: Tensor, weight: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(weight), right(grad, weight, threshold)[1]

    def call(*args: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(masking, "gradients", lost)
            return function(*args)

    right = masking.gradients
    return call


def drawing(function: Function) -> Function:
    """Return the function with other random numbers."""

    def call(*args: Any) -> Any:
        torch.manual_seed(1234)
        return function(*args)

    return call


def trainer_of(wanted: Config, state: dict[str, Any] | None = None) -> Trainer:
    return Trainer(wanted, prepare(wanted), state)


def compared(wanted: Config, trainer: Trainer) -> str:
    return compare_with_eager(wanted, prepare(wanted), trainer)


def values(state: Any) -> list[Tensor]:
    """Return all tensors of a state in order, without those that are 0, as none is."""
    if isinstance(state, Tensor):
        return [state] if state.any() else []
    parts = state.values() if isinstance(state, dict) else state
    found = []
    for part in parts if isinstance(parts, list | tuple) or isinstance(state, dict) else ():
        found += values(part)
    return found


OPTIONS: list[dict[str, Any]] = [
    {"schedule__momentum": 0.9},
    {"schedule__momentum": 0.0, "reg__target_density": 0.5, "reg__alpha": 0.1},
    {"schedule__optimiser": "adam", "schedule__accumulate": 2},
    {"schedule__momentum": 0.9, "reg__method": "dense", "schedule__clip": 0.5},
]


OF_METHODS = [
    pytest.param(
        "step",
        {**config_options(name), "schedule__momentum": 0.9},
        marks=[pytest.mark.slow] * (name != "rigl"),
        id=name,
    )
    for name in NAMES
]


@pytest.mark.parametrize(
    ("compile", "options"),
    [*product(("mask", "step"), OPTIONS), *OF_METHODS],
)
def test_training_after_the_comparison_is_training_without_it(
    monkeypatch: pytest.MonkeyPatch, compile: str, options: dict[str, Any]
) -> None:
    """Also where a run resumes, with moments and batch statistics that are not 0."""
    compile_to(monkeypatch, faithful)
    wanted = config(schedule__compile=compile, **options)
    ends = []
    for compares in (False, True):
        trainer = trainer_of(wanted)
        for stop in (0, 3):
            if compares:
                before = copy.deepcopy(trainer.state_dict())
                assert "equal to those of an uncompiled step within" in compared(wanted, trainer)
                now = values(trainer.state_dict())
                assert len(now) == len(values(before)) > 6
                assert all(map(torch.equal, now, values(before)))
            for record in trainer.records(lambda progress, stop=stop: progress.step == stop + 3):
                if record.kind == "pause":
                    break
            trainer = trainer_of(wanted, copy.deepcopy(trainer.state_dict()))
        ends.append(values(trainer.state_dict()))
    assert all(map(torch.equal, *ends))


def test_another_rank_than_the_first_keeps_its_own_random_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Second(Ranks):
        def gather(self, state: Any) -> list[Any]:
            return [first, state]

        def average_(self, tensors: Any) -> None: ...
        def broadcast_(self, tensors: Any) -> None: ...

    compile_to(monkeypatch, faithful)
    wanted = config(schedule__compile="step")
    first = {"cpu": torch.get_rng_state()}
    trainer = Trainer(wanted, prepare(wanted), ranks=Second(1, 2))
    own = torch.get_rng_state()
    assert "equal to those" in compared(wanted, trainer)
    assert torch.equal(torch.get_rng_state(), own)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("compile", ["mask", "step"])
@pytest.mark.parametrize(
    ("options", "resumes"),
    [*[(options, False) for options in OPTIONS[:3]], (OPTIONS[0], True), (OPTIONS[2], True)],
)
def test_a_lost_gradient_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    compile: str,
    precision: str,
    options: dict[str, Any],
    resumes: bool,
) -> None:
    """Also where a run resumes with moments, which hold much of what a step moves."""
    wanted = config(schedule__compile=compile, schedule__precision=precision, **options)
    compile_to(monkeypatch, faithful)
    begun = trainer_of(wanted)
    for _ in zip(range(resumes), begun.records(lambda progress: progress.step == 3), strict=False):
        pass
    compile_to(monkeypatch, losing)
    trainer = trainer_of(wanted, begun.state_dict())
    assert trainer.progress.step == 3 * resumes
    said = {
        "fp32": "relative difference 1, at most 0.1 is rounding",
        "bf16": "1 − cosine 1, at most 0.5 is rounding",
    }
    with pytest.raises(CompiledStepError) as failed:
        compared(wanted, trainer)
    assert str(failed.value) == (
        f"schedule.compile={compile}: the compiled step has other gradients of weights than the "
        f"uncompiled one, with torch {torch.__version__}: {said[precision]}; "
        "schedule.compile=off trains as it should"
    )


def test_a_run_whose_step_is_compiled_to_another_one_fails_before_it_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_to(monkeypatch, losing)
    with pytest.raises(RunFailedError, match="other gradients of weights"):
        run(config(schedule__compile="step"), default_group="single")
    (status,) = Path("outputs").rglob("status.json")
    assert json.loads(status.read_text())["state"] == "failed"
    assert len((status.parent / "metrics.csv").read_text().splitlines()) == 1, "rows were trained"
    assert "other gradients of weights" in capsys.readouterr().out


def test_a_difference_in_a_single_batch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled sum that falls on the other side of a limit is no wrong gradient."""
    calls = []

    def wrong_once(function: Function) -> Function:
        def call(*args: Any) -> Any:
            calls.append(1)
            return (losing if len(calls) == 1 else faithful)(function)(*args)

        return call

    compile_to(monkeypatch, wrong_once)
    wanted = config(schedule__compile="step")
    assert "within" in compared(wanted, trainer_of(wanted))
    assert len(calls) == 4, "two steps, and the reset of thresholds in each"


@pytest.mark.parametrize(("drops", "said"), [(True, "not compared"), (False, "equal to those")])
def test_a_network_that_draws_random_numbers_is_not_compared(
    monkeypatch: pytest.MonkeyPatch, drops: bool, said: str
) -> None:
    def build(shape: tuple[int, int, int], classes: int, **_: Any) -> nn.Module:
        return nn.Sequential(Tiny(shape, 30), nn.Dropout(0.5 * drops), nn.Linear(30, classes))

    monkeypatch.setitem(models.BUILDERS, "tiny", build)
    compile_to(monkeypatch, drawing)
    wanted = config(schedule__compile="step")
    trainer = trainer_of(wanted)
    before = torch.get_rng_state()
    assert said in compared(wanted, trainer)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_little_memory_for_the_comparison_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    compile_to(monkeypatch, faithful)
    wanted = config(schedule__compile="step")
    prepared, trainer = prepare(wanted), trainer_of(wanted)
    monkeypatch.setattr("dstrun.training.step.Update.__call__", too_large)
    assert compare_with_eager(wanted, prepared, trainer).endswith("for which memory is too short")


def test_differences_are_relative_and_of_groups() -> None:
    """3-4-5 triangles: weights of norm 5 with one of 3 off; a bias beside a norm that dwarfs it."""
    theirs = {
        "a.weight": torch.tensor([[3.0]]),
        "b.weight": torch.tensor([[4.0]]),
        "a.mask.threshold": torch.tensor([[2.0]]),
        "a.bias": torch.tensor([1e-9]),
        "norm.weight": torch.tensor([1.0]),
    }
    ours = theirs | {"a.weight": torch.tensor([[6.0]]), "a.bias": torch.tensor([-1e-9])}
    found = differences(ours, theirs, "fp32")
    assert found["weights"] == pytest.approx(3 / 5)
    assert found["thresholds"] == 0
    assert found["other parameters"] == pytest.approx(2e-9)
    still = {"a.weight": torch.zeros(1, 1)}
    assert differences(still, still, "fp32") == differences(still, still, "bf16") == {"weights": 0}


@pytest.mark.parametrize(
    ("ours", "apart"), [([3.0, 4.0], 0), ([6.0, 8.0], 0), ([-8.0, 6.0], 1), ([0.0, 0.0], 1)]
)
def test_in_bf16_directions_are_compared(ours: list[float], apart: float) -> None:
    """Layers of a group are one vector: with one of two of equal length turned, a right angle."""
    theirs = {"a.weight": torch.tensor([[3.0, 4.0]])}
    found = differences({"a.weight": torch.tensor([ours])}, theirs, "bf16")
    assert found["weights"] == pytest.approx(apart, abs=1e-6)
    two = theirs | {"b.weight": torch.tensor([[5.0]])}
    lost = theirs | {"b.weight": torch.tensor([[-5.0]])}
    assert differences(lost, two, "bf16")["weights"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["weight", "mask.threshold", "bias"])
def test_a_gradient_that_is_nan_is_no_small_difference(name: str) -> None:
    theirs = {"weight": torch.ones(2, 2), "mask.threshold": torch.ones(2), "bias": torch.ones(2)}
    ours = theirs | {name: torch.full_like(theirs[name], float("nan"))}
    for precision in ("fp32", "bf16"):
        assert max(differences(ours, theirs, precision).values()) == float("inf")


def test_gradients_that_are_no_numbers_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_to(monkeypatch, faithful)
    wanted = config(schedule__compile="step")
    trainer = trainer_of(wanted)
    with torch.no_grad():
        trainer.model.get_parameter("fc.bias").fill_(float("nan"))
    assert compared(wanted, trainer).endswith("whose gradients are NaN or infinite")
