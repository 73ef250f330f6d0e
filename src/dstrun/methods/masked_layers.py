"""Layers that compute with W ⊙ M, and `sparsify`, which converts a model's layers in place.

A masked layer is a subclass that passes its weight through `self.mask` first. Parameters keep their
names and their identity: `fc1.weight` stays, `fc1.mask.threshold` is added. `plain` returns a copy
without masks.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dstrun.methods.weight_mask import WeightMask, masked_names
from dstrun.methods.weight_reads import read_in_evaluation, read_in_training, total
from dstrun.models.recurrent import RecurrentLinear


class MaskedLinear(nn.Linear):
    """nn.Linear with W ⊙ M for W; the mask's rows are output neurons."""

    mask: WeightMask

    def forward(self, input: Tensor) -> Tensor:
        """Return input · (W ⊙ M)ᵀ + b."""
        return F.linear(input, self.mask(self.weight), self.bias)


class MaskedConv2d(nn.Conv2d):
    """nn.Conv2d with W ⊙ M for W (c_o, c_i / groups, k_h, k_w); the mask's rows are filters."""

    mask: WeightMask

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of the input with W ⊙ M, plus b."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, _borders(self), mode=self.padding_mode)
            padding = 0
        weight = self.mask(self.weight)
        return F.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _borders(layer: nn.Conv2d) -> list[int]:
    """Return the pixels to add left, right, above and below, in the order of F.pad."""
    borders: list[int] = []
    for axis in (1, 0):
        if layer.padding == "same":
            both = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            borders += [both // 2, both - both // 2]
        elif layer.padding == "valid":
            borders += [0, 0]
        else:
            borders += [int(layer.padding[axis])] * 2
    return borders


class MaskedRecurrentLinear(RecurrentLinear):
    """RecurrentLinear with W ⊙ M for W; the mask is computed once a sequence."""

    mask: WeightMask

    def step_weight(self) -> Tensor:
        """Return W ⊙ M, which every time step uses."""
        return self.mask(self.weight)


Maskable = nn.Linear | nn.Conv2d
MaskedLayer = MaskedLinear | MaskedConv2d | MaskedRecurrentLinear
MASKED: dict[type[nn.Module], type[MaskedLayer]] = {
    nn.Linear: MaskedLinear,
    nn.Conv2d: MaskedConv2d,
    RecurrentLinear: MaskedRecurrentLinear,
}
PLAIN: dict[type[nn.Module], type[Maskable]] = {
    masked: cast(type[Maskable], kind) for kind, masked in MASKED.items()
}
READ_PAST = "its weight is read past the layer"


@dataclass(frozen=True)
class Selection:
    """The layers of a model that get a mask, in the order of the model, and why others get none."""

    layers: dict[str, Maskable]
    left_dense: dict[str, str]


def maskable(model: nn.Module, exclude: Sequence[str] = (), past: Sequence[str] = ()) -> Selection:
    """Choose the layers `sparsify` converts: type exactly nn.Linear, nn.Conv2d or RecurrentLinear.

    Every other parameter of two or more dimensions is listed in `left_dense` with the reason: a
    subclass (its owner may read the weight past the layer's forward), another type, a weight that
    is computed from others, one shared with another module, or excluded. `exclude` holds globs over
    layer names, `past` the names of layers known to be read past. Raises ValueError for a glob that
    matches no layer, for lazy layers, and where no layer is left.
    """
    _check_globs(model, exclude)
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    selection = Selection({}, {})
    for name, module, parameter_name, parameter in _matrices(model):
        reason = _reason_for_dense(module, parameter_name, owners[id(parameter)] > 1)
        reason = reason or _reason_by_name(name, exclude, past)
        if reason:
            selection.left_dense[f"{name}.{parameter_name}".lstrip(".")] = reason
        else:
            selection.layers[name] = cast(Maskable, module)
    if not selection.layers:
        left = ", ".join(f"{name} ({reason})" for name, reason in selection.left_dense.items())
        raise ValueError(
            f"nothing to mask in this model; left dense: {left or 'no weights at all'}"
        )
    return selection


def _reason_by_name(name: str, exclude: Sequence[str], past: Sequence[str]) -> str:
    """Return why a layer of that name is to have no mask, '' where it is to have one."""
    if any(fnmatchcase(name, pattern) for pattern in exclude):
        return "excluded"
    return READ_PAST if name in past else ""


def _check_globs(model: nn.Module, exclude: Sequence[str]) -> None:
    """Raise ValueError for a glob that matches no layer."""
    candidates = [name for name, module in model.named_modules() if type(module) in MASKED]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in candidates):
            raise ValueError(
                f"{pattern!r} matches no layer; the layers are {', '.join(candidates)}"
            )


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Yield (module name, module, parameter name, parameter) of two or more dimensions."""
    for name, module in model.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if is_lazy(parameter):
                raise ValueError(
                    f"{name or 'model'} is a {type(module).__name__}, which has no shape before "
                    "its first forward pass: run one through the model first"
                )
            if parameter.dim() > 1:
                yield name, module, parameter_name, parameter


def _reason_for_dense(module: nn.Module, name: str, is_shared: bool) -> str:
    """Return why a parameter of a module can have no mask, '' where it can."""
    names = {own for own, _ in module.named_parameters(recurse=False)}
    is_computed = isinstance(module, tuple(MASKED)) and "weight" not in names  # weight_norm, prune
    if is_computed or isinstance(module, ParametrizationList):
        return "its weight is reparametrised"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "a parameter of MultiheadAttention"
    if type(module) not in MASKED or name != "weight":
        return f"a parameter of {type(module).__name__}"
    return "tied to another module" if is_shared else ""


def sparsify(
    model: nn.Module,
    mask_factory: Callable[[Tensor], WeightMask] = ThresholdMask,
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
    model with nothing to mask, and for one that has masks already.
    """
    if masked_layers(model):
        raise ValueError("this model has masks already; dstrun.plain(model) is a copy without them")
    if example is not None:
        past = [*past, *_read_past(copy.deepcopy(model), exclude, example)]
    selection = maskable(model, exclude, past)
    _give_masks(model, selection.layers, mask_factory)
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoderLayer):
            # its fused inference kernel would read weights past the masks
            part.activation_relu_or_gelu = 0
    return selection


def _give_masks(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    mask_factory: Callable[[Tensor], WeightMask],
) -> None:
    for module in layers.values():
        mask = mask_factory(cast(Maskable, module).weight)
        module.__class__ = MASKED[type(module)]
        cast(MaskedLayer, module).mask = mask


def masked_layers(model: nn.Module) -> dict[str, MaskedLayer]:
    """Return the layers of a model that have a mask, by name."""
    layers: dict[str, MaskedLayer] = {}
    for name, module in model.named_modules():
        if type(module) in PLAIN:
            layers[name] = cast(MaskedLayer, module)
    return layers


def _read_past(model: nn.Module, exclude: Sequence[str], example: Any) -> list[str]:
    """Return the layers whose weight is read past the layer; changes the model, no generator."""
    sparsify(model, exclude=exclude)
    layers = masked_layers(model)
    arguments = example if isinstance(example, tuple) else (example,)
    devices = {tensor.device for tensor in model.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        with torch.enable_grad():
            training = read_in_training(layers, lambda: total(model.train()(*arguments)).backward())
        past = {*training.past, *read_in_evaluation(model, layers, partial(model, *arguments))}
    return [name for name in layers if name in past]


def plain(model: nn.Module) -> nn.Module:
    """Return a copy of a masked model without masks: its weights are W ⊙ M, its layers plain.

    Pruned weights are zeros, of use to `dstrun.shrink`, `dstrun.to_csr` and any file format.
    """
    model = copy.deepcopy(model)
    _remove_masks(model)
    return model


@torch.no_grad()
def _remove_masks(model: nn.Module) -> None:
    """Turn masked layers into plain ones of weight W ⊙ M, in place."""
    for layer in masked_layers(model).values():
        layer.weight.copy_(layer.mask(layer.weight))
        layer.__class__ = PLAIN[type(layer)]  # type: ignore[assignment]
        del layer.mask


def load_plain(
    model: nn.Module,
    state: dict[str, Tensor],
    mask_factory: Callable[[Tensor], WeightMask] = ThresholdMask,
) -> None:
    """Load the state of a model with masks into a plain one, in place: W ⊙ M for W.

    Raises RuntimeError where the state does not fit.
    """
    modules = dict(model.named_modules())
    names = masked_names(state)
    layers = {name: modules[name] for name in names if type(modules.get(name)) in MASKED}
    _give_masks(model, layers, mask_factory)
    model.load_state_dict(state)
    _remove_masks(model)
