"""Smaller network of a traced one: the graph built again with the needed channels only."""

import operator
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dstrun.export.channels import Channels
from dstrun.export.node_kinds import has_padding, node_shape


class Rebuild:
    """Builder of the smaller network of a traced one."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self._traced, self._channels = traced, Channels(traced)
        self._graph, self._root = fx.Graph(), nn.Module()
        self._new: dict[fx.Node, fx.Node] = {}

    def network(self) -> fx.GraphModule:
        """Return the new network in evaluation mode."""
        makers: dict[str, Callable[[fx.Node], fx.Node]] = {
            "layer": self._make_layer,
            "depthwise": self._make_depthwise,
            "norm": self._make_norm,
            "flatten": self._make_flatten,
            "addition": self._make_addition,
        }
        for node in self._traced.graph.nodes:
            make = makers.get(self._channels.kinds[node], self._copy)
            self._new[node] = make(node)
        return fx.GraphModule(self._root, self._graph).eval()

    def _copy(self, node: fx.Node) -> fx.Node:
        """Make the same operation on the channels that are needed, or on all that are left."""
        if node.op == "get_attr":  # a weight that is read past its layer stays whole
            value = operator.attrgetter(str(node.target))(self._traced)
            made = self._tensor(node, "value", value.detach())
            if isinstance(value, nn.Parameter):
                delattr(self._root, str(made.target))
                self._root.register_parameter(str(made.target), nn.Parameter(value.detach()))
            return made
        if node.op == "call_module":
            self._add_module(str(node.target), self._channels.module(node))
        is_partial = self._channels.kinds[node] in ("pointwise", "pool", "flatten")

        def argument(source: fx.Node) -> fx.Node:
            if not is_partial:
                return self._new[source]
            return self._read(source, self._channels.read_by(node, source))

        return self._graph.node_copy(node, argument)

    def _make_flatten(self, node: fx.Node) -> fx.Node:
        """Make a flatten: a channel needed at some positions only is flattened, then selected
        from.
        """
        flat, (source,) = self._copy(node), node.all_input_nodes
        needed, channels = self._channels.needed[node], self._channels.read_by(node, source)
        present = channels.repeat_interleave(len(needed) // len(channels))
        return self._select(flat, node, needed[present])

    def _make_layer(self, node: fx.Node) -> fx.Node:
        """Make a layer of the needed rows and columns; constant columns become bias or map."""
        layer, (source,) = self._channels.module(node), node.all_input_nodes
        rows, columns = self._channels.needed[node], self._channels.read_by(node, source)
        if not columns.any():
            columns[self._channels.needed[source].nonzero()[0]] = True
        constants = self._channels.constants[source].where(~columns, 0.0).nan_to_num(0.0)
        sizes = node_shape(source)[2:] if isinstance(layer, nn.Conv2d) else torch.Size()
        bias = None if layer.bias is None else layer.bias[rows]
        addend: Tensor | None = None
        if constants.any():
            constant_output = _constant_output(layer, constants, sizes)[:, rows]
            if has_padding(layer) and constant_output.any():
                addend = constant_output  # another value at the borders
            else:
                value = constant_output[0]
                if value.dim() > 1:
                    value = value.flatten(1)[:, 0]
                bias = value if bias is None else bias + value
        smaller = _resized(layer, layer.weight[rows][:, columns], bias)
        result = self._call(str(node.target), smaller, self._read(source, columns))
        return result if addend is None else self._add(result, self._constant(node, addend))

    def _make_depthwise(self, node: fx.Node) -> fx.Node:
        layer, needed = self._channels.module(node), self._channels.needed[node]
        bias = None if layer.bias is None else layer.bias[needed]
        smaller = _resized(layer, layer.weight[needed], bias, groups=int(needed.sum()))
        return self._call(str(node.target), smaller, self._read(node.all_input_nodes[0], needed))

    def _make_norm(self, node: fx.Node) -> fx.Node:
        norm, needed = self._channels.module(node), self._channels.needed[node]
        smaller = type(norm)(
            int(needed.sum()), eps=norm.eps, affine=norm.affine, momentum=norm.momentum
        )
        state = norm.state_dict()
        for key, value in state.items():
            state[key] = value[needed] if value.dim() else value
        smaller.load_state_dict(state)
        return self._call(str(node.target), smaller, self._read(node.all_input_nodes[0], needed))

    def _make_addition(self, node: fx.Node) -> fx.Node:
        """Make an addition of what varies on each side, spread over the needed channels, and of the
        constants.
        """
        needed = self._channels.needed[node]
        sources = node.all_input_nodes * (2 // len(node.all_input_nodes))  # x + x names x once
        sides: list[Any] = []
        constant = torch.zeros(len(needed))
        for source in sources:
            values = self._channels.constants[source]
            varying = needed & values.isnan()
            constant += values.where(needed & ~varying, 0.0)
            if varying.any():
                sides.append(self._spread(node, self._read(source, varying), varying[needed]))
        if not sides:
            sides.append(self._zeros(node))
        if len(sides) == 1:  # a new tensor, since what follows may change it in place
            sides.append(0.0)
        total = self._add(*sides)
        if not constant.any():
            return total
        beyond = (1,) * (len(node_shape(node)) - 2)
        return self._add(total, self._constant(node, constant[needed].view(1, -1, *beyond)))

    def _zeros(self, node: fx.Node) -> fx.Node:
        """Make zeros of the shape of an addition whose channels are all constant."""
        count = int(self._channels.needed[node].sum())
        first = self._tensor(node, "first", torch.zeros(count, dtype=torch.long))
        source = self._new[node.all_input_nodes[0]]
        shaped = self._graph.call_function(torch.index_select, (source, 1, first))
        return self._graph.call_function(operator.mul, (shaped, 0.0))

    def _spread(self, node: fx.Node, part: fx.Node, places: Tensor) -> fx.Node:
        """Place the channels of `part` where `places`, (C,) bool, is true, and zeros elsewhere."""
        if places.all():
            return part
        after = (0, 0) * (len(node_shape(node)) - 2)
        padded = self._graph.call_function(F.pad, (part, (*after, 0, 1)))
        index = (places.cumsum(0) - 1).where(places, int(places.sum()))
        return self._graph.call_function(
            torch.index_select, (padded, 1, self._tensor(node, "places", index))
        )

    def _read(self, source: fx.Node, wanted: Tensor) -> fx.Node:
        """Return the source's new node, or a selection of the wanted channels of it."""
        return self._select(self._new[source], source, wanted[self._channels.needed[source]])

    def _select(self, made: fx.Node, named_by: fx.Node, channels: Tensor) -> fx.Node:
        if channels.all():
            return made
        index = self._tensor(named_by, "channels", channels.nonzero().flatten())
        axis = self._channels.axes[named_by]
        return self._graph.call_function(torch.index_select, (made, axis, index))

    def _add(self, *sides: Any) -> fx.Node:
        return self._graph.call_function(operator.add, sides)

    def _constant(self, node: fx.Node, value: Tensor) -> fx.Node:
        return self._tensor(node, "constant", value)

    def _call(self, name: str, module: nn.Module, source: fx.Node) -> fx.Node:
        self._add_module(name, module)
        return self._graph.call_module(name, (source,))

    def _add_module(self, name: str, module: nn.Module) -> None:
        """Add a module to the new root under its old name."""
        *path, last = name.split(".")
        parent = self._root
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, module)

    def _tensor(self, node: fx.Node, purpose: str, value: Tensor) -> fx.Node:
        """Register a tensor as a buffer of the new root; return the node that reads it."""
        prefix = f"{node.name}_{purpose}"
        buffers = dict(self._root.named_buffers(recurse=False))
        count = sum(name.startswith(prefix) for name in buffers)
        name = f"{prefix}_{count}" if count else prefix
        self._root.register_buffer(name, value)
        return self._graph.get_attr(name)


def _constant_output(layer: Any, constants: Tensor, sizes: torch.Size) -> Tensor:
    """Return the layer's output without bias for constant channels, (C,), of images of `sizes`."""
    image = constants.view(1, -1, *(1,) * len(sizes)).expand(1, -1, *sizes)
    without_bias = deepcopy(layer)
    without_bias.bias = None
    return without_bias(image)


def _resized(layer: Any, weight: Tensor, bias: Tensor | None, groups: int = 1) -> nn.Module:
    """Return a Linear or Conv2d with the settings of `layer` and these parameters."""
    outputs, inputs = weight.shape[0], weight.shape[1] * groups
    if isinstance(layer, nn.Linear):
        made: Any = nn.Linear(inputs, outputs, bias=bias is not None)
    else:
        window = layer.kernel_size, layer.stride, layer.padding, layer.dilation
        made = nn.Conv2d(inputs, outputs, *window, groups, bias=bias is not None)
    # a whole weight stays the same parameter, which an embedding may have, too
    is_whole = weight.shape == layer.weight.shape and torch.equal(weight, layer.weight)
    made.weight = layer.weight if is_whole else nn.Parameter(weight.clone())
    made.bias = None if bias is None else nn.Parameter(bias.clone())
    return made
