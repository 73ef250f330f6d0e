"""Masks that are chosen before training: exact counts, what is seen, and a model left as it was."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.methods import method_class
from dstrun.methods.fixed.at_start import (
    AtStart,
    Batches,
    Weights,
    first_images,
    some_of_each_class,
)
from dstrun.methods.fixed.distribution import NAMED
from dstrun.methods.snip import Snip
from dstrun.training.trainer import BEFORE_TRAINING
from tests.helpers.tiny import numbers, tiny, training  # noqa: F401

NAMES = ["snip", "grasp", "synflow"]
FEW = {"snip": {"images": 6}, "grasp": {"images": 6}, "synflow": {"iterations": 2}}


def made(name: str, model: nn.Module, density: float = 0.25, **options: Any) -> AtStart:
    method = method_class(name)(density, **(FEW[name] | options))
    assert isinstance(method, AtStart)
    method.prepare(model, past=[])
    method.begin(9, torch.optim.SGD(model.parameters(), lr=0.1), 3)
    return method


def batches(shape: tuple[int, ...], classes: int = 3, size: int = 4) -> Iterator:
    generator = torch.Generator().manual_seed(0)
    while True:
        images = torch.rand(size, *shape, generator=generator)
        yield images, torch.randint(classes, (size,), generator=generator)


class Noisy(nn.Module):
    """Convolution, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.noise, self.fc = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.noise(self.norm(self.conv(images)).relu()).flatten(1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_only_pruned_weights_change(name: str, training: bool) -> None:
    """Not the mode, gradients, statistics of batch norm, nor the state of the generator.

    Twice gives the same masks, dropout or not: 21 of 36 + 48 weights.
    """
    masks = []
    for _ in range(2):
        torch.manual_seed(0)
        model = Noisy()
        method = made(name, model)
        model.train(training)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        torch.manual_seed(len(masks))
        state = torch.get_rng_state()
        method.initialise(model, batches((1, 4, 4)))
        assert torch.equal(torch.get_rng_state(), state)
        assert {part.training for part in model.modules()} == {training}
        assert all(parameter.grad is None for parameter in model.parameters())
        after = model.state_dict()
        masks.append({key: after.pop(key) for key in list(after) if "mask" in key})
        for layer in ("conv", "fc"):
            before[f"{layer}.weight"] *= masks[-1][f"{layer}.mask.keep"]
        for key, value in after.items():
            assert torch.equal(value, before[key]), key
        assert int(method.kept()) == sum(layer.kept for layer in method.layers) == 21
    assert all(torch.equal(mask, masks[1][key]) for key, mask in masks[0].items())


@pytest.mark.parametrize(("name", "trains"), [("snip", True), ("grasp", True), ("synflow", False)])
def test_scores_are_those_of_training_but_for_synflow(name: str, trains: bool) -> None:
    model = Noisy().train(not trains)
    method = made(name, model)
    assert method.network(method.plain(model)).training == trains


class Least(AtStart):
    """Keeps the weights of least magnitude."""

    def scores(self, network: nn.Module, weights: Weights) -> list[Tensor]:
        return [-one.weight.detach().abs() for one in weights]


def test_what_is_pruned_does_not_come_back() -> None:
    """Of 4, 1, 2, 3 the first round keeps 1 and 2; then −1 and −2 are less than the 0 of others."""
    model = nn.Sequential(nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[4.0, 1, 2, 3]]))
    method = Least(0.25, iterations=2)
    method.prepare(model, past=[])
    method.begin(9, torch.optim.SGD(model.parameters(), lr=0.1), 3)
    method.initialise(model, batches((4,)))
    assert model[0].weight.tolist() == [[0, 1, 0, 0]]


SMALL = [
    ("lenet_300_100", (1, 8, 8), {}),
    ("lenet5", (1, 28, 28), {}),
    ("lstm", (1, 6, 6), {"hidden": 8}),
    ("wide_resnet", (3, 8, 8), {"depth": 10, "width": 1}),
]
LARGE = [("vgg", (3, 32, 32), {}), ("resnet50", (3, 32, 32), {})]


@pytest.mark.parametrize(
    ("builder", "shape", "arguments"),
    [*SMALL, *(pytest.param(*one, marks=pytest.mark.slow) for one in LARGE)],
)
@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_scored(
    name: str, builder: str, shape: tuple[int, int, int], arguments: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = models.BUILDERS[builder](shape, 10, **arguments)
    method = made(name, model, 0.2)
    total = sum(layer.weight.numel() for layer in method.layers)
    method.initialise(model, batches(shape, 10))
    assert int(method.kept()) == round(0.2 * total)
    emptied = [layer.name for layer in method.layers if not layer.mask.keep.any()]
    assert all(layer in method.describe() for layer in emptied[:NAMED])
    assert emptied == [] or builder == "resnet50"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("structure", ["fan_in", "1:4"])
def test_structures_hold(name: str, structure: str) -> None:
    """Rows of 8 × 3 × 3 and of 16: 18 and 4 each at 25 %; one of every four inputs."""
    model = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    method = made(name, model, structure=structure)
    method.initialise(model, batches((8, 4, 4)))
    conv, linear = (layer.mask.keep for layer in method.layers)
    if structure == "fan_in":
        assert len(conv.flatten(1).sum(1).unique()) == 1
        assert len(linear.sum(1).unique()) == 1
    else:
        assert conv.view(4, 2, 4, 3, 3).sum(2).unique().tolist() == [1]
        assert linear.view(4, 4, 4).sum(2).unique().tolist() == [1]


def test_a_layer_without_a_weight_is_told() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    method = made("snip", model)
    with torch.no_grad():
        model[1].weight.fill_(0.0)
    method.initialise(model, batches((8,)))
    assert method.describe().endswith("no weight is left in 1")


def test_scores_that_are_no_numbers_are_told() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    method = made("snip", model)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="scores of 0 are NaN or infinite"):
        method.initialise(model, batches((4,)))


# Images that scores go by


def numbered(*labels: list[int]) -> Batches:
    """Yield batches of images that are their own numbers."""
    first = 0
    for own in labels:
        yield torch.arange(first, first + len(own)), torch.tensor(own)
        first += len(own)


def test_the_first_images_are_taken() -> None:
    assert first_images(numbered([0, 1], [2, 3], [4]), 3)[0].tolist() == [0, 1, 2]
    assert first_images(numbered([0, 1], [2, 3]), 9)[1].tolist() == [0, 1, 2, 3]


def test_the_first_images_of_each_class_are_taken() -> None:
    """Of class 0 the images 0 and 1, of 1 3 and 5, of 2 4 alone; none after the last needed."""
    given = numbered([0, 0, 0], [1, 2, 1], [1])
    images, labels = some_of_each_class(given, classes=3, each=2)
    assert (images.tolist(), labels.tolist()) == ([0, 1, 3, 4, 5], [0, 0, 1, 2, 1])
    given = numbered([0, 1], [0, 1], [0, 1])
    assert some_of_each_class(given, classes=2, each=2)[0].tolist() == [0, 1, 2, 3]
    assert next(given)[0].tolist() == [4, 5]


def test_ten_of_each_class_are_as_many_as_the_network_has_outputs() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    method = made("snip", model, images=0)
    seen: list[Tensor] = []
    method.gradients = lambda network, weights: (  # type: ignore[attr-defined]
        seen.extend(labels for _, labels in method._pieces) or iter([[weights[0].weight.detach()]])
    )
    method.initialise(model, batches((4,), size=7))
    assert torch.cat(seen).bincount().tolist() == [10, 10, 10]


@pytest.mark.usefixtures("tiny")
def test_a_run_shows_images_of_an_order_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[int]] = []

    def see(method: Snip, network: nn.Module, given: Batches) -> None:
        shown.extend(numbers(images) for images, _ in given)
        original(method, network, batches((1, 6, 6)))

    original = Snip.see
    monkeypatch.setattr(Snip, "see", see)
    trainer = training(reg__method="snip", reg__density=0.25)
    assert BEFORE_TRAINING == -1
    order = [numbers(images) for images, _ in trainer.batches.shuffled(-1)]
    assert shown == order != [numbers(images) for images, _ in trainer.batches.shuffled(0)]
    assert int(trainer.method.kept()) == 27


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [{"schedule__precision": "bf16"}, {"schedule__compile": "step"}, {"schedule__accumulate": 3}],
)
def test_how_a_run_computes_changes_no_mask(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    """Scores are in fp32 and uncompiled."""
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    own = {f"reg__{key}": value for key, value in FEW[name].items()}
    one, other = (
        training(reg__method=name, reg__density=0.25, **own, **more) for more in ({}, options)
    )
    for layer, same in zip(one.method.layers, other.method.layers, strict=True):
        assert torch.equal(layer.mask.keep, same.mask.keep)
