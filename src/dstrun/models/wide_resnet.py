"""Wide residual networks for small images (Zagoruyko & Komodakis, 2016), without dropout."""

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Residual block: BN-ReLU-conv twice, added to the input.

    Where the width changes, the input goes through a 1×1 convolution, as in the authors' code.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        activated = F.relu(self.bn1(maps))
        residual = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + (maps if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """Three groups of (depth − 4) / 6 blocks: (B, C, H, W) → classes.

    The groups are 16·width, 32·width and 64·width channels wide. PyTorch's initialisation, for
    dense and sparse networks alike. Raise ValueError for a depth that is not 6n + 4.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, depth: int = 16, width: int = 8
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6 or width < 1:
            raise ValueError(
                f"depth is {depth} and width {width}, "
                "expected depth 10, 16, 22, 28, … and width ≥ 1"
            )
        widths = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(shape[0], widths[0], 3, padding=1, bias=False)
        blocks = []
        for group, stride in enumerate((1, 2, 2)):
            inputs, outputs = widths[group : group + 2]
            blocks.append(Block(inputs, outputs, stride))
            for _ in range((depth - 4) // 6 - 1):
                blocks.append(Block(outputs, outputs, 1))
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(widths[3])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.bn(self.blocks(self.conv1(images))))
        return self.fc(self.pool(maps).flatten(1))
