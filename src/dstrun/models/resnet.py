"""ResNet-50 of torchvision, for any number of input channels."""

from torch import nn


def resnet50(
    shape: tuple[int, int, int], classes: int, zero_init_residual: bool = False
) -> nn.Module:
    """Return an untrained ResNet-50, with a new first convolution where images are not RGB.

    zero_init_residual: the last batch norm of each block has weights of 0, so that a block begins
    as the identity (Goyal et al., 2017).
    """
    from torchvision.models import resnet50 as build  # takes 1.6 s

    model = build(weights=None, num_classes=classes, zero_init_residual=zero_init_residual)
    if shape[0] != 3:
        model.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
