"""Methods in trainers of other packages: as in a loop of one's own, bit for bit, and resumed."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dstrun
from dstrun.methods.base import Method
from dstrun.system.files import read_csv
from tests.helpers.methods import NAMES
from tests.helpers.own_runs import SETTINGS, STEPS, X, Y, net, train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

TRAINERS = ("by_hugging_face", "by_lightning")
METHODS = [name for name in NAMES if name != "imp"]
OPTIONS: dict[str, dict[str, Any]] = {
    "dst": {"alpha": 1e-2, "density": 0.3, "granularity": "layer"},
    "dense": {},
    "str": {"threshold_start": -2.0},
    "l1": {"density": 0.3, "l1": 1e-2},
    "acdc": {"density": 0.3, "phase": 0.1},
}
MOVED = ("set", "rigl", "snfs", "dsr", "gmp", "granet")


@pytest.fixture
def trainer(request: pytest.FixtureRequest) -> Callable[..., Any]:
    for package in ("transformers", "lightning"):
        pytest.importorskip(package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.helpers import trainers
    return getattr(trainers, request.param)


def made(name: str) -> Method:
    options = OPTIONS.get(name, {"density": 0.3})
    return dstrun.method(name, **options | ({"every": 2} if name in MOVED else {}))


def prepared(name: str) -> tuple[Method, nn.Module]:
    method, model = made(name), net()
    method.prepare(model, past=[])
    if name in ("snip", "grasp", "synflow"):
        method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
        method.initialise(model, iter([(X, Y)] * 200))
    return method, model


def assert_equal(model: nn.Module, other: nn.Module) -> None:
    state, others = model.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    assert [key for key in state if not torch.equal(state[key], others[key])] == []


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.03, weight_decay=0.1)


@pytest.mark.parametrize("trainer", TRAINERS, indirect=True)
@pytest.mark.parametrize("name", METHODS)
def test_a_run_is_that_of_ones_own_loop(trainer: Callable[..., Any], name: str) -> None:
    method, own = prepared(name)
    train(method, own)
    method, other = prepared(name)
    trainer(method, other)
    assert_equal(own, other)
    if name != "dense":
        assert int(method.kept()) < 0.9 * method.total


@pytest.mark.parametrize("trainer", TRAINERS, indirect=True)
@pytest.mark.parametrize("name", ["dst", "rigl", "l1"])
@pytest.mark.parametrize(("pieces", "clip"), [(2, 0.0), (1, 0.05), (3, 0.05)])
def test_so_it_is_in_pieces_and_clipped_with_adam(
    trainer: Callable[..., Any], name: str, pieces: int, clip: float
) -> None:
    method, own = prepared(name)
    train(method, own, pieces=pieces, clip=clip, optimiser=adamw)
    method, other = prepared(name)
    trainer(method, other, pieces=pieces, clip=clip, optimiser=adamw)
    assert_equal(own, other)


@pytest.mark.parametrize("name", ["dst", "rigl", "gmp", "str"])
@pytest.mark.parametrize("stop", [5, 8, 11])  # dst freezes its masks at 9
@pytest.mark.parametrize("trainer", ["by_hugging_face"], indirect=True)
def test_hugging_face_resumes_to_the_undisturbed_run(
    trainer: Callable[..., Any], name: str, stop: int
) -> None:
    method, undisturbed = prepared(name)
    with record(method, undisturbed, "a") as run:
        trainer(method, undisturbed, run=run, folder=Path("a"))
    method, stopped = prepared(name)
    with record(method, stopped, "b") as other:
        trainer(method, stopped, run=other, folder=Path("b"), stop=stop)
    method, resumed = prepared(name)
    with record(method, resumed, "b", overwrite=True) as other:
        trainer(method, resumed, run=other, folder=Path("b"), resume=True)
    assert_equal(undisturbed, resumed)
    if stop % STEPS == 0:
        assert rows(run.folder) == rows(other.folder)


@pytest.mark.parametrize("name", ["dst", "rigl", "gmp", "str"])
@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("trainer", ["by_lightning"], indirect=True)
def test_lightning_resumes_to_the_undisturbed_run(
    trainer: Callable[..., Any], name: str, stop: int
) -> None:
    method, undisturbed = prepared(name)
    with record(method, undisturbed, "a") as run:
        trainer(method, undisturbed, run=run)
    method, stopped = prepared(name)
    with record(method, stopped, "b") as other:
        trainer(method, stopped, run=other, stop=stop).save_checkpoint("b.ckpt")
    method, resumed = prepared(name)
    with record(method, resumed, "b", overwrite=True) as other:
        trainer(method, resumed, run=other, resume=Path("b.ckpt"))
    assert_equal(undisturbed, resumed)
    assert rows(run.folder) == rows(other.folder)


def record(method: Method, model: nn.Module, name: str, **options: Any) -> Any:
    return dstrun.record(model, method, SETTINGS, name=name, **options)


def rows(run: Path) -> list[dict[str, str]]:
    found = [*read_csv(run / "metrics.csv"), *read_csv(run / "layers.csv")]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


@pytest.mark.parametrize("trainer", TRAINERS, indirect=True)
def test_a_run_has_a_row_an_epoch_and_the_log_has_densities(trainer: Callable[..., Any]) -> None:
    method, model = prepared("dst")
    with record(method, model, "a") as run:
        made = trainer(method, model, run=run)
    found = list(read_csv(run.folder / "metrics.csv"))
    assert [(row["epoch"], row["step"]) for row in found] == [("1", "4"), ("2", "8"), ("3", "12")]
    for row in found:
        assert float(row["train_loss"]) > 0
        assert float(row["test_loss"]) > 0
        assert float(row["lr"]) == 0.3
    densities = [float(row["density"]) for row in found]
    assert densities[2] == pytest.approx(0.3, abs=0.01)
    logged: Any = getattr(made, "logged_metrics", None)
    if logged is None:
        logged = {key: value for line in made.state.log_history for key, value in line.items()}
        assert logged["density"] == pytest.approx(densities[2])
    layers = list(read_csv(run.folder / "layers.csv"))
    assert float(logged["density/0"]) == pytest.approx(float(layers[-2]["density"]))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fp16": True}, "fp16"),
        ({"n_gpu": 2}, "got 1 processes and 2 GPUs, expected one"),
    ],
)
def test_hugging_face_refuses_what_would_be_wrong(options: dict[str, Any], line: str) -> None:
    pytest.importorskip("transformers")
    from types import SimpleNamespace

    from dstrun.callbacks import HuggingFaceCallback

    defaults = {"fp16": False, "world_size": 1, "n_gpu": 1, "deepspeed": None, "fsdp": None}
    callback: Any = HuggingFaceCallback(made("dst"))
    with pytest.raises(ValueError, match=line):
        callback.on_train_begin(SimpleNamespace(**defaults | options), None, None)


@pytest.mark.parametrize("trainer", TRAINERS, indirect=True)
def test_what_is_missing_is_told(trainer: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match=r"has no masks: call method.prepare\(model\)"):
        trainer(made("dst"), net())
    method, model = prepared("snip")
    method = made("snip")
    method.prepare(other := net(), past=[])
    with pytest.raises(RuntimeError, match=r"snip chooses its masks by initialise\(model"):
        trainer(method, other)
    method = dstrun.method("dst", alpha=1e-3, threshold_decay=0.0)
    method.prepare(model := net(), past=[])
    with pytest.raises(RuntimeError, match="threshold_decay=0 asks for a weight decay of 0"):
        trainer(method, model, optimiser=adamw)
    with pytest.raises(ValueError, match="compile: got 'mask', which needs a loop of your own"):
        trainer(dstrun.method("dst", alpha=1e-3, compile="mask"), net())
