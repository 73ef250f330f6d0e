"""Layers that compute with W ⊙ M, and `sparsify`, which converts a model's layers in place.

A masked layer is of a subclass whose forward pass reads W ⊙ M in place of W. Parameters keep their
names and their identity: `fc1.weight` stays, `fc1.mask.threshold` is added. `plain` returns a copy
without masks.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.dst.masking import ThresholdMask
from dstrun.methods.layer_kinds import Kind, kind_of
from dstrun.methods.layer_selection import LEAVE, Selection, maskable
from dstrun.methods.layer_weights import (
    LayerWeight,
    all_weights,
    flat_weights,
    masked_parameters,
    weights_of,
)
from dstrun.methods.weight_mask import MASK, WeightMask, saved_masks
from dstrun.methods.weight_reads import read_in_evaluation, read_in_training, total
from dstrun.models.recurrent import RecurrentLinear


class MaskedLayer(nn.Module):
    """Base of masked layers: the plain type's forward pass, on a copy that has W ⊙ M for W.

    plain: the type without masks. kind: which of its parameters have masks.
    """

    plain: type[nn.Module]
    kind: Kind

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return what the plain layer of weights W ⊙ M does."""
        return self.plain.forward(with_masks_applied(self), *arguments, **named)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how to make the layer anew: its class is made by `masked_type`."""
        return _new, (self.plain,), self.__getstate__()


def with_masks_applied(layer: nn.Module) -> nn.Module:
    """Return a plain layer that shares all of a masked one but has W ⊙ M for W.

    A new object for each pass, so that threads may share a model, and hooks of children are called.
    """
    if not isinstance(layer, MaskedLayer):
        return layer
    plain = object.__new__(layer.plain)
    products = masked_parameters(layer, layer.kind)
    # a replica of DataParallel has its parameters among its attributes
    shared = {name: value for name, value in layer.__dict__.items() if name not in products}
    shared["_parameters"] = layer._parameters | products
    if isinstance(layer, nn.RNNBase):
        shared |= flat_weights(layer, shared["_parameters"])
    if layer.kind.reads:
        read = {name: with_masks_applied(layer.get_submodule(name)) for name in layer.kind.reads}
        shared["_modules"] = layer._modules | read
    plain.__dict__ = shared
    return plain


class MaskedLinear(MaskedLayer, nn.Linear):
    """nn.Linear with W ⊙ M for W: as `MaskedLayer`, in 6 µs less a call."""

    mask: WeightMask

    def forward(self, input: Tensor) -> Tensor:
        """Return input · (W ⊙ M)ᵀ + b."""
        return F.linear(input, self.mask(self.weight), self.bias)


class MaskedConv2d(MaskedLayer, nn.Conv2d):
    """nn.Conv2d with W ⊙ M for W (c_o, c_i / groups, k_h, k_w): as `MaskedLayer`, in 6 µs less."""

    mask: WeightMask

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of the input with W ⊙ M, plus b."""
        if self.padding_mode != "zeros":
            return cast(Tensor, super().forward(input))
        weight, step = self.mask(self.weight), self.stride
        return F.conv2d(input, weight, self.bias, step, self.padding, self.dilation, self.groups)


class MaskedRecurrentLinear(MaskedLayer, RecurrentLinear):
    """RecurrentLinear with W ⊙ M for W; the mask is computed once a sequence."""

    mask: WeightMask

    def step_weight(self) -> Tensor:
        """Return W ⊙ M, which every time step uses."""
        return self.mask(self.weight)

    forward = RecurrentLinear.forward


DIRECT: dict[type[nn.Module], type[MaskedLayer]] = {
    nn.Linear: MaskedLinear,
    nn.Conv2d: MaskedConv2d,
    RecurrentLinear: MaskedRecurrentLinear,
}
_MADE: dict[type[nn.Module], type[MaskedLayer]] = {}  # a class for each type, made once


def masked_type(plain: type[nn.Module]) -> type[MaskedLayer]:
    """Return the masked subclass of a type of layer that has a kind."""
    if plain not in _MADE:
        made = DIRECT.get(plain) or type(f"Masked{plain.__name__}", (MaskedLayer, plain), {})
        made = cast(type[MaskedLayer], made)
        made.plain, made.kind = plain, cast(Kind, kind_of(plain))
        _MADE[plain] = made
    return _MADE[plain]


def plain_type(layer: nn.Module) -> type[nn.Module]:
    """Return the type of a layer, without masks if it has any."""
    return layer.plain if isinstance(layer, MaskedLayer) else type(layer)


def _new(plain: type[nn.Module]) -> nn.Module:
    return object.__new__(masked_type(plain))


def sparsify(
    model: nn.Module,
    mask_factory: Callable[[Tensor], WeightMask] = ThresholdMask,
    exclude: Sequence[str] = (),
    *,
    example: Any = None,
    past: Sequence[str] = (),
    include: Sequence[str] = (),
    tied: str = LEAVE,
) -> Selection:
    """Give every maskable weight of `model` a mask, in place, and return which weights those are.

    `mask_factory` makes the mask of one weight, (rows, …). Call it after the weights are
    initialised and before the optimiser is made. A model whose root is itself a maskable layer is
    converted too. With an `example` of what the model is called with, a tensor or a tuple of
    arguments, a copy of the model is tried with it, and layers whose weight is read past the mask
    are left dense; `past` names those already known. `exclude`, `include` and `tied` are those of
    `maskable`, and so are errors; ValueError too for a model that has masks already.
    """
    if masked_layers(model):
        raise ValueError("this model has masks already; dstrun.plain(model) is a copy without them")
    if example is not None:
        rest = {"include": include, "tied": tied}
        past = [*past, *_read_past(copy.deepcopy(model), exclude, example, **rest)]
    selection = maskable(model, exclude, past, include, tied)
    _give_masks(selection.layers.values(), mask_factory)
    _convert(model)
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoderLayer):
            # its fused inference kernel would read weights past the masks
            part.activation_relu_or_gelu = 0
    return selection


def _give_masks(
    weights: Iterable[LayerWeight], mask_factory: Callable[[Tensor], WeightMask]
) -> None:
    for weight in weights:
        mask = mask_factory(weight.weight)
        for one in (weight, *weight.ties):
            one.set_mask(mask)


def _convert(model: nn.Module) -> None:
    """Make layers with masks, and those that read a masked child's weight, masked ones."""
    for module in reversed(list(model.modules())):  # children first
        kind = kind_of(type(module))
        if kind and (MASK in module._modules or _reads_masks(module, kind)):
            module.__class__ = masked_type(type(module))


def _reads_masks(module: nn.Module, kind: Kind) -> bool:
    return any(isinstance(module._modules.get(name), MaskedLayer) for name in kind.reads)


def masked_layers(model: nn.Module) -> dict[str, LayerWeight]:
    """Return the weights of a model that have a mask, by the names of their layers."""
    found: dict[str, LayerWeight] = {}
    seen: set[nn.Module] = set()  # masks of tied weights
    for layer, module in model.named_modules():
        if not isinstance(module, MaskedLayer):
            continue
        for weight in weights_of(layer, module, module.kind):
            mask = weight.find_mask()
            if mask is not None and mask not in seen:
                seen.add(mask)
                found[weight.name] = weight
    return found


def _read_past(model: nn.Module, exclude: Sequence[str], example: Any, **options: Any) -> list[str]:
    """Return the layers whose weight is read past the layer; changes the model, no generator."""
    sparsify(model, exclude=exclude, **options)
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
    _remove_masks(model := copy.deepcopy(model))
    return model


@torch.no_grad()
def _remove_masks(model: nn.Module) -> None:
    """Turn masked layers into plain ones of weight W ⊙ M, in place."""
    # tied weights once, whose masks `load_plain` makes apart
    for weight in {one.identity: one for one in masked_layers(model).values()}.values():
        weight.weight.copy_(weight.mask(weight.weight))
    for module in model.modules():
        if isinstance(module, MaskedLayer):
            module.__class__ = module.plain  # type: ignore[assignment]
            module._modules.pop(MASK, None)


def load_plain(
    model: nn.Module,
    state: dict[str, Tensor],
    mask_factory: Callable[[Tensor], WeightMask] = ThresholdMask,
) -> None:
    """Load the state of a model with masks into a plain one, in place: W ⊙ M for W.

    Raises RuntimeError where the state does not fit.
    """
    saved = saved_masks(state)
    _give_masks([w for name, w in all_weights(model).items() if name in saved], mask_factory)
    _convert(model)
    model.load_state_dict(state)
    _remove_masks(model)
