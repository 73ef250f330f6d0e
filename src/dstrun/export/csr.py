"""Layers that compute with torch's kernels for sparse matrices in CSR form, for inference.

Linear       y = (W xᵀ)ᵀ + b             W (rows, columns) sparse, x (…, columns)
Conv2d       the same on patches (im2col): x (C·k·k, B·L)
Recurrent    as Linear, at every time step
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.layer_kinds import kind_of
from dstrun.methods.layer_weights import all_weights
from dstrun.methods.weight_mask import refuse_masks
from dstrun.models.recurrent import RecurrentLinear

WINDOW = ("kernel_size", "dilation", "padding", "stride")


class CSRLinear(nn.Module):
    """A Linear or RecurrentLinear with a sparse weight."""

    weight: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", _csr(layer.weight))
        self.bias = layer.bias

    def step_weight(self) -> Tensor:
        """Return the weight, as RecurrentLinear does."""
        return self.weight

    def forward(self, input: Tensor, weight: Tensor | None = None) -> Tensor:
        if input.dim() == 1:
            return self(input[None])[0]
        if input.dim() > 2:
            # The first dimension goes innermost, so that each step of an LSTM yields contiguous
            # columns, as its states are.
            rows = input.movedim(0, -2)
            output = self(rows.reshape(-1, input.shape[-1]))
            return output.reshape(*rows.shape[:-1], -1).movedim(-2, 0)
        # The t() of the next layer makes it contiguous again.
        return _product(self.weight, _columns(input), self.bias).t()


class CSRConv2d(nn.Module):
    """A Conv2d of one group, padded with zeros, as a product of a sparse weight with patches."""

    weight: Tensor

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("weight", _csr(layer.weight.flatten(1)))
        self.bias = layer.bias
        self._window: dict[str, Any] = {key: getattr(layer, key) for key in WINDOW}

    def forward(self, input: Tensor) -> Tensor:
        patches = F.unfold(input, **self._window)
        images, taps, positions = patches.shape
        columns = patches.transpose(0, 1).reshape(taps, images * positions)
        output = _product(self.weight, columns, self.bias)
        height, width = map(self._positions, range(2), input.shape[2:])
        return output.view(-1, images, height, width).transpose(0, 1)

    def _positions(self, side: int, pixels: int) -> int:
        """Return the number of output positions along a side (0: height, 1: width)."""
        kernel, dilation, padding, stride = (self._window[key][side] for key in WINDOW)
        return (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _product(weight: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """Return (rows, n) × (n, B) + (rows,): (rows, B)."""
    if columns.shape[1] == 1:  # the product with a vector takes half of the time
        vector = columns[:, 0]
        product = torch.mv(weight, vector) if bias is None else torch.addmv(bias, weight, vector)
        return product[:, None]
    if bias is None:
        return torch.mm(weight, columns)
    return torch.addmm(bias[:, None], weight, columns)


def _columns(rows: Tensor) -> Tensor:
    """Return (B, n) as (n, B), contiguous, for which the kernel is three times as fast.

    Copying rows as images of one pixel takes half of the time of t().contiguous().
    """
    columns = rows.t()
    if columns.is_contiguous():
        return columns
    images = rows.reshape(1, *rows.shape, 1).contiguous(memory_format=torch.channels_last)
    return images.as_strided(columns.shape, (rows.shape[0], 1))


def to_csr(model: nn.Module, densest: float = 0.5) -> nn.Module:
    """Replace, in place, every layer with a density of at most `densest` by a sparse one.

    Return the model, or the new layer where the model is itself a layer. Layers that the kernels
    do not support stay. Raise ValueError for a model with masks.
    """
    refuse_masks(model)
    fused = _parts_of_fused(model)
    replaced: dict[int, nn.Module] = {}  # by id; a module may have several names
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) not in replaced:
            is_supported = id(module) not in fused and _is_supported(module)
            if not is_supported or _density(module) > densest:
                continue
            is_convolution = isinstance(module, nn.Conv2d)
            replaced[id(module)] = CSRConv2d(module) if is_convolution else CSRLinear(module)
        if not name:
            return replaced[id(module)]
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, replaced[id(module)])
    return model


def sparse_left_dense(model: nn.Module, densest: float = 0.5) -> list[str]:
    """Return the names of weights of at most that density which have no sparse form in a model that
    `to_csr` has converted.
    """
    found = []
    for name, one in all_weights(model).items():
        if one.weight.count_nonzero() <= densest * one.weight.numel():
            found.append(name)
    return found


def _parts_of_fused(model: nn.Module) -> set[int]:
    """Return the ids of modules whose weights their parents read."""
    found = set()
    for module in model.modules():
        kind = kind_of(type(module))
        parts = kind.reads if kind else ()
        found |= {id(module._modules.get(name)) for name in parts}
        if type(module) is nn.TransformerEncoderLayer:  # in its fused kernel for inference
            found |= set(map(id, module.modules()))
    return found


def _is_supported(module: nn.Module) -> bool:
    """Return whether a layer has a sparse form."""
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if type(module) in (nn.Linear, RecurrentLinear):
        return module.weight.dtype == torch.float32
    if type(module) is not nn.Conv2d or module.groups != 1 or module.padding_mode != "zeros":
        return False
    return not isinstance(module.padding, str) and module.weight.dtype == torch.float32


def _density(layer: Any) -> float:
    return float((layer.weight != 0).sum()) / layer.weight.numel()


def _csr(weight: Tensor) -> Tensor:
    """Return a weight (rows, columns) in CSR form, with the 32-bit indices of the kernel."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse (CSR tensor support is|invariant checks are)"
        )
        sparse = weight.detach().to_sparse_csr()
        rows, columns = sparse.crow_indices().int(), sparse.col_indices().int()
        return torch.sparse_csr_tensor(
            rows, columns, sparse.values(), sparse.shape, check_invariants=False
        )
