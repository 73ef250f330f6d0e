"""Multiply-adds of every type of layer: weights × uses is what torch's counter finds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from dstrun.methods.flops import FUSED, multiply_adds
from dstrun.methods.layer_kinds import Kind
from dstrun.methods.layer_weights import all_weights
from dstrun.methods.mask_stats import LayerFigures
from dstrun.methods.masked_layers import masked_layers, sparsify
from dstrun.models.gpt import GPT
from tests.helpers.layers import LAYERS, Scaled


class Called(nn.Module):
    """A model of one layer, called with arguments of its own."""

    def __init__(self, layer: nn.Module, *arguments: Any, **named: Any) -> None:
        super().__init__()
        self.layer, self.arguments, self.named = layer, arguments, named

    def forward(self, example: Tensor) -> Any:
        return self.layer(*self.arguments, **self.named)


def counted(layer: nn.Module, *arguments: Any, **named: Any) -> tuple[int, dict[str, int]]:
    """Return all multiply-adds, and the uses of each weight, without the name of the layer."""
    work = multiply_adds(Called(layer, *arguments, **named), torch.zeros(1))
    return work.total, {name[6:]: uses for name, uses in work.positions.items()}


def products(layer: nn.Module, positions: dict[str, int]) -> int:
    return sum(one.weight.numel() * positions[name] for name, one in all_weights(layer).items())


# By hand: products of no weights, and uses of all weights or of each, for B = 2 and T = 5 tokens.
ATTENTION = 2 * 2 * 5 * 3 * 8  # scores of 5 queries and 3 keys of 8 features, and their use
BY_HAND: dict[str, tuple[int, int | dict[str, int]]] = {
    "Linear": (0, 2),
    "Conv1d": (0, 2 * 9),
    "Conv2d": (0, 2 * 4 * 4),
    "Conv3d": (0, 2 * 125),
    "ConvTranspose1d": (0, 2 * 5),
    "ConvTranspose2d": (0, 2 * 25),
    "ConvTranspose3d": (0, 2 * 27),
    "Bilinear": (0, 2),
    "Embedding": (0, 0),
    "MultiheadAttention": (
        ATTENTION,
        {"in_proj_weight.q": 10, "in_proj_weight.k": 6, "in_proj_weight.v": 6, "out_proj": 10},
    ),
    "MultiheadAttention, q k v apart": (
        2 * 2 * 5 * 4 * 8,  # a learned key and value more
        {"q_proj_weight": 10, "k_proj_weight": 6, "v_proj_weight": 6, "out_proj": 10},
    ),
    "LSTM": (0, 10),
    "GRU": (0, 10),
    "RNN": (0, 10),
    "LSTMCell": (0, 2),
    "GRUCell": (0, 2),
    "RNNCell": (0, 2),
    "TransformerEncoderLayer": (2 * 2 * 5 * 5 * 8, 10),
    "TransformerDecoderLayer": (
        2 * 2 * 5 * 5 * 8 + ATTENTION,
        {
            "self_attn.in_proj_weight.k": 10,
            "multihead_attn.in_proj_weight.q": 10,
            "multihead_attn.in_proj_weight.v": 6,
            "multihead_attn.out_proj": 10,
            "linear1": 10,
        },
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weights_times_uses_and_products_without_weights_are_all(name: str) -> None:
    layer, arguments = LAYERS[name][0]().double(), LAYERS[name][1]
    total, positions = counted(layer, *arguments)
    rest, uses = BY_HAND[name]
    assert positions.keys() == all_weights(layer).keys()
    assert total == rest + products(layer, positions)
    expected = dict.fromkeys(positions, uses) if isinstance(uses, int) else uses
    assert expected.items() <= positions.items()
    sparsify(layer, include=["*"])
    assert counted(layer, *arguments) == (total, positions)


@pytest.mark.parametrize("shift", [0, 2])
def test_attention_of_windows_counts_whole_windows(shift: int) -> None:
    """Sides of 6 and 10 make 2 × 3 windows of 4 × 4 tokens; scores and their use are 2 · 16² · 8.

    The windows are shifted, or not.
    """
    layer = ShiftedWindowAttention(8, [4, 4], [shift, shift], 2)
    total, positions = counted(layer, torch.zeros(1, 6, 10, 8))
    assert positions == {"qkv": 96, "proj": 96}
    assert total == 96 * (8 * 24 + 8 * 8) + 6 * 2 * 16 * 16 * 8


def test_packed_sequences_count_their_own_steps() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.zeros(5, 4), torch.zeros(2, 4)])
    for layer in (nn.LSTM(4, 6, bidirectional=True), nn.GRU(4, 6)):
        total, positions = counted(layer, packed)
        assert set(positions.values()) == {7}
        assert total == products(layer, positions)
    weights = [[24, 4], [24, 6], [24], [24]]
    assert FUSED[torch.ops.aten._cudnn_rnn]([7, 4], weights) == 2 * 7 * 24 * 10


def test_arguments_may_be_named_and_a_layer_be_called_twice() -> None:
    layer, tokens = nn.MultiheadAttention(8, 2), torch.zeros(5, 1, 8)
    _, positions = counted(layer, value=tokens[:3], key=tokens[:3], query=tokens)
    assert positions["in_proj_weight.v"] == 3
    assert positions["in_proj_weight.q"] == positions["out_proj"] == 5
    linear = nn.Linear(4, 4)
    assert multiply_adds(nn.Sequential(linear, linear), torch.zeros(1, 4)).positions == {"0": 2}


def test_a_weight_that_layers_share_is_used_by_all_of_them() -> None:
    """The head of a tied gpt multiplies by the embedding's weight, for each of 5 tokens."""
    model = GPT((5,), classes=7, depth=1, width=8, heads=2, tied=True)
    tokens = torch.zeros(1, 5, dtype=torch.int64)
    work = multiply_adds(model, tokens)
    assert work.total == 5 * (4 * 8 * 8 + 2 * 8 * 32 + 7 * 8) + 2 * 5 * 5 * 8
    sparsify(model, include=["embedding"], tied="share")
    assert "embedding" in masked_layers(model)
    assert multiply_adds(model, tokens) == work
    left = work.kept([LayerFigures("embedding", kept=6, total=56)])
    assert left == work.total - 5 * 50


def test_a_kind_of_a_package_says_its_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a function one weight is used once for each output vector, several are not known."""
    own: dict[type, Kind] = {}
    monkeypatch.setattr("dstrun.methods.flops.kind_of", own.get)
    layer, values = Scaled(), torch.zeros(1, 5, 3)
    own[Scaled] = Kind({"matrix": ""}, rows=1)
    assert counted(layer, values) == (60, {"matrix": 5})
    own[Scaled] = Kind({"matrix": ""}, uses=lambda layer, inputs, output: len(inputs["values"]))
    assert counted(layer, values) == (60, {"matrix": 1})
    own[Scaled] = Kind({"matrix": "abc"})
    assert counted(layer, values)[1] == dict.fromkeys(["matrix.a", "matrix.b", "matrix.c"], 0)
