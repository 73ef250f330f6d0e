"""A smaller dense network with the same outputs: rows and filters that are of no account are taken
out.

    constant   a channel that has one value for every image and position: a row without weights gives its bias, and
               what is computed from constants alone is constant. It is taken out, and its value folded into what it
               feeds: into biases, into a map where a convolution pads with zeros, into a vector at an addition.
    needed     a channel that reaches the output through weights that are kept. What only feeds zeros is taken out.

One pass forward finds what is constant, one backward what is needed; then the graph is made anew.
Where layers that read one tensor need different channels of it, each selects its own, but of the
images only where that saves more than it costs; at a residual addition a branch is laid out over
the channels of the sum.

Works on what torch.fx can trace, in evaluation mode, for images of one size. What it does not know
(grouped convolutions, reshapes, any other operation) keeps all of its channels. Knows torch, and
masks to refuse them: plain modules come in, with real zeros."""

import operator
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from dstrun.methods.weight_mask import refuse_masks

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
POOLS = (nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
POOL_CALLS = {F.max_pool2d, torch.max_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SELECTED = 100  # as many multiply-adds take the time of selecting one number (torch and ONNX Runtime, x86-64, batch 64)


class CannotShrinkError(ValueError):
    """There is no smaller network of this model to be had; the message is one line."""


@torch.no_grad()
def shrink(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """The smaller network, in evaluation mode; `example`, (1, C, H, W), has the size of the images
    to come.

    CannotShrinkError for a model with masks, one whose forward pass torch.fx cannot follow, that
    does not take the example, or of which what was made does not give the same outputs: for one
    that changes tensors in place which it reads again, say."""
    try:
        refuse_masks(model)
    except ValueError as error:
        raise CannotShrinkError(str(error)) from error
    if any(
        tensor.dtype != torch.float32 or tensor.device.type != "cpu"
        for tensor in model.parameters()
    ):
        raise CannotShrinkError("expected a model in float32 on the CPU")
    pair = torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    try:
        traced = fx.symbolic_trace(deepcopy(model).eval())
    except Exception as error:  # tracing runs the model's own code
        raise CannotShrinkError(f"torch.fx cannot follow this model ({_said(error)})") from error
    try:
        ShapeProp(traced).propagate(pair.clone())
    except Exception as error:
        size = "×".join(map(str, example.shape))
        raise CannotShrinkError(
            f"the model does not take the example, {size} ({_said(error)})"
        ) from error
    try:
        smaller = _Shrinking(traced).rebuilt()
        same = torch.allclose(
            smaller(pair.clone()), deepcopy(model).eval()(pair.clone()), rtol=1e-3, atol=1e-4
        )
    except Exception as error:
        raise CannotShrinkError(f"this model is not understood ({_said(error)})") from error
    if not same:
        raise CannotShrinkError(
            "this model is not understood: what was made of it does not give the same outputs"
        )
    return smaller


def _said(error: BaseException) -> str:
    """Its first sentence."""
    cause = error.__cause__ or error
    line = next(iter(str(cause).splitlines()), type(cause).__name__)
    return line.split(". ")[0].rstrip(".")


class _Shrinking:
    """What is known of each node's channels (dimension 1), and the graph that is made of it."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self._traced = traced
        self._modules = dict(traced.named_modules())
        self._kinds = {node: self._kind(node) for node in traced.graph.nodes}
        self._constants: dict[fx.Node, Tensor] = {}
        self._needed: dict[fx.Node, Tensor] = {}
        for node in traced.graph.nodes:
            self._constants[node] = self._constant(node)
        for node in reversed(traced.graph.nodes):
            self._need(node)

    # what a node is

    def _kind(self, node: fx.Node) -> str:
        if node.op in ("placeholder", "output"):
            return node.op
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if source is None or _shape(node) is None or _shape(source) is None:
            return "other"
        dimensions = len(_shape(source))
        if module is not None:
            return self._kind_of_module(node, module, dimensions)
        if node.target in POINTWISE_CALLS:
            return "pointwise"
        if node.target in POOL_CALLS and dimensions == 4:
            return "pool"
        if node.target in ("flatten", torch.flatten) and (
            node.args[1:] == (1,) or node.kwargs == {"start_dim": 1}
        ):
            return "flatten"
        if (
            node.target in ADDITIONS
            and len(node.args) == 2
            and not node.kwargs
            and self._same_shapes(node)
        ):
            return "addition"
        return "other"

    def _kind_of_module(self, node: fx.Node, module: nn.Module, dimensions: int) -> str:
        """'other' too for one that is called more than once, or that has more to it than its class
        says."""
        others = [n for n in node.graph.nodes if n is not node and n.op == "call_module"]
        shared = any(self._modules[str(other.target)] is module for other in others)
        if (
            module._forward_hooks
            or module._forward_pre_hooks
            or (shared and list(module.parameters()))
        ):
            return "other"
        if type(module) is nn.Linear and dimensions == 2:
            return "layer"
        if (
            type(module) is nn.Conv2d
            and dimensions == 4
            and module.groups == 1
            and module.padding_mode == "zeros"
        ):
            return "layer"
        if type(module) in NORMS and module.running_mean is not None and dimensions in (2, 4):
            return "norm"
        if type(module) in POINTWISE:
            return "pointwise"
        if type(module) in POOLS and dimensions == 4:
            return "pool"
        if (
            type(module) is nn.AvgPool2d
            and module.padding in (0, (0, 0))
            and not module.divisor_override
        ):
            return "pool" if dimensions == 4 else "other"
        if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            return "flatten"
        return "other"

    def _same_shapes(self, node: fx.Node) -> bool:
        shapes = [
            _shape(argument) if isinstance(argument, fx.Node) else None for argument in node.args
        ]
        return shapes[0] == shapes[1] == _shape(node)

    # forward: what is constant

    def _constant(self, node: fx.Node) -> Tensor:
        """(C,): the value of every constant channel, NaN for the others."""
        kind, nothing = self._kinds[node], torch.full((_channels(node),), torch.nan)
        if kind in ("placeholder", "output", "other"):
            return nothing
        source = self._constants[node.all_input_nodes[0]]
        if kind == "layer":
            return self._constant_rows(node, source)
        if kind == "norm":
            norm = self._modules[str(node.target)]
            return F.batch_norm(
                source[None],
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                eps=norm.eps,
            )[0]
        if kind == "pointwise":
            return self._applied(node, source)
        if kind == "flatten":
            return source.repeat_interleave(_channels(node) // len(source))
        if kind == "addition":
            return self._constants[node.args[0]] + self._constants[node.args[1]]  # type: ignore[index]
        return source

    def _constant_rows(self, node: fx.Node, source: Tensor) -> Tensor:
        layer = self._modules[str(node.target)]
        weight = layer.weight.flatten(2).abs().sum(2) if layer.weight.dim() > 2 else layer.weight
        alive = source.isnan()
        if _pads(layer):
            alive = alive | (source != 0)  # at the borders fewer taps see it
        fed = (weight[:, alive] != 0).any(1)
        sums = layer.weight.flatten(2).sum(2) if layer.weight.dim() > 2 else layer.weight
        value = sums @ source.where(~alive, 0.0)
        value = value if layer.bias is None else value + layer.bias
        return value.where(~fed, torch.nan)

    def _applied(self, node: fx.Node, source: Tensor) -> Tensor:
        if node.op == "call_module":
            return self._modules[str(node.target)](source.clone())
        if node.op == "call_method":
            return getattr(source, str(node.target))(*node.args[1:], **node.kwargs)
        assert callable(node.target)
        return node.target(source.clone(), *node.args[1:], **node.kwargs)

    # backward: what is needed

    def _need(self, node: fx.Node) -> None:
        """Marks what the node needs of its inputs; what is needed of itself has been marked by
        those it feeds."""
        kind = self._kinds[node]
        needed = self._needed.setdefault(node, torch.zeros(_channels(node), dtype=torch.bool))
        if kind == "placeholder":
            needed[:] = True
        if kind in ("output", "other"):
            needed[:] = True
            for source in node.all_input_nodes:
                self._ask(source, torch.ones(_channels(source), dtype=torch.bool))
            return
        if not needed.any():
            needed[0] = True  # a tensor without channels is none
        for source in node.all_input_nodes:
            self._ask(source, self._wanted(node, source))

    def _ask(self, source: fx.Node, channels: Tensor) -> None:
        before = self._needed.setdefault(source, torch.zeros(_channels(source), dtype=torch.bool))
        before |= channels

    def _wanted(self, node: fx.Node, source: fx.Node) -> Tensor:
        """Which channels of a source a node reads: (C_source,)."""
        kind, needed = self._kinds[node], self._needed[node]
        alive = self._constants[source].isnan()
        if kind == "layer":
            weight = self._modules[str(node.target)].weight[needed]
            read = (weight.flatten(2).abs().sum(2) if weight.dim() > 2 else weight).ne(0).any(
                0
            ) & alive
            saved = weight[:, 0].numel() * (~read).sum()
            return (
                torch.ones_like(read)
                if self._comes_whole(source) and saved < SELECTED * read.sum()
                else read
            )
        if kind == "flatten":
            return needed.view(len(alive), -1).any(1)
        if kind == "addition":
            return needed & alive
        return needed

    def _comes_whole(self, node: fx.Node) -> bool:
        """Whether channels of it are there in any case, so that to do without some is to select the
        others."""
        kind = self._kinds[node]
        if kind in ("pointwise", "pool", "flatten"):
            return self._comes_whole(node.all_input_nodes[0])
        return kind in ("placeholder", "other")

    # the graph anew

    def rebuilt(self) -> fx.GraphModule:
        self._graph, self._root = fx.Graph(), nn.Module()
        self._new: dict[fx.Node, fx.Node] = {}
        for node in self._traced.graph.nodes:
            make: Callable[[fx.Node], fx.Node] = getattr(
                self, f"_make_{self._kinds[node]}", self._make_as_it_is
            )
            self._new[node] = make(node)
        return fx.GraphModule(self._root, self._graph).eval()

    def _make_as_it_is(self, node: fx.Node) -> fx.Node:
        """The same operation on what is left of its inputs: all of it, or the channels that are
        needed here."""
        if (
            node.op == "get_attr"
        ):  # a weight that is read past its layer, too: whole, whatever becomes of the layer
            return self._tensor(
                node, "value", operator.attrgetter(str(node.target))(self._traced).detach()
            )
        if node.op == "call_module":
            self._hold(str(node.target), self._modules[str(node.target)])
        partial = self._kinds[node] in ("pointwise", "pool", "flatten")

        def argument(source: fx.Node) -> fx.Node:
            return self._read(source, self._wanted(node, source)) if partial else self._new[source]

        return self._graph.node_copy(node, argument)

    def _make_flatten(self, node: fx.Node) -> fx.Node:
        """Of a channel that is needed at some positions there are all, of which the others are then
        left out."""
        flat, (source,) = self._make_as_it_is(node), node.all_input_nodes
        needed, channels = self._needed[node], self._wanted(node, source)
        there = channels.repeat_interleave(len(needed) // len(channels))
        return self._select(flat, node, needed[there])

    def _make_layer(self, node: fx.Node) -> fx.Node:
        layer, (source,) = self._modules[str(node.target)], node.all_input_nodes
        rows, columns = self._needed[node], self._wanted(node, source)
        if not columns.any():
            columns[self._needed[source].nonzero()[0]] = True
        folded = self._constants[source].where(~columns, 0.0).nan_to_num(0.0)
        bias = None if layer.bias is None else layer.bias[rows]
        beside: Tensor | None = None
        if folded.any():
            sizes = _shape(source)[2:]
            constant = folded.view(1, -1, *(1,) * len(sizes)).expand(1, -1, *sizes)
            silent = deepcopy(layer)
            silent.bias = None
            contribution = silent(constant)[:, rows]
            if _pads(layer) and contribution.any():
                beside = contribution
            else:
                at_one_place = (
                    contribution.flatten(2)[0, :, 0] if contribution.dim() > 2 else contribution[0]
                )
                bias = at_one_place if bias is None else bias + at_one_place
        smaller = _layer_like(layer, layer.weight[rows][:, columns], bias)
        result = self._call(str(node.target), smaller, self._read(source, columns))
        if beside is None:
            return result
        return self._graph.call_function(
            operator.add, (result, self._tensor(node, "constant", beside))
        )

    def _make_norm(self, node: fx.Node) -> fx.Node:
        norm, needed = self._modules[str(node.target)], self._needed[node]
        smaller = type(norm)(
            int(needed.sum()), eps=norm.eps, affine=norm.affine, momentum=norm.momentum
        )
        smaller.load_state_dict(
            {
                key: value[needed] if value.dim() else value
                for key, value in norm.state_dict().items()
            }
        )
        return self._call(str(node.target), smaller, self._read(node.all_input_nodes[0], needed))

    def _make_addition(self, node: fx.Node) -> fx.Node:
        """Of each side what it still has, with zeros in the places of what it has not; its
        constants are added."""
        needed = self._needed[node]
        beyond = (1,) * (len(_shape(node)) - 2)
        sides: list[Any] = []
        constant = torch.zeros(len(needed))
        for source in node.all_input_nodes * (
            2 // len(node.all_input_nodes)
        ):  # x + x names it once
            there = needed & self._constants[source].isnan()
            constant += self._constants[source].where(needed & ~there, 0.0)
            if there.any():
                sides.append(
                    self._spread(node, self._read(source, there), there[needed], 2 * len(beyond))
                )
        if not sides:  # all is constant, and yet asked for
            nothing = self._tensor(node, "first", torch.zeros(int(needed.sum()), dtype=torch.long))
            first = self._new[node.all_input_nodes[0]]
            shaped = self._graph.call_function(torch.index_select, (first, 1, nothing))
            sides.append(self._graph.call_function(operator.mul, (shaped, 0.0)))
        if len(sides) == 1:  # a tensor of its own, since what follows may change it in place
            sides.append(0.0)
        total = self._graph.call_function(operator.add, tuple(sides))
        if not constant.any():
            return total
        vector = self._tensor(node, "constant", constant[needed].view(1, -1, *beyond))
        return self._graph.call_function(operator.add, (total, vector))

    def _spread(self, node: fx.Node, part: fx.Node, places: Tensor, sides: int) -> fx.Node:
        """Channels laid out in those places, with zeros in the others."""
        if places.all():
            return part
        padded = self._graph.call_function(F.pad, (part, (0,) * sides + (0, 1)))
        index = (places.cumsum(0) - 1).where(places, int(places.sum()))
        return self._graph.call_function(
            torch.index_select, (padded, 1, self._tensor(node, "places", index))
        )

    def _read(self, source: fx.Node, wanted: Tensor) -> fx.Node:
        """The source's new node, or the channels of it that are wanted."""
        there = self._needed[source]
        return self._select(self._new[source], source, wanted[there])

    def _select(self, made: fx.Node, named_by: fx.Node, channels: Tensor) -> fx.Node:
        if channels.all():
            return made
        index = self._tensor(named_by, "channels", channels.nonzero().flatten())
        return self._graph.call_function(torch.index_select, (made, 1, index))

    def _call(self, name: str, module: nn.Module, source: fx.Node) -> fx.Node:
        self._hold(name, module)
        return self._graph.call_module(name, (source,))

    def _hold(self, name: str, module: nn.Module) -> None:
        """Makes the module the new root's, under its old name."""
        *path, last = name.split(".")
        place = self._root
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.add_module(last, module)

    def _tensor(self, node: fx.Node, purpose: str, value: Tensor) -> fx.Node:
        count = sum(
            name.startswith(f"{node.name}_{purpose}")
            for name, _ in self._root.named_buffers(recurse=False)
        )
        name = f"{node.name}_{purpose}" + (f"_{count}" if count else "")
        self._root.register_buffer(name, value)
        return self._graph.get_attr(name)


def _layer_like(layer: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A Linear or Conv2d as `layer` is, of another size."""
    if isinstance(layer, nn.Linear):
        made: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    else:
        made = nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            bias=bias is not None,
        )
    made.weight = nn.Parameter(weight.clone())
    made.bias = None if bias is None else nn.Parameter(bias.clone())
    return made


def _pads(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.padding not in (0, (0, 0), "valid")


def _shape(node: fx.Node) -> torch.Size:
    return getattr(node.meta.get("tensor_meta"), "shape", None)  # type: ignore[return-value]


def _channels(node: fx.Node) -> int:
    """How many channels a node's tensor has; 1 for what has no second dimension."""
    shape = _shape(node)
    return shape[1] if shape is not None and len(shape) > 1 else 1
