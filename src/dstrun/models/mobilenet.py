"""MobileNetV2 of torchvision (Sandler et al., 2018), for any size and number of channels."""

from torch import nn

from dstrun.models.stem import first_convolution, is_small

# Of each stage: expansion, channels, blocks, stride of the first (table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
    stem: str = "auto",
    dropout: float = 0.2,
) -> nn.Module:
    """Return an untrained MobileNetV2.

    width: factor on the channels of all layers. stem: small, a stride of 1 in the first convolution
    and in the second stage, which leaves 4×4 of 32×32 pixels as in pytorch-cifar; large, as for
    ImageNet; auto, by the longest side of the images, up to 64 pixels being small. dropout: in
    front of the classifier. Raise ValueError for a width that is not positive.
    """
    if width <= 0:
        raise ValueError(f"width is {width}, expected more than 0")
    small = is_small(shape, stem)
    from torchvision.models import MobileNetV2  # takes 1.6 s

    stages = [list(stage) for stage in STAGES]
    if small:
        stages[1][3] = 1
    model = MobileNetV2(classes, width, inverted_residual_setting=stages, dropout=dropout)
    if small or shape[0] != 3:
        filters = model.features[0][0].out_channels
        stride = 1 if small else 2
        model.features[0][0] = first_convolution(shape[0], filters, 3, stride)
    return model
