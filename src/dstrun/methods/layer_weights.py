"""Weights that have or may have a mask: a parameter of a layer, or a part of one."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from dstrun.methods.layer_kinds import Kind, kind_of
from dstrun.methods.weight_mask import LAYOUT, MASK, WeightMask, compute_dtype, part_of


class LayerWeight:
    """One weight of a layer, which a mask covers whole.

    name: of the layer in rows and messages: the module's for its `weight`, else with the parameter
    and the part behind it, such as `attention.in_proj_weight.q`. layout: arguments of `part_of`.
    """

    def __init__(
        self, layer: str, module: nn.Module, parameter: str, kind: Kind, part: str = ""
    ) -> None:
        self.module, self.parameter_name, self.part = module, parameter, part
        self._parts = (kind.parts(parameter) or "") if part else ""
        self.layout = (kind.rows, self._parts.find(part), max(len(self._parts), 1))
        self.name = ".".join(filter(None, [layer, *self._keys()]))
        self.ties: list[LayerWeight] = []  # the same parameter in other layers, with the same mask

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter, in its own layout."""
        return cast(nn.Parameter, self.module._parameters[self.parameter_name])

    @property
    def identity(self) -> tuple[int, str]:
        """What tells the weight from others, whatever the layers are called that have it."""
        return id(self.parameter), self.part

    @property
    def is_whole(self) -> bool:
        """Whether the weight is the parameter itself, rows first."""
        return self.layout == (0, 0, 1)

    def of(self, tensor: Tensor) -> Tensor:
        """Return the part of a tensor of the parameter's shape that belongs to this weight.

        Rows first; the tensor itself, or a view of it.
        """
        return tensor if self.is_whole else part_of(tensor, *self.layout)

    @property
    def weight(self) -> Tensor:
        """The weight, rows first: the parameter itself, or a view of it."""
        return self.of(self.parameter)

    @property
    def gradient(self) -> Tensor | None:
        """The gradient of the weight, rows first, None where the parameter has none."""
        grad = self.parameter.grad
        return None if grad is None else self.of(grad)

    @property
    def mask(self) -> WeightMask:
        """The mask. Raises AttributeError for a weight without one."""
        mask = self.find_mask()
        if mask is None:
            raise AttributeError(f"{self.name} has no mask")
        return mask

    def find_mask(self) -> WeightMask | None:
        """Return the mask, None for a weight without one."""
        holder: nn.Module | None = self.module
        for key in [MASK, *self._keys()]:
            holder = None if holder is None else holder._modules.get(key)
        return cast(WeightMask | None, holder)

    def set_mask(self, mask: WeightMask) -> None:
        """Add the mask to the layer, under the parameter's name and the part's if need be."""
        if not self.is_whole:
            mask.register_buffer(LAYOUT, torch.tensor(self.layout))
        keys = [MASK, *self._keys()]
        holders: list[Callable[[], nn.Module]] = [nn.ModuleDict, partial(PartMasks, self._parts)]
        holder = self.module
        for key, make in zip(keys[:-1], holders, strict=False):
            if key not in holder._modules:
                holder.add_module(key, make())
            holder = holder.get_submodule(key)
        holder.add_module(keys[-1], mask)

    def _keys(self) -> list[str]:
        """Return where the mask is below the layer's child `mask`."""
        if self.parameter_name == "weight" and not self.part:
            return []
        return [key for key in (self.parameter_name, self.part) if key]


class PartMasks(nn.ModuleDict):
    """The masks of the parts of a parameter, some of which may have none."""

    def __init__(self, parts: str) -> None:
        super().__init__()
        self.parts = parts


def masked_parameters(module: nn.Module, kind: Kind) -> dict[str, Tensor]:
    """Return W ⊙ M for the parameters of a layer that have masks, in their own layout."""
    held = module._modules.get(MASK)
    if held is None:
        return {}
    masks = {"weight": held} if isinstance(held, WeightMask) else held._modules
    found = {}
    for name, mask in masks.items():
        parameter = cast(Tensor, getattr(module, name))
        assert mask is not None
        # autocast raises an error for meta
        casts = kind.autocast or parameter.is_meta
        with nullcontext() if casts else torch.autocast(parameter.device.type, enabled=False):
            found[name] = _product(parameter, mask, kind.rows)
    return found


def _product(parameter: Tensor, mask: nn.Module, rows: int) -> Tensor:
    """Return W ⊙ M of a parameter whose rows are that dimension."""
    if isinstance(mask, PartMasks):
        return _product_of_parts(parameter, mask)
    weight = parameter.transpose(0, rows) if rows else parameter
    product = cast(Tensor, mask(weight))
    return product.transpose(0, rows) if rows else product


def _product_of_parts(parameter: Tensor, masks: PartMasks) -> Tensor:
    """Return W ⊙ M of a parameter in parts."""
    found: list[Tensor] = []
    for place, part in enumerate(masks.parts):
        weight, mask = part_of(parameter, 0, place, len(masks.parts)), masks._modules.get(part)
        found.append(weight.to(compute_dtype(weight)) if mask is None else mask(weight))
    return torch.cat(found)


def flat_weights(
    layer: nn.RNNBase, parameters: Mapping[str, Tensor | None]
) -> dict[str, list[Any]]:
    """Return the attributes in which a recurrent layer keeps its parameters beside them.

    Else it would lay them out for cuDNN anew at each call, and move the storage of its biases.
    """
    weights = [parameters.get(name) for name in layer._flat_weights_names]
    refs = [None if one is None else weakref.ref(one) for one in weights]
    return {"_flat_weights": weights, "_flat_weight_refs": refs}


def all_weights(model: nn.Module) -> dict[str, LayerWeight]:
    """Return every weight of a model without masks that could have one, by name."""
    found: dict[str, LayerWeight] = {}
    for layer, module in model.named_modules():
        if kind := kind_of(type(module)):
            found |= {one.name: one for one in weights_of(layer, module, kind)}
    return found


def weights_of(layer: str, module: nn.Module, kind: Kind) -> Iterator[LayerWeight]:
    """Yield every weight of a layer that can have a mask."""
    for name, _ in module.named_parameters(recurse=False):
        parts = kind.parts(name)
        if parts is not None:
            for part in parts or [""]:
                yield LayerWeight(layer, module, name, kind, part)
