"""Table of the types of layers that can have masks: which parameters, in rows of which dimension.

A mask sees a weight with its rows, the output neurons or filters, first:

    rows = 0    parameter (rows, …)            Linear, convolutions, recurrent layers
    rows = 1    parameter (inputs, rows, …)    transposed convolutions
    parts       parameter (parts · rows, …)    one weight each: q, k, v of attention, gates

Other packages add types through the entry-point group `dstrun.layers`: an entry is named after the
type, `package.module.Type`, and is a `Kind`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from dstrun.methods.weight_uses import (
    Uses,
    each_input_position,
    each_time_step,
    each_token,
    each_token_of_windows,
    never,
)
from dstrun.models.recurrent import RecurrentLinear
from dstrun.system.entry_points import load, words_of
from dstrun.system.errors import InputError

GROUP = "dstrun.layers"


@dataclass(frozen=True)
class Kind:
    """How a type of layer has its weights.

    weights: globs of parameter names, each with the names of the parts that its first dimension
        consists of, one letter a part; "" for a parameter that is one weight.
    rows: dimension of the output neurons, 0 or 1.
    reads: children whose weights the forward pass reads itself.
    if_asked: masked only where `include` names the layer.
    autocast: whether autocast has a rule to compute the layer in its dtype; else W ⊙ M keeps W's.
    reason: returns why a layer can have no mask, "" where it can.
    uses: returns how often a call multiplies by each weight, see `weight_uses`; None for a layer of
        one weight, used once for each output vector. Only counts of multiply-adds ask it.
    """

    weights: Mapping[str, str] = field(default_factory=lambda: {"weight": ""})
    rows: int = 0
    reads: tuple[str, ...] = ()
    if_asked: bool = False
    autocast: bool = True
    reason: Callable[[Any], str] = lambda module: ""
    uses: Uses | None = None

    def parts(self, parameter: str) -> str | None:
        """Return the parts of a parameter, "" for one weight, None for one that has no mask."""
        for pattern, parts in self.weights.items():
            if fnmatchcase(parameter, pattern):
                return parts
        return None


def _grouped(layer: nn.ConvTranspose2d) -> str:
    """Return why a transposed convolution in groups has no mask: a filter is no row there."""
    return f"a transposed convolution of {layer.groups} groups" if layer.groups > 1 else ""


def _unusual(layer: nn.Embedding) -> str:
    """Return why an embedding has no mask: max_norm changes the weight in place as it is read."""
    if layer.max_norm is not None:
        return "an embedding with max_norm"
    return "an embedding with sparse gradients" if layer.sparse else ""


def _gates(letters: str) -> Kind:
    """Return the kind of recurrent layers and cells: a weight for each gate."""
    return Kind(
        {"weight_ih*": letters, "weight_hh*": letters, "weight_hr*": ""}, uses=each_time_step
    )


PLAIN = Kind()
TRANSPOSED = Kind(rows=1, reason=_grouped, uses=each_input_position)
LSTM, GRU, RNN = _gates("ifgo"), _gates("rzn"), _gates("")  # gates in the order of torch
ATTENTION = Kind(
    {"in_proj_weight": "qkv", "?_proj_weight": ""}, reads=("out_proj",), uses=each_token
)
WINDOWS = Kind({}, reads=("qkv", "proj"), uses=each_token_of_windows)

TYPES: dict[type[nn.Module], Kind] = {
    nn.Linear: PLAIN,
    NonDynamicallyQuantizableLinear: PLAIN,
    RecurrentLinear: PLAIN,
    nn.Bilinear: Kind(autocast=False),
    nn.Conv1d: PLAIN,
    nn.Conv2d: PLAIN,
    nn.Conv3d: PLAIN,
    nn.ConvTranspose1d: TRANSPOSED,
    nn.ConvTranspose2d: TRANSPOSED,
    nn.ConvTranspose3d: TRANSPOSED,
    nn.LSTM: LSTM,
    nn.LSTMCell: LSTM,
    nn.GRU: GRU,
    nn.GRUCell: GRU,
    nn.RNN: RNN,
    nn.RNNCell: RNN,
    nn.MultiheadAttention: ATTENTION,
    nn.Embedding: Kind(if_asked=True, autocast=False, reason=_unusual, uses=never),
}
NAMES: dict[str, Kind] = {
    "torchvision.models.swin_transformer.ShiftedWindowAttention": WINDOWS,
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": WINDOWS,
    "transformers.pytorch_utils.Conv1D": Kind(rows=1),
    "timm.layers.linear.Linear": PLAIN,
    "timm.layers.conv2d_same.Conv2dSame": PLAIN,
}


def kind_of(layer: type[nn.Module]) -> Kind | None:
    """Return the kind of a type of layer, None for one that the table does not have.

    A subclass is another type: it may compute its weight otherwise. Raise InputError for an entry
    point that cannot be loaded.
    """
    if layer in TYPES:
        return TYPES[layer]
    name = f"{layer.__module__}.{layer.__qualname__}"
    return NAMES.get(name) or kinds_of_packages().get(name)


@cache
def kinds_of_packages() -> dict[str, Kind]:
    """Return the kinds that installed packages register."""
    found = {}
    for entry in entry_points(group=GROUP):
        kind = load(entry)
        if not isinstance(kind, Kind):
            raise InputError(f"{words_of(entry)} is a {type(kind).__name__}, expected a Kind")
        found[entry.name] = kind
    return found
