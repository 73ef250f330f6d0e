"""LeNet-300-100 and Caffe's LeNet-5, with PyTorch's own initialisation."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet300100(nn.Module):
    """Three linear layers with ReLU: (B, C, H, W) → 300 → 100 → classes."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(prod(shape), 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(images.flatten(1)))
        return self.fc3(F.relu(self.fc2(hidden)))


class LeNet5(nn.Module):
    """Two convolutions and two linear layers: (B, C, H, W) → 500 → classes.

    The convolutions are 5×5, each followed by max pooling by 2. Raise ValueError for images
    smaller than 16×16.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 16:
            raise ValueError(f"images are {height}×{width}, LeNet-5 needs at least 16×16")
        pooled = [((side - 4) // 2 - 4) // 2 for side in (height, width)]
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc3 = nn.Linear(50 * prod(pooled), 500)
        self.fc4 = nn.Linear(500, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)
        return self.fc4(F.relu(self.fc3(maps.flatten(1))))
