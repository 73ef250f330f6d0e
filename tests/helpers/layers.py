"""Every type of layer that can have masks, with what it is called with, and one of a user's own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

B, T = 2, 5


def x(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def indices(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel()).view(shape) % 7


# name: (layer, what it is called with)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "Linear": (lambda: nn.Linear(4, 6), (x(B, 4),)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), (x(B, 4, 9),)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, groups=2, stride=2), (x(B, 4, 9, 9),)),
    "Conv3d": (lambda: nn.Conv3d(2, 4, 3, padding="same"), (x(B, 2, 5, 5, 5),)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (x(B, 4, 5),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (x(B, 4, 5, 5),)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (x(B, 2, 3, 3, 3),)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), (x(B, 3), x(B, 4))),
    "Embedding": (lambda: nn.Embedding(7, 4, padding_idx=1), (indices(B, T),)),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        (x(B, T, 8), x(B, 3, 8), x(B, 3, 8)),
    ),
    "MultiheadAttention, q k v apart": (
        lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=6, add_bias_kv=True),
        (x(T, B, 8), x(3, B, 4), x(3, B, 6)),
    ),
    "LSTM": (lambda: nn.LSTM(4, 6, 2, bidirectional=True, proj_size=3), (x(T, B, 4),)),
    "GRU": (lambda: nn.GRU(4, 6, batch_first=True), (x(B, T, 4),)),
    "RNN": (lambda: nn.RNN(4, 6), (x(T, B, 4),)),
    "LSTMCell": (lambda: nn.LSTMCell(4, 6), (x(B, 4),)),
    "GRUCell": (lambda: nn.GRUCell(4, 6), (x(B, 4),)),
    "RNNCell": (lambda: nn.RNNCell(4, 6), (x(B, 4),)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        (x(B, T, 8),),
    ),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0),
        (x(T, B, 8), x(3, B, 8)),
    ),
}


class Scaled(nn.Module):
    """A layer of a user's package: its weight is (inputs, outputs)."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4).clone())

    def forward(self, values: Tensor) -> Tensor:
        return 2 * values @ self.matrix
