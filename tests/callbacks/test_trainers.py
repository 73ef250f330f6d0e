"""Methods in trainers of other packages: as in a loop of one's own, bit for bit, and resumed."""

import copy
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import dstrun
from dstrun.methods.base import Method
from dstrun.system.files import read_csv
from tests.helpers.methods import NAMES
from tests.helpers.own_runs import SETTINGS, STEPS, X, Y, momentum, net, train

pytestmark = pytest.mark.slow

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
    from tests.helpers import trainers

    return getattr(trainers, request.param)


def made(name: str) -> Method:
    options = OPTIONS.get(name, {"density": 0.3})
    return dstrun.method(name, **options | ({"every": 2} if name in MOVED else {}))


def prepared(name: str) -> tuple[Method, nn.Module]:
    method, model = made(name), net()
    method.prepare(model, example=X[:2])
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


PLAIN = {
    "by_hugging_face": {
        "fp16": False,
        "world_size": 1,
        "n_gpu": 1,
        "deepspeed": None,
        "fsdp": None,
    },
    "by_lightning": {"estimated_stepping_batches": 9, "world_size": 1, "precision": "bf16-mixed"},
}


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("by_hugging_face", {"fp16": True}, "fp16: gradients are scaled when a callback adds to"),
        ("by_hugging_face", {"n_gpu": 2}, "Trainer: got 1 processes and 2 GPUs, expected one"),
        ("by_hugging_face", {"world_size": 2}, "Trainer: got 2 processes and 1 GPUs"),
        ("by_hugging_face", {"fsdp": "full_shard"}, "Trainer: deepspeed and FSDP split param"),
        ("by_lightning", {"precision": "16-mixed"}, "precision: got 16-mixed, with scaled grad"),
        ("by_lightning", {"world_size": 2}, "Lightning: got 2 devices, expected one"),
        ("by_lightning", {"estimated_stepping_batches": inf}, "Lightning: got a run without an en"),
        ("by_lightning", {"estimated_stepping_batches": -1}, "Lightning: got a run without an en"),
        ("by_lightning", {"manual": True}, "Lightning: got manual optimisation, expected auto"),
    ],
)
def test_what_would_be_wrong_is_refused(name: str, options: dict[str, Any], line: str) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("lightning")
    from dstrun.callbacks import HuggingFaceCallback, LightningCallback

    given, module = SimpleNamespace(**PLAIN[name] | options), SimpleNamespace()
    module.automatic_optimization = "manual" not in options
    begin: Any = LightningCallback(made("dst")).on_train_start
    arguments = (given, module)
    if name == "by_hugging_face":
        begin, arguments = HuggingFaceCallback(made("dst")).on_train_begin, (given, None, None)
    with pytest.raises(ValueError, match=line):
        begin(*arguments)


@pytest.mark.parametrize(
    ("trainer", "options"),
    [("by_hugging_face", {"bf16": True}), ("by_lightning", {"precision": "bf16-mixed"})],
    ids=TRAINERS,
    indirect=["trainer"],
)
def test_it_trains_in_bf16(trainer: Callable[..., Any], options: dict[str, Any]) -> None:
    method, model = prepared("dst")
    trainer(method, model, **options)
    assert int(method.kept()) / method.total == pytest.approx(0.3, abs=0.01)


def test_an_evaluation_after_training_is_no_row() -> None:
    for package in ("transformers", "lightning"):
        pytest.importorskip(package)
    from tests.helpers.trainers import by_hugging_face

    method, model = prepared("rigl")
    with record(method, model, "a") as run:
        trainer = by_hugging_face(method, model, run=run, clip=0.5)
        trainer.evaluate()
    assert trainer.args.max_grad_norm == 0.5
    assert len(list(read_csv(run.folder / "metrics.csv"))) == 3


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
    method, model = prepared("dst")
    with pytest.raises(RuntimeError, match="the model is a copy of the one that was prepared"):
        trainer(method, copy.deepcopy(model))
    dense = momentum(net().parameters())
    method, model = prepared("dst")
    dense.param_groups[0]["params"] = [model[0].weight, model[2].weight]
    with pytest.raises(RuntimeError, match="the optimiser has the weights of 0, 2 and not their"):
        trainer(method, model, optimiser=lambda _: dense)
    with pytest.raises(ValueError, match="compile: got 'mask', which needs a loop of your own"):
        trainer(dstrun.method("dst", alpha=1e-3, compile="mask"), net())


def test_the_plain_model_is_saved_and_read_without_dstrun() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 16}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**sizes, **depth, num_labels=3)
    model = transformers.ViTForImageClassification(config).eval()
    method = dstrun.method("dst", alpha=1e-3)
    method.prepare(model, example=torch.zeros(2, 1, 8, 8))
    with torch.no_grad():
        for threshold in method.added_parameters():
            threshold.fill_(0.01)
    method.plain(model).save_pretrained("sparse")
    model.save_pretrained("masked")
    images = torch.sin(torch.arange(128.0)).view(2, 1, 8, 8)
    read = transformers.ViTForImageClassification.from_pretrained
    outputs = model(images).logits
    assert torch.equal(read("sparse")(images).logits, outputs)
    assert not torch.allclose(read("masked")(images).logits, outputs), "docs: masks are ignored"
