"""VGG-16 with batch norm for small images: 13 convolutions and two linear layers. Knows torch
alone."""

from torch import Tensor, nn

_WIDTHS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}


class VGG(nn.Module):
    """(B, C, H, W) → convolutions of 3×3 in five stages, pooled by 2 between them → 512 → classes;
    at least 16×16.

    PyTorch's initialisation, batch-norm weights 0.5.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int = 16) -> None:
        super().__init__()
        channels, height, width = shape
        if depth not in _WIDTHS:
            raise ValueError(f"depth is {depth}, expected one of {', '.join(map(str, _WIDTHS))}")
        if min(height, width) < 16:
            raise ValueError(f"images are {height}×{width}, VGG-{depth} needs at least 16×16")
        layers: list[nn.Module] = []
        for stage, widths in enumerate(_WIDTHS[depth]):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for out in widths:
                layers += [
                    nn.Conv2d(channels, out, 3, padding=1, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(True),
                ]
                channels = out
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(channels, 512), nn.BatchNorm1d(512), nn.ReLU(True), nn.Linear(512, classes)
        )
        for module in self.features:
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))
