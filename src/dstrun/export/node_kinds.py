"""Kinds of the nodes of a traced network, by what they do with channels.

Channels are dimension 1; of what a Linear reads or makes of tokens, (B, T, C), the last one.

layer        Linear or Conv2d: every output channel reads all input channels
depthwise    Conv2d of a filter for each channel: each channel on its own
norm         batch norm in evaluation mode: each channel on its own
pointwise    activation, dropout: each number on its own
pool         pooling of images: each channel on its own
flatten      (B, C, H, W) → (B, C·H·W)
addition     sum of two tensors of one shape
placeholder, output
other        anything else, of which nothing is assumed
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

POINTWISE = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Dropout,
    nn.Identity,
)
POINTWISE_CALLS = {
    F.relu,
    torch.relu,
    F.gelu,
    F.silu,
    F.leaky_relu,
    torch.sigmoid,
    torch.tanh,
    "relu",
    "sigmoid",
    "tanh",
}
LAYERS = (nn.Linear, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
POOL_CALLS = {F.max_pool2d, torch.max_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
FLATTEN_CALLS = ("flatten", torch.flatten)
ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}


def node_kinds(traced: fx.GraphModule) -> tuple[dict[fx.Node, str], dict[fx.Node, int]]:
    """Return the kind of every node of a network whose shapes have been propagated.

    With it, the dimension of its channels.
    """
    modules = dict(traced.named_modules())
    kinds: dict[fx.Node, str] = {}
    axes: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        kind = _kind(node, modules)
        axis = _axis(node, kind, axes, modules)
        if axis is None:
            kind = "other"
        kinds[node], axes[node] = kind, axis or _axis_of_readers(node, modules)
    return kinds, axes


def _axis(
    node: fx.Node, kind: str, axes: dict[fx.Node, int], modules: dict[str, nn.Module]
) -> int | None:
    """Return the dimension of a node's channels, None where that is not the one of its inputs."""
    if kind in ("placeholder", "output", "other"):
        return _axis_of_readers(node, modules)
    read = {axes[source] for source in node.all_input_nodes}
    if kind == "layer" and _is_linear(node, modules):
        own = len(node_shape(node)) - 1
    else:
        own = read.copy().pop() if kind == "pointwise" else 1
    return own if read == {own} else None


def _axis_of_readers(node: fx.Node, modules: dict[str, nn.Module]) -> int:
    """Return the dimension that a reader of the node would call channels."""
    shape = node_shape(node)
    is_of_tokens = any(_is_linear(reader, modules) for reader in node.users)
    return len(shape) - 1 if shape and is_of_tokens else 1


def _is_linear(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return node.op == "call_module" and type(modules[str(node.target)]) is nn.Linear


def node_shape(node: fx.Node) -> torch.Size:
    """Return the shape of a node's tensor; None where its value is no tensor."""
    return getattr(node.meta.get("tensor_meta"), "shape", None)  # type: ignore[return-value]


def channel_count(node: fx.Node, axis: int) -> int:
    """Return the number of channels, dimension `axis`; 1 for a tensor that lacks it, or none."""
    shape = node_shape(node)
    return shape[axis] if shape is not None and len(shape) > axis else 1


def has_padding(layer: nn.Module) -> bool:
    """Return whether a layer pads its input with zeros."""
    return isinstance(layer, nn.Conv2d) and layer.padding not in (0, (0, 0), "valid")


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op in ("placeholder", "output"):
        return node.op
    dimensions = _input_dimensions(node)
    if dimensions is None:
        return "other"
    if node.op != "call_module":
        return _kind_of_call(node, dimensions)
    module = modules[str(node.target)]
    if _has_hooks(module) or (_is_shared(node, modules) and list(module.parameters())):
        return "other"
    return _kind_of_module(module, dimensions)


def _input_dimensions(node: fx.Node) -> int | None:
    """Return the number of dimensions of a node's first input, None if a tensor is missing."""
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or node_shape(node) is None or node_shape(source) is None:
        return None
    return len(node_shape(source))


def _kind_of_call(node: fx.Node, dimensions: int) -> str:
    """Return the kind of a call of a function or a method."""
    if node.target in POINTWISE_CALLS:
        return "pointwise"
    if node.target in POOL_CALLS and dimensions == 4:
        return "pool"
    if node.target in FLATTEN_CALLS:
        is_of_images = node.args[1:] == (1,) or node.kwargs == {"start_dim": 1}
        return "flatten" if is_of_images else "other"
    if node.target in ADDITIONS and _adds_two_of_one_shape(node):
        return "addition"
    return "other"


def _adds_two_of_one_shape(node: fx.Node) -> bool:
    if len(node.args) != 2 or node.kwargs:
        return False
    first, second = node.args
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return False
    return node_shape(first) == node_shape(second) == node_shape(node)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_shared(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Return whether another node calls the same module."""
    others = [other for other in node.graph.nodes if other is not node]
    return any(
        other.op == "call_module" and modules[str(other.target)] is modules[str(node.target)]
        for other in others
    )


def _kind_of_module(module: Any, dimensions: int) -> str:
    """Return the kind of a module by its class; a subclass may compute something else."""
    for kind, (classes, is_plain) in MODULE_KINDS.items():
        if type(module) in classes and is_plain(module, dimensions):
            return kind
    return "other"


def _is_plain_layer(layer: Any, dimensions: int) -> bool:
    if type(layer) is nn.Linear:
        return dimensions > 1
    return dimensions == 4 and layer.groups == 1 and layer.padding_mode == "zeros"


def _is_depthwise(layer: Any, dimensions: int) -> bool:
    is_one_each = layer.in_channels == layer.out_channels == layer.groups
    return dimensions == 4 and is_one_each and layer.padding_mode == "zeros"


def _is_plain_norm(norm: Any, dimensions: int) -> bool:
    return norm.running_mean is not None and dimensions in (2, 4)


def _is_plain_pool(pool: Any, dimensions: int) -> bool:
    if type(pool) is nn.AvgPool2d and (pool.padding not in (0, (0, 0)) or pool.divisor_override):
        return False
    return dimensions == 4


def _is_plain_flatten(flatten: Any, dimensions: int) -> bool:
    return (flatten.start_dim, flatten.end_dim) == (1, -1)


MODULE_KINDS: dict[str, tuple[tuple[type, ...], Callable[[Any, int], bool]]] = {
    "layer": (LAYERS, _is_plain_layer),
    "depthwise": ((nn.Conv2d,), _is_depthwise),
    "norm": (NORMS, _is_plain_norm),
    "pointwise": (POINTWISE, lambda module, dimensions: True),
    "pool": (POOLS, _is_plain_pool),
    "flatten": ((nn.Flatten,), _is_plain_flatten),
}
