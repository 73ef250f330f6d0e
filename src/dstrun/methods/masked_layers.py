"""Layers that compute with W ⊙ M, and `sparsify`, which turns a plain model's layers into them in
place.

A masked layer is a subclass that differs from its parent in one thing: the weight goes through
`self.mask` first. Parameters keep their names and their identity: `fc1.weight` stays,
`fc1.mask.threshold` is added. `plain` is the way back: a copy without masks. This module knows
`masking`, `probe` and the recurrent linear; it knows no model, no optimiser and no config."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from dstrun.methods.dst.masking import ThresholdMask
from dstrun.methods.probe import read_in_evaluation, read_in_training, total
from dstrun.models.recurrent import RecurrentLinear


class MaskedLinear(nn.Linear):
    """nn.Linear with W ⊙ M for W; the mask's rows are output neurons."""

    mask: ThresholdMask

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.mask(self.weight), self.bias)


class MaskedConv2d(nn.Conv2d):
    """nn.Conv2d with W ⊙ M for W (c_o, c_i / groups, k_h, k_w); the mask's rows are filters."""

    mask: ThresholdMask

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.mask(self.weight), self.bias)


class MaskedRecurrentLinear(RecurrentLinear):
    """RecurrentLinear with W ⊙ M for W; the mask is computed once a sequence."""

    mask: ThresholdMask

    def step_weight(self) -> Tensor:
        return self.mask(self.weight)


Maskable = nn.Linear | nn.Conv2d
MaskedLayer = MaskedLinear | MaskedConv2d | MaskedRecurrentLinear
MASKED: dict[type[nn.Module], type[MaskedLayer]] = {
    nn.Linear: MaskedLinear,
    nn.Conv2d: MaskedConv2d,
    RecurrentLinear: MaskedRecurrentLinear,
}


READ_PAST = "its weight is read past the layer"


@dataclass(frozen=True)
class Selection:
    """The layers of a model that get a mask, by name in the order of the model, and why other
    weights get none."""

    layers: dict[str, Maskable]
    left_dense: dict[str, str]


def maskable(model: nn.Module, exclude: Sequence[str] = (), past: Sequence[str] = ()) -> Selection:
    """Choose the layers `sparsify` would convert: type exactly nn.Linear, nn.Conv2d or
    RecurrentLinear.

    Every other parameter of two or more dimensions is listed in `left_dense` with the reason: a
    subclass (its owner may read the weight past the layer's forward), another type, a weight that
    is computed from others, one shared with another module, or excluded. `exclude` holds globs over
    layer names, `past` the names of layers known to be read past. Raises ValueError for a glob that
    matches no layer, for lazy layers, and where no layer is left."""
    layers: dict[str, Maskable] = {}
    left_dense: dict[str, str] = {}
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    candidates = [name for name, module in model.named_modules() if type(module) in MASKED]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in candidates):
            raise ValueError(
                f"{pattern!r} matches no layer; the layers are {', '.join(candidates)}"
            )
    for name, module in model.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if is_lazy(parameter):
                raise ValueError(
                    f"{name or 'model'} is a {type(module).__name__}, which has no shape before its first "
                    "forward pass: run one through the model first"
                )
            if parameter.dim() < 2:
                continue
            reason = _reason_for_dense(module, parameter_name, owners[id(parameter)] > 1)
            if not reason and any(fnmatchcase(name, pattern) for pattern in exclude):
                reason = "excluded"
            if not reason and name in past:
                reason = READ_PAST
            if reason:
                left_dense[f"{name}.{parameter_name}".lstrip(".")] = reason
            else:
                layers[name] = cast(Maskable, module)
    if not layers:
        left = ", ".join(f"{name} ({reason})" for name, reason in left_dense.items())
        raise ValueError(
            f"nothing to mask in this model; left dense: {left or 'no weights at all'}"
        )
    return Selection(layers, left_dense)


def _reason_for_dense(module: nn.Module, name: str, is_shared: bool) -> str:
    """Return why a parameter of a module can have no mask, '' where it can."""
    is_computed = (
        isinstance(module, tuple(MASKED)) and "weight" not in module._parameters
    )  # by weight_norm, prune
    if is_computed or isinstance(module, ParametrizationList):
        return "its weight is reparametrised"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "a parameter of MultiheadAttention"
    if type(module) not in MASKED or name != "weight":
        return f"a parameter of {type(module).__name__}"
    return "tied to another module" if is_shared else ""


def sparsify(
    model: nn.Module,
    mask_factory: Callable[[Tensor], ThresholdMask] = ThresholdMask,
    exclude: Sequence[str] = (),
    *,
    example: Any = None,
    past: Sequence[str] = (),
) -> Selection:
    """Give every maskable layer of `model` a mask, in place, and return which layers those are.

    `mask_factory` makes the mask of one weight. Call it after the weights are initialised and
    before the optimiser is made. A model whose root is itself a maskable layer is converted too.
    With an `example` of what the model is called with, a tensor or a tuple of arguments, a copy of
    the model is tried with it, and layers whose weight is read past the mask are left dense; `past`
    names those already known. Raises ValueError for an exclude glob that matches nothing, for a
    model with nothing to mask, and for one that has masks already."""
    if masked_layers(model):
        raise ValueError("this model has masks already; dstrun.plain(model) is a copy without them")
    if example is not None:
        past = [*past, *_read_past(copy.deepcopy(model), exclude, example)]
    selection = maskable(model, exclude, past)
    for module in selection.layers.values():
        mask = mask_factory(module.weight)
        module.__class__ = MASKED[type(module)]
        cast(MaskedLayer, module).mask = mask
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoderLayer):
            part.activation_relu_or_gelu = (
                0  # its fused inference kernel would read weights past the masks
            )
    return selection


def masked_layers(model: nn.Module) -> dict[str, MaskedLayer]:
    """Return the layers of a model that have a mask, by name."""
    return {
        name: cast(MaskedLayer, m)
        for name, m in model.named_modules()
        if type(m) in MASKED.values()
    }


def _read_past(model: nn.Module, exclude: Sequence[str], example: Any) -> list[str]:
    """Return the layers of a plain model whose weight is read past the layer; changes the model,
    and no generator."""
    sparsify(model, exclude=exclude)
    layers = masked_layers(model)
    arguments = example if isinstance(example, tuple) else (example,)
    devices = {tensor.device for tensor in model.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        with torch.enable_grad():
            training = read_in_training(layers, lambda: total(model.train()(*arguments)).backward())
        past = {*training.past, *read_in_evaluation(model, layers, partial(model, *arguments))}
    return [name for name in layers if name in past]


@torch.no_grad()
def plain(model: nn.Module) -> nn.Module:
    """Return a copy of a masked model without masks: its layers are what they were, their weights W
    ⊙ M.

    Pruned weights are zeros, so that `dstrun.shrink`, `dstrun.to_csr` and any file format can make
    use of them."""
    model = copy.deepcopy(model)
    for layer in masked_layers(model).values():
        layer.weight.masked_fill_(~layer.mask.kept(layer.weight), 0.0)
        layer.__class__ = next(kind for kind, masked in MASKED.items() if masked is type(layer))  # type: ignore[assignment]
        del layer.mask
    return model
