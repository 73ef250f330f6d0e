"""How often a forward pass multiplies by each weight of a layer, by the type of the layer.

    linear, convolution     once for each output vector or position (the rule without a function)
    transposed convolution  once for each input position
    recurrent layer         once for each time step of each sequence
    attention               q and out_proj once for each query token, k and v for each key token
    embedding               never: its rows are looked up

A function gets the layer, what it was called with, by the names of its forward pass's arguments,
and its output. It returns one number for all weights of the layer, or numbers by the names of its
weights as they stand behind the layer's in layers.csv: `in_proj_weight.q`, or `out_proj` of a child
whose weight the layer reads itself.
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from torch import Tensor, nn

Uses = Callable[[Any, Mapping[str, Any], Any], int | Mapping[str, int]]


def each_input_position(
    layer: nn.ConvTranspose2d, inputs: Mapping[str, Any], output: Tensor
) -> int:
    """Return the uses of a transposed convolution's weights."""
    return int(inputs["input"].numel()) // layer.in_channels


def each_time_step(layer: nn.LSTM, inputs: Mapping[str, Any], output: object) -> int:
    """Return the uses of a recurrent layer's or cell's weights, in either direction."""
    steps = inputs["input"]
    steps = steps if isinstance(steps, Tensor) else steps.data  # of a PackedSequence: (steps, I)
    return int(steps.numel()) // layer.input_size


def each_token(
    layer: nn.MultiheadAttention, inputs: Mapping[str, Any], output: object
) -> dict[str, int]:
    """Return the uses of the weights of attention."""
    queries = inputs["query"].numel() // layer.embed_dim
    keys, values = inputs["key"].numel() // layer.kdim, inputs["value"].numel() // layer.vdim
    found = {"out_proj": queries}
    for part, count in {"q": queries, "k": keys, "v": values}.items():
        found[f"in_proj_weight.{part}"] = found[f"{part}_proj_weight"] = count
    return found


def each_token_of_windows(layer: Any, inputs: Mapping[str, Any], output: object) -> dict[str, int]:
    """Return the uses of the weights of Swin's attention: sides are padded to whole windows."""
    images, *sides, _ = inputs["x"].shape
    for side, window in zip(sides, layer.window_size, strict=True):
        images *= ceil(side / window) * window
    return {"qkv": images, "proj": images}


def never(layer: nn.Embedding, inputs: Mapping[str, Any], output: object) -> int:
    """Return 0: nothing is multiplied."""
    return 0
