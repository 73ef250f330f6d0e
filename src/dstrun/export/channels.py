"""Constant and needed channels of a traced network.

One pass forward finds the channels that have one value for every image and position; one pass
backward finds the channels that the output depends on.
"""

from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from dstrun.export.node_kinds import channel_count, has_padding, node_kinds

# Multiply-adds that take as long as selecting one number: torch and ONNX Runtime, x86-64, batch 64.
SELECTION_COST = 100


class Channels:
    """Analysis of a network whose shapes have been propagated, for every node with C channels.

    `kinds`, `axes`: see node_kinds. `constants`: (C,), the value of each constant channel, NaN for
    the others. `needed`: (C,) bool, the channels that the node's readers need.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        self.modules: dict[str, Any] = dict(traced.named_modules())
        self.kinds, self.axes = node_kinds(traced)
        self.constants: dict[fx.Node, Tensor] = {}
        self.needed: dict[fx.Node, Tensor] = {}
        for node in traced.graph.nodes:
            self.constants[node] = self._constant(node)
        for node in reversed(traced.graph.nodes):
            self._mark_needed(node)

    def module(self, node: fx.Node) -> Any:
        """Return the module that a node calls."""
        return self.modules[str(node.target)]

    def _count(self, node: fx.Node) -> int:
        return channel_count(node, self.axes[node])

    def read_by(self, node: fx.Node, source: fx.Node) -> Tensor:
        """Return which channels of a source a node reads: (C_source,) bool."""
        kind, needed = self.kinds[node], self.needed[node]
        varying = self.constants[source].isnan()
        if kind == "layer":
            return self._read_by_layer(node, source, varying)
        if kind == "flatten":
            return needed.view(len(varying), -1).any(1)
        if kind == "addition":
            return needed & varying
        return needed

    def _read_by_layer(self, node: fx.Node, source: fx.Node, varying: Tensor) -> Tensor:
        """Return the channels that reach needed rows through weights; all where that is faster."""
        weight = self.module(node).weight[self.needed[node]]
        read = _sum_over_taps(weight.abs()).ne(0).any(0) & varying
        saved = weight[:, 0].numel() * (~read).sum()
        if self._has_all_channels(source) and saved < SELECTION_COST * read.sum():
            return torch.ones_like(read)
        return read

    def _has_all_channels(self, node: fx.Node) -> bool:
        """Return whether a node keeps its channels, so that reading fewer means selecting them."""
        kind = self.kinds[node]
        if kind in ("pointwise", "pool", "flatten"):
            return self._has_all_channels(node.all_input_nodes[0])
        return kind in ("placeholder", "other")

    def _constant(self, node: fx.Node) -> Tensor:
        """Return the values of the constant channels, NaN for the others: (C,)."""
        kind = self.kinds[node]
        if kind in ("placeholder", "output", "other"):
            return torch.full((self._count(node),), torch.nan)
        source = self.constants[node.all_input_nodes[0]]
        if kind == "layer":
            return _constant_rows(self.module(node), source)
        if kind == "depthwise":
            return _constant_filters(self.module(node), source)
        if kind == "norm":
            return _normalised(self.module(node), source)
        if kind == "pointwise":
            return self._applied(node, source)
        if kind == "flatten":
            return source.repeat_interleave(self._count(node) // len(source))
        if kind == "addition":
            return self.constants[node.args[0]] + self.constants[node.args[1]]  # type: ignore[index]
        return source

    def _applied(self, node: fx.Node, source: Tensor) -> Tensor:
        """Return a node's pointwise function of a tensor."""
        if node.op == "call_module":
            return self.module(node)(source.clone())
        if node.op == "call_method":
            return getattr(source, str(node.target))(*node.args[1:], **node.kwargs)
        assert callable(node.target)
        return node.target(source.clone(), *node.args[1:], **node.kwargs)

    def _mark_needed(self, node: fx.Node) -> None:
        """Mark the channels that a node needs of its inputs; its readers have marked its own."""
        kind = self.kinds[node]
        needed = self._marks(node)
        if kind == "placeholder":
            needed[:] = True
        if kind in ("output", "other"):
            needed[:] = True
            for source in node.all_input_nodes:
                self._marks(source)[:] = True
            return
        if not needed.any():
            needed[0] = True  # a tensor must have a channel
        for source in node.all_input_nodes:
            marks = self._marks(source)
            marks |= self.read_by(node, source)

    def _marks(self, node: fx.Node) -> Tensor:
        return self.needed.setdefault(node, torch.zeros(self._count(node), dtype=torch.bool))


def _constant_rows(layer: Any, source: Tensor) -> Tensor:
    """Return the output of each row that reads constant channels only, NaN for the others.

    At the borders of an image padded with zeros, only a channel of zeros is constant.
    """
    varying = source.isnan()
    if has_padding(layer):
        varying = varying | (source != 0)
    is_fed = (_sum_over_taps(layer.weight.abs())[:, varying] != 0).any(1)
    value = _sum_over_taps(layer.weight) @ source.where(~varying, 0.0)
    value = value if layer.bias is None else value + layer.bias
    return value.where(~is_fed, torch.nan)


def _constant_filters(layer: Any, source: Tensor) -> Tensor:
    """Return the output of each depthwise filter without weights, or of a constant channel that no
    padding borders, NaN for the others.
    """
    is_fed = (layer.weight != 0).flatten(1).any(1)
    varying = source.isnan() | ((source != 0) & has_padding(layer))
    value = layer.weight.flatten(1).sum(1) * source.nan_to_num(0.0)
    value = value if layer.bias is None else value + layer.bias
    return value.where(~(is_fed & varying), torch.nan)


def _sum_over_taps(weight: Tensor) -> Tensor:
    """Return a weight (rows, columns, …) summed over the taps of its kernel: (rows, columns)."""
    return weight.flatten(2).sum(2) if weight.dim() > 2 else weight


def _normalised(norm: Any, source: Tensor) -> Tensor:
    statistics = norm.running_mean, norm.running_var
    return F.batch_norm(source[None], *statistics, norm.weight, norm.bias, eps=norm.eps)[0]
