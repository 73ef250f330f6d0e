"""ResNet-50 of torchvision, for any number of input channels."""

from torch import nn


def resnet50(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return an untrained ResNet-50, with a new first convolution where images are not RGB."""
    from torchvision.models import resnet50 as build  # takes 1.6 s

    model = build(weights=None, num_classes=classes)
    if shape[0] != 3:
        model.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
