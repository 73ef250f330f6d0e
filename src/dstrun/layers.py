"""Layers that compute with W ⊙ M, and `sparsify`, which turns a plain model's layers into them in place.

A masked layer is a subclass that differs from its parent in one thing: the weight goes through `self.mask` first.
Parameters keep their names and their identity: `fc1.weight` stays, `fc1.mask.threshold` is added. This module knows
`masking` and the recurrent linear; it knows no model, no optimiser and no config.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.masking import ThresholdMask
from dstrun.recurrent import RecurrentLinear


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


@dataclass(frozen=True)
class Selection:
    """The layers of a model that get a mask, by name in the order of the model, and why other weights get none."""

    layers: dict[str, Maskable]
    left_dense: dict[str, str]


def maskable(model: nn.Module, exclude: Sequence[str] = ()) -> Selection:
    """Chooses the layers `sparsify` would convert: type exactly nn.Linear, nn.Conv2d or RecurrentLinear.

    Every other parameter of two or more dimensions is listed in `left_dense` with the reason: a subclass (its owner
    may read the weight past the layer's forward), another type, a weight shared with another module, or excluded.
    `exclude` holds globs over layer names. Raises ValueError for one that matches no layer.
    """
    layers: dict[str, Maskable] = {}
    left_dense: dict[str, str] = {}
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    candidates = [name for name, module in model.named_modules() if type(module) in MASKED]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in candidates):
            raise ValueError(f"{pattern!r} matches no layer; the layers are {', '.join(candidates)}")
    for name, module in model.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2:
                continue
            if type(module) not in MASKED:
                reason = f"a parameter of {type(module).__name__}"
            elif owners[id(parameter)] > 1:
                reason = "tied to another module"
            elif any(fnmatchcase(name, pattern) for pattern in exclude):
                reason = "excluded"
            else:
                layers[name] = cast(Maskable, module)
                continue
            left_dense[f"{name}.{parameter_name}".lstrip(".")] = reason
    return Selection(layers, left_dense)


def sparsify(
    model: nn.Module, mask_factory: Callable[[Tensor], ThresholdMask] = ThresholdMask, exclude: Sequence[str] = ()
) -> Selection:
    """Gives every maskable layer of `model` a mask, in place, and says which layers those are.

    `mask_factory` makes the mask of one weight. Call it after the weights are initialised and before the optimiser
    is made. A model whose root is itself a maskable layer is converted too. Raises ValueError for an exclude glob
    that matches nothing, for a model with nothing to mask, and for one that has masks already.
    """
    if any(isinstance(module, ThresholdMask) for module in model.modules()):
        raise ValueError("this model has masks already")
    selection = maskable(model, exclude)
    if not selection.layers:
        left = ", ".join(f"{name} ({reason})" for name, reason in selection.left_dense.items())
        raise ValueError(f"nothing to mask in this model; left dense: {left or 'no weights at all'}")
    for module in selection.layers.values():
        mask = mask_factory(module.weight)
        module.__class__ = MASKED[type(module)]
        cast(MaskedLayer, module).mask = mask
    for part in model.modules():
        if isinstance(part, nn.TransformerEncoderLayer):
            part.activation_relu_or_gelu = 0  # its fused inference kernel would read weights past the masks
    return selection
