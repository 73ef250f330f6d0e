"""VGG with batch norm for small images, such as VGG-16: 13 convolutions, two linear layers."""

from collections.abc import Sequence

from torch import Tensor, nn

WIDTHS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}


class VGG(nn.Module):
    """Convolutions of 3×3 in five stages, pooled by 2 between them: (B, C, H, W) → 512 → classes.

    PyTorch's initialisation, but batch-norm weights of 0.5. Raise ValueError for images smaller
    than 16×16 and an unknown depth.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int = 16) -> None:
        super().__init__()
        channels, height, width = shape
        if depth not in WIDTHS:
            raise ValueError(f"depth is {depth}, expected one of {', '.join(map(str, WIDTHS))}")
        if min(height, width) < 16:
            raise ValueError(f"images are {height}×{width}, VGG-{depth} needs at least 16×16")
        stages = WIDTHS[depth]
        self.features = nn.Sequential(*_convolutions(channels, stages))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(stages[-1][-1], 512),
            nn.BatchNorm1d(512),
            nn.ReLU(True),
            nn.Linear(512, classes),
        )
        for module in self.features:
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))


def _convolutions(channels: int, stages: Sequence[Sequence[int]]) -> list[nn.Module]:
    """Return the layers of all stages; a stage is the widths of its convolutions."""
    layers: list[nn.Module] = []
    for number, widths in enumerate(stages):
        if number:
            layers.append(nn.MaxPool2d(2))
        for width in widths:
            convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(True)]
            channels = width
    return layers
