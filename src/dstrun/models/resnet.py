"""ResNet-50: torchvision's, as it is, for any number of input channels. Knows torch and
torchvision."""

from torch import nn


def resnet50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's ResNet-50, untrained; its first convolution is made again where images are not
    RGB."""
    from torchvision.models import (
        resnet50 as build,
    )  # 1.6 s to import: only where this model is asked for

    model = build(weights=None, num_classes=classes)
    if shape[0] != 3:
        model.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
