"""First layers of torchvision's networks, for images that are not RGB or are small.

A network for ImageNet reduces 224 pixels to 7 and leaves one pixel of CIFAR's 32. For small images
the field leaves out the first halvings (kuangliu's pytorch-cifar): a first convolution of 3×3 with
stride 1, and no pooling or stride behind it.
"""

from torch import nn

SMALL = 64  # pixels, the longest side of images that count as small
STEMS = ("auto", "small", "large")


def is_small(shape: tuple[int, int, int], stem: str) -> bool:
    """Return whether a network is to begin as for small images; ValueError for another `stem`."""
    if stem not in STEMS:
        raise ValueError(f"stem is {stem!r}, expected one of {', '.join(STEMS)}")
    return stem == "small" or (stem == "auto" and max(shape[1:]) <= SMALL)


def first_convolution(channels: int, filters: int, kernel: int, stride: int) -> nn.Conv2d:
    """Return a convolution without bias that begins as torchvision's do: normal, by fan-out."""
    convolution = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
