"""ResNet-18 and MobileNetV2: torchvision's, but for first layers that suit small images."""

from math import sqrt
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from dstrun.models import BUILDERS

Shape = tuple[int, int, int]
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def untouched(builder: str, shape: Shape, classes: int, **args: Any) -> Any:
    """Return a network with shapes only, without memory or arithmetic."""
    with torch.device("meta"):
        return BUILDERS[builder](shape, classes, **args)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("builder", "shape", "classes", "args", "parameters"),
    [
        ("resnet18", IMAGENET, 1000, {}, 11_689_512),  # torchvision's page
        ("resnet18", CIFAR, 10, {}, 11_173_962),  # pytorch-cifar's ResNet18
        ("mobilenet_v2", IMAGENET, 1000, {}, 3_504_872),  # torchvision's page
        (
            "mobilenet_v2",
            IMAGENET,
            1000,
            {"width": 1.4},
            6_108_776,
        ),  # timm's mobilenetv2_140: 6.11 M
        ("mobilenet_v2", CIFAR, 10, {}, 2_236_682),
    ],
)
def test_number_of_parameters(
    builder: str, shape: Shape, classes: int, args: dict[str, Any], parameters: int
) -> None:
    assert count(untouched(builder, shape, classes, **args)) == parameters


@pytest.mark.parametrize("builder", ["resnet18", "mobilenet_v2"])
def test_for_large_images_it_is_torchvisions(builder: str) -> None:
    """Compare module by module, except the first convolution's inputs where images are not RGB."""
    with torch.device("meta"):
        theirs = getattr(torchvision.models, builder)(num_classes=7)
    for channels in (3, 1):
        ours = untouched(builder, (channels, 65, 32), 7)
        assert type(ours) is type(theirs)
        assert repr(ours) == repr(theirs).replace("Conv2d(3, ", f"Conv2d({channels}, ", 1)
    assert repr(untouched(builder, CIFAR, 7, stem="large")) == repr(theirs)


@pytest.mark.parametrize(
    ("builder", "maps"), [("resnet18", (512, 4, 4)), ("mobilenet_v2", (1280, 4, 4))]
)
def test_small_images_are_reduced_to_four_by_four_pixels(
    builder: str, maps: tuple[int, ...]
) -> None:
    for shape, args in ((CIFAR, {}), ((1, 28, 32), {}), (CIFAR, {"stem": "small"})):
        model, seen = untouched(builder, shape, 10, **args), []
        last = model.layer4 if builder == "resnet18" else model.features
        last.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output.shape[1:]))
        with torch.device("meta"):
            assert model.eval()(torch.empty(2, *shape)).shape == (2, 10)
        assert seen == [maps]
    assert repr(untouched(builder, (3, 64, 64), 5)) == repr(
        untouched(builder, (3, 224, 224), 5, stem="small")
    )


@pytest.mark.parametrize(
    ("builder", "shape", "fan_out"),
    [
        ("resnet18", (2, 32, 32), 64 * 9),
        ("resnet18", (2, 65, 65), 64 * 49),
        ("mobilenet_v2", (2, 65, 65), 32 * 9),
    ],
)
def test_a_new_first_convolution_begins_as_the_others(
    builder: str, shape: Shape, fan_out: int
) -> None:
    torch.manual_seed(0)
    weight = next(BUILDERS[builder](shape, 3).parameters())
    assert weight.shape[1] == 2
    assert weight.std().item() == pytest.approx(sqrt(2 / fan_out), rel=0.1)
    assert weight.abs().max() > 2.2 * sqrt(2 / fan_out), "not even"


def test_their_options() -> None:
    ends = [one.bn2 for one in untouched("resnet18", CIFAR, 3).modules() if hasattr(one, "bn2")]
    model = BUILDERS["resnet18"](CIFAR, 3, zero_init_residual=True)
    zeros = [not one.bn2.weight.any() for one in model.modules() if hasattr(one, "bn2")]
    assert zeros == [True] * len(ends) == [True] * 8
    assert untouched("mobilenet_v2", CIFAR, 3).classifier[0].p == 0.2
    assert untouched("mobilenet_v2", CIFAR, 3, dropout=0.0).classifier[0].p == 0
