"""Vision transformer (Dosovitskiy et al., 2021) as DeiT trains it (Touvron et al., 2021).

An image is cut into patches of patch × patch pixels; a linear map of each, a class token in front
of them, and a learned vector per position go through the blocks. The classes are computed from the
class token after the last block and a layer norm.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.models.transformer import Block, check_sizes

EPS = 1e-6  # of layer norm, as in the authors' code


class ViT(nn.Module):
    """Patches → `depth` blocks of `width` → classes: (B, C, H, W) → (B, classes).

    dropout: also acts on the sum of patches and positions. drop_path: of the last block; it rises
    evenly from 0 at the first. Weights of linear layers, the class token and the positions are
    drawn from a normal distribution of standard deviation 0.02, cut off at ±2; biases are 0. The
    map of the patches is a convolution that begins as torch's do. Raise ValueError for sizes that
    do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        patch: int = 4,
        depth: int = 6,
        width: int = 128,
        heads: int = 4,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(depth, width, heads, dropout=dropout, drop_path=drop_path)
        channels, height, image_width = shape
        if patch < 1 or height % patch or image_width % patch:
            raise ValueError(
                f"patch is {patch}, expected a divisor of the images' sides, {height}×{image_width}"
            )
        tokens = 1 + (height // patch) * (image_width // patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(tokens, width))
        paths = [drop_path * number / max(depth - 1, 1) for number in range(depth)]
        blocks = [Block(width, heads, dropout=dropout, drop_path=path, eps=EPS) for path in paths]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, EPS)
        self.head = nn.Linear(width, classes)
        self.dropout = dropout
        self._initialise()

    def _initialise(self) -> None:
        """Draw the weights of linear layers, class token and positions."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        first = self.class_token.expand(images.shape[0], 1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.positions
        if self.dropout:
            tokens = F.dropout(tokens, self.dropout, self.training)
        return self.head(self.norm(self.blocks(tokens)[:, 0]))
