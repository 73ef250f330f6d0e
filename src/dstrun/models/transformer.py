"""Transformer block with layer norm in front of each branch, for images and for text.

    x ← x + out(attention(LN(x)))    x ← x + W₂ GELU(W₁ LN(x))

Attention has four linear layers, q, k, v and out, so that each has a mask and thresholds of its
own: a row of q, k or v is one dimension of one head (Vaswani et al., 2017; pre-norm and GELU as in
Dosovitskiy et al., 2021, and GPT-2).
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, width) → (B, T, width).

    causal: a token sees itself and those before it only.
    """

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (self._by_head(layer(tokens)) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _by_head(self, vectors: Tensor) -> Tensor:
        """Return (B, heads, T, width / heads) of (B, T, width)."""
        return vectors.unflatten(2, (self.heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with GELU between them: (B, T, width) → ratio · width → (B, T, width)."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and an MLP, each added to its input: (B, T, width) → (B, T, width).

    dropout: share of what each branch adds that is set to 0 in training. drop_path: share of the
    examples for which a branch is left out in training (stochastic depth, Huang et al., 2016).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(width)
        self.dropout, self.drop_path = dropout, drop_path

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._dropped(self.attention(self.norm1(tokens)))
        return tokens + self._dropped(self.mlp(self.norm2(tokens)))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Return what a branch adds, after dropout and stochastic depth."""
        if self.dropout:
            branch = F.dropout(branch, self.dropout, self.training)
        if self.drop_path and self.training:
            kept = branch.new_ones(branch.shape[0], 1, 1)
            branch = branch * F.dropout(kept, self.drop_path)  # the rest over 1 − drop_path
        return branch


def check_sizes(depth: int, width: int, heads: int, **shares: float) -> None:
    """Raise ValueError, naming the argument, for sizes and shares that make no transformer."""
    for name, value in {"depth": depth, "width": width, "heads": heads}.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    if width % heads:
        raise ValueError(f"width is {width} and heads {heads}, expected a multiple of heads")
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}, expected at least 0 and less than 1")
