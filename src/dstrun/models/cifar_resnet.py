"""Residual networks for small images (He et al., 2016, section 4.2): ResNet-20, 32, 56.

Where a block changes the width, its shortcut is the paper's option A: every second pixel of the
input, with zeros for the new channels, so that no shortcut has a parameter.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Residual block: conv-BN-ReLU-conv-BN, added to the input, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        if self.added:
            maps = maps[:, :, :: self.stride, :: self.stride]
            front = self.added // 2
            maps = F.pad(maps, (0, 0, 0, 0, front, self.added - front))
        return F.relu(residual + maps)


class CIFARResNet(nn.Module):
    """Three groups of (depth − 2) / 6 blocks: (B, C, H, W) → classes.

    The groups are 16, 32 and 64 channels wide. Convolutions begin normal with a variance of
    2 / fan-in (He et al., 2015), the classifier as torch's do. Raise ValueError for a depth that is
    not 6n + 2.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int = 20) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth is {depth}, expected 8, 14, 20, 26, 32, …")
        self.conv1 = nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs in (16, 32, 64):
            for _ in range((depth - 2) // 6):
                blocks.append(Block(inputs, outputs, 1 if inputs == outputs else 2))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(F.relu(self.bn1(self.conv1(images))))
        return self.fc(self.pool(maps).flatten(1))
