"""Language model of GPT-2's kind (Radford et al., 2019): the next token from those before it."""

from math import sqrt

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dstrun.models.transformer import Block, check_sizes


@fx.wrap  # one operation for torch.fx, which cannot trace a comparison of sizes
def first_rows(positions: Tensor, tokens: Tensor) -> Tensor:
    """Return (T, width), the vectors of the positions of tokens (B, T).

    Raise ValueError for more tokens than there are positions.
    """
    length = tokens.shape[1]
    if length > len(positions):
        raise ValueError(f"a sequence has {length} tokens, the model takes {len(positions)}")
    return positions[:length]


class GPT(nn.Module):
    """Embedding → `depth` causal blocks of `width` → logits: int64 (B, T) → (B, T, classes).

    shape: (length,), the number of tokens of a training example; classes: number of different
    tokens. context: the most tokens that the model takes (0: length). dropout: also acts on the sum
    of embeddings and positions. tied: the head computes with the embedding's weight.

    Weights are drawn from a normal distribution of standard deviation 0.02, those of the layers
    that add to the residual stream, `out` and `fc2`, of 0.02 / √(2 · depth); biases are 0, and the
    head has none. Raise ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int = 256,
        depth: int = 4,
        width: int = 128,
        heads: int = 4,
        context: int = 0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(depth, width, heads, dropout=dropout)
        if len(shape) != 1:
            sides = "×".join(map(str, shape))
            raise ValueError(f"the data are {sides}, expected sequences of tokens (data=text)")
        if context < 0 or 0 < context < shape[0]:
            raise ValueError(
                f"context is {context} and a sequence of the data has {shape[0]} tokens, expected "
                f"a context of {shape[0]} or more (0: the length of the data)"
            )
        self.context = context or shape[0]
        self.dropout = dropout
        self.embedding = nn.Embedding(classes, width)
        self.positions = nn.Parameter(torch.empty(self.context, width))
        blocks = [Block(width, heads, causal=True, dropout=dropout) for _ in range(depth)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes, bias=False)
        self._initialise(0.02 / sqrt(2 * depth))
        if tied:
            self.head.weight = self.embedding.weight

    def _initialise(self, residual: float) -> None:
        """Draw all weights; residual: standard deviation of those that add to the stream."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                adds = name.endswith((".attention.out", ".mlp.fc2"))
                nn.init.normal_(module.weight, std=residual if adds else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens) + first_rows(self.positions, tokens)
        if self.dropout:
            hidden = F.dropout(hidden, self.dropout, self.training)
        return self.head(self.norm(self.blocks(hidden)))
