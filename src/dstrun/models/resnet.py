"""Residual networks of torchvision, for any number of input channels."""

from torch import nn

from dstrun.models.stem import first_convolution, is_small


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
        model.conv1 = first_convolution(shape[0], 64, 7, stride=2)
    return model


def resnet18(
    shape: tuple[int, int, int],
    classes: int,
    stem: str = "auto",
    zero_init_residual: bool = False,
) -> nn.Module:
    """Return an untrained ResNet-18 that begins with maps of the images' size where they are small.

    stem: small, a first convolution of 3×3 with stride 1 and no pooling; large, as for ImageNet;
    auto, by the longest side of the images, up to 64 pixels being small.
    """
    small = is_small(shape, stem)
    from torchvision.models import resnet18 as build  # takes 1.6 s

    model = build(weights=None, num_classes=classes, zero_init_residual=zero_init_residual)
    if small:
        model.conv1 = first_convolution(shape[0], 64, 3, stride=1)
        model.maxpool = nn.Identity()
    elif shape[0] != 3:
        model.conv1 = first_convolution(shape[0], 64, 7, stride=2)
    return model
