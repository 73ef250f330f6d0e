"""Networks compared with their papers: layers, shapes, outputs, gradients and initialisation."""

import re
from copy import deepcopy
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from dstrun.models import BUILDERS
from tests.helpers import networks
from tests.helpers.networks import Network

MODELS = Path(__file__).parents[2] / "conf" / "model"
Shape = tuple[int, ...]
Layers = dict[
    str, tuple[Shape, Shape]
]  # name: shape of the weight, and of the output for one image


def lstm(hidden: int) -> Layers:
    """Return the weights' and outputs' shapes for 28 rows of 28 pixels; a recurrent weight adds its
    output at one row.
    """
    gates = 4 * hidden
    return {
        "lstm1.input_to_hidden": ((gates, 28), (28, gates)),
        "lstm1.hidden_to_hidden": ((gates, hidden), (gates,)),
        "lstm2.input_to_hidden": ((gates, hidden), (28, gates)),
        "lstm2.hidden_to_hidden": ((gates, hidden), (gates,)),
        "classifier": ((10, hidden), (10,)),
    }


def vgg(*stages: tuple[int, int]) -> Layers:
    """Return the layers of VGG: stages of 3×3 convolutions on maps of 32, 16, 8, 4 and 2 pixels."""
    layers: Layers = {}
    inputs, place = 3, 0
    for stage, (count, filters) in enumerate(stages):
        for _ in range(count):
            layers[f"features.{place}"] = (
                (filters, inputs, 3, 3),
                (filters, 32 >> stage, 32 >> stage),
            )
            inputs, place = filters, place + 3  # convolution, batch norm, ReLU
        place += 1  # pool
    return layers | {"classifier.0": ((512, 512), (512,)), "classifier.3": ((10, 512), (10,))}


def wide_resnet(blocks: int, width: int) -> Layers:
    """Return the layers of three groups of blocks, on maps of 32, 16 and 8 pixels."""
    layers: Layers = {"conv1": ((16, 3, 3, 3), (16, 32, 32))}
    inputs = 16
    for block in range(3 * blocks):
        group, name = block // blocks, f"blocks.{block}"
        filters, maps = (16 << group) * width, (32 >> group,) * 2
        layers[f"{name}.conv1"] = ((filters, inputs, 3, 3), (filters, *maps))
        layers[f"{name}.conv2"] = ((filters, filters, 3, 3), (filters, *maps))
        if inputs != filters:
            layers[f"{name}.shortcut"] = ((filters, inputs, 1, 1), (filters, *maps))
        inputs = filters
    return layers | {"fc": ((10, inputs), (10,))}


def cifar_resnet(blocks: int) -> Layers:
    """Return the layers of three groups of blocks of 16, 32 and 64 channels."""
    layers: Layers = {"conv1": ((16, 3, 3, 3), (16, 32, 32))}
    inputs = 16
    for block in range(3 * blocks):
        group, name = block // blocks, f"blocks.{block}"
        filters, maps = 16 << group, (32 >> group,) * 2
        layers[f"{name}.conv1"] = ((filters, inputs, 3, 3), (filters, *maps))
        layers[f"{name}.conv2"] = ((filters, filters, 3, 3), (filters, *maps))
        inputs = filters
    return layers | {"fc": ((10, 64), (10,))}


# Named as in conf/model: parameters in all, and the layers. ResNet-50 is compared with
# torchvision's below.
PAPER: dict[str, tuple[int, Layers]] = {
    "lenet_300_100": (
        266_610,
        {"fc1": ((300, 784), (300,)), "fc2": ((100, 300), (100,)), "fc3": ((10, 100), (10,))},
    ),
    "lenet5": (
        431_080,
        {
            "conv1": ((20, 1, 5, 5), (20, 24, 24)),
            "conv2": ((50, 20, 5, 5), (50, 8, 8)),
            "fc3": ((500, 800), (500,)),
            "fc4": ((10, 500), (10,)),
        },
    ),
    "lstm_a": (213_258, lstm(128)),
    "lstm_b": (819_722, lstm(256)),
    "vgg16": (14_987_722, vgg((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))),
    "vgg19": (20_298_698, vgg((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))),
    "resnet20": (269_722, cifar_resnet(3)),  # He et al., 2016, table 6: 0.27 M
    "resnet32": (464_154, cifar_resnet(5)),  # 0.46 M
    "resnet56": (853_018, cifar_resnet(9)),  # 0.85 M
    "wrn_16_8": (10_961_370, wide_resnet(2, 8)),
    "wrn_22_2": (1_079_642, wide_resnet(3, 2)),
    "wrn_28_8": (23_354_842, wide_resnet(4, 8)),
}
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def untouched(builder: str, shape: Shape, args: dict[str, Any]) -> nn.Module:
    """Return a network with shapes only, without memory or arithmetic; small ones are real."""
    with torch.device("cpu" if shape[0] == 1 else "meta"):
        return BUILDERS[builder](shape, 10, **args)


def seen(model: nn.Module, shape: Shape) -> Layers:
    """Return the layers in the model's order, with their outputs for one image."""
    outputs: dict[str, Shape] = {}
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    for name, layer in layers.items():
        layer.register_forward_hook(
            lambda _, __, output, name=name: outputs.update({name: tuple(output.shape[1:])})
        )
    model.eval()(torch.empty(1, *shape, device=next(model.parameters()).device))
    return {name: (tuple(layer.weight.shape), outputs[name]) for name, layer in layers.items()}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_networks_have_the_papers_layers(name: str) -> None:
    described = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    shape = MNIST if name.startswith("l") else CIFAR
    model = untouched(described["builder"], shape, described.get("args", {}))
    parameters, layers = PAPER[name]
    assert list(seen(model, shape).items()) == list(layers.items())
    assert count(model) == parameters


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (16, 8, 11.0),
        (22, 8, 17.2),
        (16, 10, 17.1),
        (28, 10, 36.5),
    ],
)
def test_depth_and_width_of_a_wide_resnet_are_counted_as_its_authors_count_them(
    depth: int, width: int, millions: float
) -> None:
    model = untouched("wide_resnet", CIFAR, {"depth": depth, "width": width})
    assert round(count(model) / 1e6, 1) == millions, "Zagoruyko & Komodakis, 2016, tables 3 and 4"


@pytest.mark.parametrize(
    ("depth", "stages"),
    [
        (11, ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))),
        (13, ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512))),
        (16, ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))),
        (19, ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))),
    ],
)
def test_depths_of_vgg_are_configurations_a_b_d_and_e(
    depth: int, stages: tuple[tuple[int, int], ...]
) -> None:
    assert seen(untouched("vgg", CIFAR, {"depth": depth}), CIFAR) == vgg(*stages)


@pytest.mark.parametrize(
    ("builder", "args", "same"),
    [
        ("lstm", {}, {"hidden": 128}),
        ("vgg", {}, {"depth": 16}),
        ("wide_resnet", {}, {"depth": 16, "width": 8}),
        ("cifar_resnet", {}, {"depth": 20}),
        ("mlp", {}, {"widths": [512, 512]}),
    ],
)
def test_arguments_have_the_papers_values_unless_given(
    builder: str, args: dict[str, Any], same: dict[str, Any]
) -> None:
    shape = MNIST if builder == "lstm" else CIFAR
    assert seen(untouched(builder, shape, args), shape) == seen(
        untouched(builder, shape, same), shape
    )


@pytest.mark.parametrize(
    ("builder", "shape", "args", "message"),
    [
        ("lenet5", (1, 15, 28), {}, "images are 15×28, LeNet-5 needs at least 16×16"),
        ("lenet5", (1, 28, 15), {}, "images are 28×15, LeNet-5 needs at least 16×16"),
        ("vgg", (3, 15, 32), {}, "images are 15×32, VGG-16 needs at least 16×16"),
        ("vgg", (3, 32, 15), {"depth": 11}, "images are 32×15, VGG-11 needs at least 16×16"),
        ("vgg", CIFAR, {"depth": 12}, "depth is 12, expected one of 11, 13, 16, 19"),
        ("lstm", MNIST, {"hidden": 0}, "hidden is 0, expected at least 1"),
        (
            "wide_resnet",
            CIFAR,
            {"depth": 4},
            "depth is 4 and width 8, expected depth 10, 16, 22, 28, … and width ≥ 1",
        ),
        ("wide_resnet", CIFAR, {"depth": 12}, "depth is 12 and width 8, expected"),
        ("wide_resnet", CIFAR, {"width": 0}, "depth is 16 and width 0, expected"),
        ("cifar_resnet", CIFAR, {"depth": 18}, "depth is 18, expected 8, 14, 20, 26, 32, …"),
        ("cifar_resnet", CIFAR, {"depth": 2}, "depth is 2, expected 8, 14, 20, 26, 32, …"),
        ("mlp", MNIST, {"widths": [9, 0]}, "widths is [9, 0], expected a list of whole numbers"),
        ("mlp", MNIST, {"widths": [9.0]}, "widths is [9.0], expected a list of whole numbers"),
        ("mlp", MNIST, {"widths": 512}, "widths is 512, expected a list of whole numbers from 1"),
        ("mlp", MNIST, {"widths": "512"}, "widths is 512, expected a list of whole numbers"),
        ("resnet18", CIFAR, {"stem": "s"}, "stem is 's', expected one of auto, small, large"),
        ("mobilenet_v2", CIFAR, {"stem": "s"}, "stem is 's', expected one of auto, small, large"),
        ("mobilenet_v2", CIFAR, {"width": 0}, "width is 0, expected more than 0"),
    ],
)
def test_what_a_builder_cannot_take_is_refused(
    builder: str, shape: Shape, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        BUILDERS[builder](shape, 10, **args)


SMALLEST = [
    ("lenet5", {}),
    ("vgg", {"depth": 11}),
    ("lstm", {"hidden": 1}),
    ("wide_resnet", {"depth": 10, "width": 1}),
    ("cifar_resnet", {"depth": 8}),
    ("mlp", {"widths": []}),
    ("mlp", {"widths": [1]}),
]


@pytest.mark.parametrize(("builder", "args"), SMALLEST)
def test_the_smallest_images_and_arguments_that_a_builder_takes(
    builder: str, args: dict[str, Any]
) -> None:
    with torch.device("meta"):
        model = BUILDERS[builder]((2, 16, 16), 10, **args)
        assert model.eval()(torch.empty(2, 2, 16, 16)).shape == (2, 10)


# What they compute: images of odd, unequal sides, so that neither can stand for the other

COMPARED: dict[str, tuple[str, Shape, dict[str, Any], Network]] = {
    "lenet_300_100": ("lenet_300_100", (2, 5, 3), {}, networks.lenet_300_100),
    "lenet5": ("lenet5", (2, 19, 22), {}, networks.lenet5),
    "lstm": ("lstm", (2, 5, 3), {"hidden": 7}, networks.lstm),
    "vgg11": ("vgg", (3, 18, 34), {"depth": 11}, networks.vgg),
    "wrn_10_1": ("wide_resnet", (3, 9, 6), {"depth": 10, "width": 1}, networks.wide_resnet),
    "wrn_16_2": ("wide_resnet", (3, 9, 6), {"depth": 16, "width": 2}, networks.wide_resnet),
    "resnet14": ("cifar_resnet", (3, 9, 6), {"depth": 14}, networks.cifar_resnet),
    "mlp": ("mlp", (2, 5, 3), {"widths": [90, 70, 60]}, networks.mlp),
}
UNLIKE_PYTORCH = ("lstm", "resnet14")  # which have an initialisation of their own


@cache
def first(name: str) -> nn.Module:
    """Return the network as built; it is cached, so no test may change it."""
    builder, shape, args, _ = COMPARED[name]
    torch.manual_seed(0)
    return BUILDERS[builder](shape, 4, **args)


def trained(name: str) -> nn.Module:
    """Return the network with batch norms and biases that are not at 0 and 1."""
    model = deepcopy(first(name))
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.3)
    for name_, parameter in model.named_parameters():
        if name_.endswith("bias"):
            parameter.data.uniform_(-0.3, 0.3)
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", COMPARED)
def test_outputs_and_gradients_are_those_of_the_written_network(name: str, training: bool) -> None:
    """Compute the gradient of the images for a sum that weights every logit differently."""
    _, shape, _, reference = COMPARED[name]
    model = trained(name).train(training).requires_grad_(False)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(4, *shape, requires_grad=True)
    theirs, ours = reference(state, images, training), model(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    weights = torch.linspace(-1, 1, ours.numel()).view_as(ours)
    slopes = [torch.autograd.grad((logits * weights).sum(), images)[0] for logits in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
    for key, value in model.named_buffers():  # the running statistics of batch norm
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, state[key], rtol=1e-6, atol=1e-6)


# How they begin


def uniform(bound: float, tensor: Tensor) -> bool:
    """Return whether values are uniform in ±bound, within four standard errors."""
    n = tensor.numel()
    largest = tensor.abs().max().item()
    return (
        bound * (1 - 8 / n) <= largest <= bound * (1 + 1e-6)
        and abs(tensor.mean().item()) <= 4 * bound / sqrt(3 * n)
        and abs(tensor.std().item() / bound * sqrt(3) - 1) <= 4 * sqrt(0.2 / n)
    )


def fan_in(weight: Tensor) -> int:
    return weight[0].numel()


@pytest.mark.parametrize("name", [name for name in COMPARED if name not in UNLIKE_PYTORCH])
def test_weights_and_biases_begin_as_pytorchs_do(name: str) -> None:
    """Check uniform weights and biases in ±1/√fan-in (PyTorch's kaiming_uniform_ of slope √5)."""
    for key, module in first(name).named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / sqrt(fan_in(module.weight))
            assert uniform(bound, module.weight), key
            if module.bias is not None:
                assert 0 < module.bias.abs().max() <= bound, key
                assert len(module.bias) < 50 or uniform(bound, module.bias), key


@pytest.mark.parametrize(
    ("name", "maps", "vectors"),
    [
        ("vgg11", 0.5, 1.0),
        ("wrn_10_1", 1.0, None),
        ("wrn_16_2", 1.0, None),
        ("resnet14", 1.0, None),
    ],
)
def test_batch_norms_begin_where_the_paper_has_them(
    name: str, maps: float, vectors: float | None
) -> None:
    for key, module in first(name).named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            weight = maps if isinstance(module, nn.BatchNorm2d) else vectors
            assert module.weight.unique().tolist() == [weight], key
            assert not module.bias.any(), key
            assert not module.running_mean.any(), key
            assert module.running_var.unique().tolist() == [1], key


def test_an_lstms_gates_begin_evenly_in_one_over_the_root_of_its_width() -> None:
    """Check weights for any number of inputs, biases at 0, and a classifier uniform in ±0.1."""
    torch.manual_seed(0)
    model = BUILDERS["lstm"]((1, 4, 9), 50, hidden=64)
    for layer in (model.lstm1, model.lstm2):
        for weight in (layer.input_to_hidden.weight, layer.hidden_to_hidden.weight):
            for gate in weight.chunk(4):
                assert uniform(1 / 8, gate)
        assert not layer.input_to_hidden.bias.any()
        assert layer.hidden_to_hidden.bias is None
    assert uniform(0.1, model.classifier.weight)
    assert not model.classifier.bias.any()


# ResNet-50


@pytest.mark.parametrize(
    ("channels", "classes", "parameters"), [(3, 1000, 25_557_032), (1, 10, 23_522_250)]
)
def test_resnet50_is_torchvisions(channels: int, classes: int, parameters: int) -> None:
    """Compare with torchvision module by module, except the first convolution's inputs where images
    are not RGB.
    """
    import torchvision

    with torch.device("meta"):
        ours, theirs = (
            BUILDERS["resnet50"]((channels, 64, 48), classes),
            torchvision.models.resnet50(num_classes=classes),
        )
    assert type(ours) is type(theirs)
    assert repr(ours) == repr(theirs).replace("Conv2d(3, 64, ", f"Conv2d({channels}, 64, ")
    assert count(ours) == parameters


def test_resnet50_begins_untrained_and_its_new_first_convolution_as_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check a normal distribution with variance 2 / fan-out for 64 filters of 49 weights."""
    asked: list[dict[str, Any]] = []

    def resnet50(**given: Any) -> nn.Module:
        asked.append(given)
        return nn.Sequential()

    monkeypatch.setattr("torchvision.models.resnet50", resnet50)
    torch.manual_seed(0)
    first = BUILDERS["resnet50"]((2, 64, 64), 7).conv1.weight
    BUILDERS["resnet50"]((3, 64, 64), 7, zero_init_residual=True)
    usual = {"weights": None, "num_classes": 7, "zero_init_residual": False}
    assert asked == [usual, usual | {"zero_init_residual": True}]
    assert first.std().item() == pytest.approx(sqrt(2 / (64 * 49)), rel=0.04)
    assert first.abs().max() > 3 * sqrt(2 / (64 * 49)), (
        "not even, which would end at √3 standard deviations"
    )


# Residual networks for CIFAR


def test_a_cifar_resnet_begins_with_a_variance_of_two_over_fan_in() -> None:
    for key, module in first("resnet14").named_modules():
        if isinstance(module, nn.Conv2d):
            n, std = module.weight.numel(), sqrt(2 / fan_in(module.weight))
            assert module.weight.std().item() / std == pytest.approx(1, abs=5 / sqrt(2 * n)), key
            assert module.weight.abs().max() > 2.2 * std, "not even"
    assert uniform(1 / 8, first("resnet14").fc.weight)
