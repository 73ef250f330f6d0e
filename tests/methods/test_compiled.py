"""Compiled masks and compiled updates against plain ones: the same training, to the last bits of a
sum.
"""

import copy
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.methods.base import Method
from dstrun.methods.dense import Dense
from dstrun.methods.dst.masking import MaskWeight, ThresholdMask
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.runs.method import make_method
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.optim import make_optimiser
from dstrun.training.step import Update
from tests.helpers.commands import Command
from tests.helpers.data import needs_compiler
from tests.helpers.methods import NAMES, config_options

pytestmark = needs_compiler
BATCH = 16


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 12),
        nn.ReLU(),
        nn.Linear(12, 3),
    )


def batch(step: int, size: int = BATCH) -> tuple[Tensor, Tensor]:
    torch.manual_seed(step)
    return torch.randn(size, 2, 4, 4), torch.randint(3, (size,))


def trained(
    make: Callable[..., Update],
    method: Method,
    optimiser: str = "sgd",
    steps: int = 12,
    autocast: bool = False,
    **options: float,
) -> dict[str, Tensor]:
    """Return the network's state after so many updates, every fifth of half a batch."""
    torch.compiler.reset()
    model = network()
    method.prepare(model)
    sgd = make_optimiser(optimiser, model, method.groups(), lr=0.1, weight_decay=1e-3)
    if autocast:
        options["autocast"] = partial(torch.autocast, "cpu", torch.bfloat16)  # type: ignore[assignment]
    update = make(model.train(), method, sgd, **options)
    method.begin(steps, sgd, steps_per_epoch=5)
    method.initialise(model, map(batch, count(steps)))
    for step in range(steps):
        method.before_step(step)
        update(*batch(step, BATCH if step % 5 else BATCH // 2), 0.1 if step < 8 else 0.01)
    return model.state_dict() | {
        f"momentum of {n}": value
        for n, state in enumerate(sgd.state.values())
        for value in state.values()
    }


def assert_same(ours: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert ours.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(
            ours[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def dst(compile: str, granularity: str = "neuron", **options: float) -> DynamicSparseTraining:
    return DynamicSparseTraining(0.05, granularity, floor=0.3, compile=compile, **options)


whole = partial(CompiledUpdate, batch_size=BATCH)


slow = pytest.mark.slow


@slow  # of neurons, in a run that has more: test_steered_guarded_and_frozen_compiled_as_plain
@pytest.mark.parametrize("granularity", ["neuron", "layer", "weight"])
def test_compiled_masks_train_as_plain_ones(granularity: str) -> None:
    plain = trained(Update, dst("off", granularity))
    assert_same(trained(Update, dst("mask", granularity)), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_traced_mask_has_the_gradients_of_a_plain_one(dtype: torch.dtype) -> None:
    weight = torch.tensor([[0.25, -1.0, 3.0], [-0.5, 0.75, 0.125]], requires_grad=True)
    threshold = torch.tensor([[0.5], [0.25]], requires_grad=True)

    def loss(weight: Tensor, threshold: Tensor) -> Tensor:
        return MaskWeight.apply(weight, threshold, dtype).float().square().sum()

    traced = torch.compile(loss, backend="eager", fullgraph=True)
    plain, ours = (
        torch.autograd.grad(f(weight, threshold), (weight, threshold)) for f in (loss, traced)
    )
    assert all(gradient.any() for gradient in plain)
    assert all(map(torch.equal, ours, plain))


@pytest.mark.parametrize("optimiser", ["sgd", pytest.param("adam", marks=slow)])
@pytest.mark.slow
def test_a_compiled_update_trains_as_a_plain_one(optimiser: str) -> None:
    plain = trained(Update, dst("off"), optimiser)
    assert_same(
        trained(whole, dst("step"), optimiser), plain, 1e-4 if optimiser == "adam" else 1e-5
    )


@pytest.mark.parametrize("compile", ["mask", pytest.param("step", marks=slow)])
def test_steered_guarded_and_frozen_compiled_as_plain(compile: str) -> None:
    def steered(compile: str) -> DynamicSparseTraining:
        return DynamicSparseTraining(
            0.05, floor=0.3, compile=compile, guard=0.95, target_density=0.4, freeze=0.6
        )

    plain = trained(Update, steered("off"))
    assert any(name.endswith("frozen") for name in plain)
    assert_same(trained(whole if compile == "step" else Update, steered(compile)), plain)


@slow
@pytest.mark.parametrize("options", [{"accumulate": 2}, {"clip": 0.1}, {"threshold_clip": 0.01}])
def test_pieces_and_clipping_are_those_of_a_plain_update(options: dict[str, float]) -> None:
    bound = {name: value for name, value in options.items() if name == "threshold_clip"}
    of_step = {name: value for name, value in options.items() if name not in bound}

    def run(make: Callable[..., Update], compile: str) -> dict[str, Tensor]:
        return trained(make, dst(compile, **bound), **of_step)

    assert_same(run(whole, "step"), run(Update, "off"))
    if "accumulate" in options:
        assert_same(run(Update, "mask"), run(Update, "off"))


@pytest.mark.parametrize("granularity", ["neuron", "weight", "dense"])
@pytest.mark.parametrize("where", ["weights", "images"])
def test_the_layout_of_convolutions_changes_the_last_bits_at_most(
    granularity: str, where: str
) -> None:
    class Inside(Update):
        def __call__(self, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
            return super().__call__(
                images.contiguous(memory_format=torch.channels_last), labels, lr
            )

    def channels_last(model: nn.Module, *rest: Any, **options: Any) -> Update:
        if where == "images":
            return Inside(model, *rest, **options)
        return Update(model.to(memory_format=torch.channels_last), *rest, **options)

    def method() -> Method:
        return Dense() if granularity == "dense" else dst("off", granularity)

    assert_same(trained(channels_last, method()), trained(Update, method()))


@pytest.mark.parametrize(
    "name",
    [name if name == "rigl" else pytest.param(name, marks=slow) for name in NAMES if name != "dst"],
)
def test_every_method_trains_compiled_as_plain(name: str) -> None:
    """Masks that move in between, in uncompiled steps, are those that compiled steps use."""

    def method(compile: str) -> Method:
        return make_method(check(config_options(name) | {"schedule.compile": compile}))

    assert_same(trained(whole, method("step")), trained(Update, method("off")))


def test_bf16_masks_compare_in_fp32_and_round_once() -> None:
    weight, threshold = torch.tensor([[1.0, 1.0009765625]]), 1.0  # the second is 1.0 in bf16
    mask = ThresholdMask(weight)
    with torch.no_grad():
        mask.threshold.fill_(threshold)
    with torch.autocast("cpu", torch.bfloat16):
        masked = mask(weight)
    assert masked.dtype == torch.bfloat16
    assert masked.tolist() == [[0.0, 1.0]]


@slow
def test_bf16_training_is_near_fp32_and_the_same_with_compiled_masks() -> None:
    fp32, bf16 = (
        trained(Update, dst("off"), steps=4),
        trained(Update, dst("off"), steps=4, autocast=True),
    )
    assert_same(bf16, fp32, 0.05)
    assert not torch.equal(bf16["0.weight"], fp32["0.weight"])
    assert_same(trained(Update, dst("mask"), steps=4, autocast=True), bf16, 0.01)


def test_the_guard_fires_in_all_of_this() -> None:
    resets = 0
    for compile in ("off", "mask"):
        torch.compiler.reset()
        model, method = network(), dst(compile)
        method.prepare(model)
        update = Update(model, method, make_optimiser("sgd", model, method.groups(), lr=0.1))
        for step in range(12):
            update(*batch(step), 0.1)
            resets += any(not threshold.any() for threshold in method.added_parameters())
    assert resets >= 4


def test_a_weight_changed_behind_a_compiled_mask_is_noticed() -> None:
    model, method = network(), dst("mask")
    method.prepare(model)
    update = Update(model, method, make_optimiser("sgd", model, method.groups(), lr=0.1))
    update(*batch(0), 0.1)
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        for changed in (model, copied):
            changed[0].weight.mul_(2)  # type: ignore[index]
    x, _ = batch(1)
    assert torch.equal(
        model.eval()(x), copied(x)
    )  # masks put ready for training are no matter in evaluation
    model.train()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        update(*batch(1), 0.1)


@slow
def test_a_run_says_that_it_compiles_and_goes_on_bit_for_bit(command: Command) -> None:
    words = ("schedule.compile=mask", "data.train_limit=200", "reg.alpha=0.01")
    said = command(*words, "schedule.epochs=2", "outputs=whole").out
    assert "compiling" in said
    assert "compiled: first step after" in said
    command(*words, "schedule.epochs=2", "outputs=parts", "checkpoint.every=0")
    folders = [next(Path(outputs, "single").iterdir()) for outputs in ("whole", "parts")]
    layers = [(folder / "layers.csv").read_text() for folder in folders]
    assert layers[0] == layers[1]
