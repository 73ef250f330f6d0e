"""Densities of layers: published values of real networks, and small cases worked out by hand."""

from functools import cache
from math import prod
from typing import Any

import pytest
import torch

from dstrun import models
from dstrun.methods.fixed.distribution import Shapes, layer_counts, layer_densities
from dstrun.methods.fixed.method import shapes_of
from dstrun.methods.flops import multiply_adds
from dstrun.methods.layer_selection import maskable

IMAGENET, CIFAR, MNIST = ((3, 224, 224), 1000), ((3, 32, 32), 10), ((1, 28, 28), 10)
NETWORKS: dict[str, tuple[str, tuple, dict[str, int]]] = {
    "resnet50": ("resnet50", IMAGENET, {}),
    "wrn_16_8": ("wide_resnet", CIFAR, {"depth": 16, "width": 8}),
    "wrn_22_2": ("wide_resnet", CIFAR, {"depth": 22, "width": 2}),
    "vgg16": ("vgg", CIFAR, {"depth": 16}),
    "lenet_300_100": ("lenet_300_100", MNIST, {}),
    "lenet5": ("lenet5", MNIST, {}),
}
# network, sparsity, ε and the number of dense layers of ERK, share of multiply-adds that is left;
# of ResNet-50 RigL's authors print .42 (80 %) and .24 (90 %), and .23 and .13 for uniform
ERK = [
    ("resnet50", 0.8, 99.562, 8, 0.414),
    ("resnet50", 0.9, 48.787, 1, 0.242),
    ("resnet50", 0.95, 24.372, 0, 0.122),
    ("resnet50", 0.965, None, 0, 0.085),
    ("wrn_16_8", 0.8, 303.453, 6, 0.328),
    ("wrn_16_8", 0.9, 140.769, 5, 0.165),
    ("wrn_16_8", 0.95, 68.369, 3, 0.083),
    ("wrn_22_2", 0.5, 209.767, 12, 0.728),
    ("wrn_22_2", 0.8, 75.608, 5, 0.352),
    ("wrn_22_2", 0.9, 35.938, 4, 0.174),
    ("wrn_22_2", 0.95, 17.349, 3, 0.088),
    ("vgg16", 0.9, 166.250, 2, 0.220),
    ("vgg16", 0.95, 82.744, None, 0.113),
    ("lenet_300_100", 0.9, 17.264, 1, None),
    ("lenet_300_100", 0.95, 8.350, 0, None),
    ("lenet_300_100", 0.98, 3.340, 0, None),
    ("lenet5", 0.9, 27.210, 2, None),
    ("lenet5", 0.95, 11.712, 1, None),
    ("lenet5", 0.98, 4.482, 0, None),
]
SIZES = {  # weights, and multiply-adds in millions
    "resnet50": (25_502_912, 4089.2),
    "wrn_16_8": (10_954_160, 1548.1),
    "wrn_22_2": (1_076_912, 157.7),
    "vgg16": (14_977_728, 313.5),
    "lenet_300_100": (266_200, 0.2662),
    "lenet5": (430_500, 2.2935),
}


def resnet50() -> tuple[Shapes, dict[str, int]]:
    """Return what `network` does for ResNet-50, without the seconds of torchvision's import."""
    found: dict[str, tuple[tuple[int, ...], int]] = {"conv1": ((64, 3, 7, 7), 112)}
    inputs, side = 64, 56
    for stage, blocks in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**stage
        for block in range(blocks):
            name, begins = f"layer{stage + 1}.{block}", block == 0
            before, side = side, side // 2 if begins and stage else side
            found[f"{name}.conv1"] = (planes, inputs, 1, 1), before
            found[f"{name}.conv2"] = (planes, planes, 3, 3), side
            found[f"{name}.conv3"] = (4 * planes, planes, 1, 1), side
            if begins:
                found[f"{name}.downsample.0"] = (4 * planes, inputs, 1, 1), side
            inputs = 4 * planes
    found["fc"] = (1000, 2048), 1
    shapes = {name: shape for name, (shape, _) in found.items()}
    return shapes, {name: side**2 for name, (_, side) in found.items()}


@cache
def network(name: str) -> tuple[Shapes, dict[str, int]]:
    """Return the shapes of a network's weights, and how often each is used, by layer."""
    return resnet50() if name == "resnet50" else built(name)


def built(name: str) -> tuple[Shapes, dict[str, int]]:
    builder, (shape, classes), arguments = NETWORKS[name]
    model = models.BUILDERS[builder](shape, classes, **arguments)
    positions = multiply_adds(model, torch.zeros(1, *shape)).positions
    return shapes_of(maskable(model).layers), positions


def work(name: str, counts: dict[str, int]) -> int:
    _, positions = network(name)
    return sum(count * positions[layer] for layer, count in counts.items())


def sizes(shapes: Shapes) -> dict[str, int]:
    return {name: prod(shape) for name, shape in shapes.items()}


def share_of_work(name: str, counts: dict[str, int]) -> float:
    return work(name, counts) / work(name, sizes(network(name)[0]))


@pytest.mark.parametrize("name", SIZES)
def test_the_networks_are_those_of_the_published_values(name: str) -> None:
    weights, millions = SIZES[name]
    whole = sizes(network(name)[0])
    assert sum(whole.values()) == weights
    assert work(name, whole) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.slow
def test_resnet50_is_that_of_the_builder() -> None:
    assert resnet50() == built("resnet50")


@pytest.mark.parametrize(("name", "sparsity", "epsilon", "dense", "left"), ERK)
def test_erk_is_that_of_the_authors(
    name: str, sparsity: float, epsilon: float | None, dense: int | None, left: float | None
) -> None:
    shapes, _ = network(name)
    densities, found = layer_densities(shapes, 1 - sparsity, "erk")
    counts = layer_counts(shapes, 1 - sparsity, "erk")
    if epsilon is not None:
        assert found == pytest.approx(epsilon, abs=6e-4)
    if dense is not None:
        assert sum(density == 1 for density in densities.values()) == dense
    if left is not None:
        assert share_of_work(name, counts) == pytest.approx(left, abs=6e-4)
    total = sum(sizes(shapes).values())
    assert sum(counts.values()) == pytest.approx((1 - sparsity) * total, abs=len(shapes))


@pytest.mark.parametrize(
    ("sparsity", "left"), [(0.8, 0.223), (0.9, 0.126), (0.95, 0.077), (0.965, 0.063)]
)
def test_uniform_with_a_dense_first_convolution(sparsity: float, left: float) -> None:
    shapes = network("resnet50")[0]
    others = {name: shape for name, shape in shapes.items() if name != "conv1"}
    counts = layer_counts(others, 1 - sparsity, "uniform") | {"conv1": prod(shapes["conv1"])}
    assert share_of_work("resnet50", counts) == pytest.approx(left, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "sparsity", "dense"),
    [
        ("resnet50", 0.9, ["layer1.0.conv1"]),
        ("vgg16", 0.9, ["features.0", "classifier.3"]),
        ("lenet_300_100", 0.9, ["fc3"]),
    ],
)
def test_which_layers_are_dense(name: str, sparsity: float, dense: list[str]) -> None:
    densities, _ = layer_densities(network(name)[0], 1 - sparsity, "erk")
    assert [layer for layer, density in densities.items() if density == 1] == dense


# Small cases

SMALL: dict[str, Any] = {"a": (4, 4), "b": (8, 2), "c": (2, 4, 2, 2)}


@pytest.mark.parametrize(
    ("distribution", "epsilon", "densities"),
    [
        # 16 + 16 + 32 weights, of which 32 are kept
        ("uniform", 0.5, {"a": 0.5, "b": 0.5, "c": 0.5}),
        # (4 + 4) / 16 = 1/2, (8 + 2) / 16 = 5/8, (2 + 4) / 8 = 3/4 of each, times ε: together
        # 8 + 10 + 24 = 42
        ("er", 32 / 42, {"a": 16 / 42, "b": 20 / 42, "c": 24 / 42}),
        # 8 / 16, 10 / 16, (2 + 4 + 2 + 2) / 32 of each, times ε: together 8 + 10 + 10 = 28
        ("erk", 8 / 7, {"a": 4 / 7, "b": 5 / 7, "c": 5 / 14}),
    ],
)
def test_a_distribution_adds_up_to_the_density(
    distribution: str, epsilon: float, densities: dict[str, float]
) -> None:
    found, at = layer_densities(SMALL, 0.5, distribution)
    assert at == pytest.approx(epsilon)
    assert found == pytest.approx(densities)


def test_what_is_too_dense_is_dense_and_its_rest_goes_to_the_others() -> None:
    """Of 64 weights 48: ε = 48 / 28 makes b 15/14, so it keeps all 16, and the others 32 of 48.

    ε = 32 / 18 then: a 1/2 · 16/9 = 8/9, c 10/32 · 16/9 = 5/9.
    """
    found, epsilon = layer_densities(SMALL, 0.75, "erk")
    assert epsilon == pytest.approx(16 / 9)
    assert found == pytest.approx({"a": 8 / 9, "b": 1.0, "c": 5 / 9})
    assert layer_counts(SMALL, 0.75) == {"a": 14, "b": 16, "c": 18}  # 14.2, 16, 17.8


def test_a_density_that_prunes_less_than_a_weight_of_each_layer_prunes_nothing() -> None:
    """a is dense, since 4 / 4 > 11 / 18; then b, whose 18 · ε · raw is rounded to above 18."""
    assert layer_counts({"a": (2, 2), "b": (2, 9)}, 0.999, "er") == {"a": 4, "b": 18}


def test_layers_keep_what_densities_of_others_leave() -> None:
    """
    40 of 64 are kept, of which b keeps 16: a and c half of 48. Of a quarter of a and c, 4 and 8,
    and half of b, 8, the sum is 20. The last glob that fits counts.
    """
    assert layer_counts(SMALL, 40 / 64, "uniform", {"b": 1}) == {"a": 8, "b": 16, "c": 16}
    given = {"*": 0.1, "[ac]": 0.25, "b": 0.5}
    assert layer_counts(SMALL, 20 / 64, "er", given) == {"a": 4, "b": 8, "c": 8}


@pytest.mark.parametrize("density", [0.2, 0.8])
def test_densities_that_do_not_add_up_are_told(density: float) -> None:
    """c has 32 of 64 weights: 16 are 0.25, and with all of the others 48 are 0.75."""
    line = f"density: got {density}, and with layer_densities the network keeps 0.25 to 0.75"
    with pytest.raises(ValueError, match=line):
        layer_counts(SMALL, density, "uniform", {"c": 0.5})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"x*": 0.5}, "layer_densities: 'x*' matches no layer; the layers are a, b, c"),
        ({"a": 0}, "layer_densities: a got 0, expected 0 < number ≤ 1"),
        ({"a": 1.5}, "layer_densities: a got 1.5, expected 0 < number ≤ 1"),
        ({"a": "half"}, "layer_densities: a got 'half', expected a number"),
        ({"a": True}, "layer_densities: a got True, expected a number"),
    ],
)
def test_a_density_that_cannot_be_is_told(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        layer_counts(SMALL, 0.5, "erk", given)
    assert str(refused.value) == line


def test_an_unknown_distribution_is_told() -> None:
    with pytest.raises(ValueError, match="'ekr', expected one of uniform, er, erk"):
        layer_counts(SMALL, 0.5, "ekr")


def test_less_than_a_weight_a_row_is_told() -> None:
    """4 + 8 + 2 rows; pruned are ⌊14.4⌋, ⌊14.4⌋ and ⌊28.8⌋ weights, as in the authors' code."""
    line = "density: got 0.1, which keeps 8 of 64 weights; expected at least one for each of 14"
    with pytest.raises(ValueError, match=line):
        layer_counts(SMALL, 0.1, "uniform")
