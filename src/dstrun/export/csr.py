"""Layers that compute with torch's kernels for sparse matrices in CSR form, in place of dense ones.
For inference.

    Linear       y = (W xᵀ)ᵀ + b             W (rows, columns) sparse, x (…, columns)
    Conv2d       the same on patches (im2col): x (C·k·k, B·L)
    Recurrent    as Linear, at every time step

Knows torch, the recurrent linear, and masks to refuse them.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.weight_mask import refuse_masks
from dstrun.models.recurrent import RecurrentLinear

FUSED = (
    nn.TransformerEncoderLayer,
    nn.MultiheadAttention,
)  # which read their layers' weights past the layers


class CSRLinear(nn.Module):
    """A Linear, or a recurrent one, of which the weight is sparse."""

    weight: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", _csr(layer.weight))
        self.bias = layer.bias

    def step_weight(self) -> Tensor:
        """As RecurrentLinear has it."""
        return self.weight

    def forward(self, input: Tensor, weight: Tensor | None = None) -> Tensor:
        if input.dim() == 1:
            return self(input[None])[0]
        if (
            input.dim() > 2
        ):  # the first dimension innermost, so that an LSTM's steps are upright as its states are
            rows = input.movedim(0, -2)
            return (
                self(rows.reshape(-1, input.shape[-1])).reshape(*rows.shape[:-1], -1).movedim(-2, 0)
            )
        # The next layer's own t() makes it contiguous again.
        return _product(self.weight, _upright(input), self.bias).t()


class CSRConv2d(nn.Module):
    """A Conv2d of one group, padded with zeros, as a product with patches."""

    weight: Tensor

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("weight", _csr(layer.weight.flatten(1)))
        self.bias = layer.bias
        self._windows: dict[str, Any] = {
            key: getattr(layer, key) for key in ("kernel_size", "dilation", "padding", "stride")
        }

    def forward(self, input: Tensor) -> Tensor:
        patches = F.unfold(input, **self._windows)
        images, taps, places = patches.shape
        output = _product(
            self.weight, patches.transpose(0, 1).reshape(taps, images * places), self.bias
        )
        height, width = map(self._positions, range(2), input.shape[2:])
        return output.view(-1, images, height, width).transpose(0, 1)

    def _positions(self, side: int, pixels: int) -> int:
        kernel, dilation, padding, stride = (self._windows[key][side] for key in self._windows)
        return (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _product(weight: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """(rows, n) × (n, B) + (rows,) → (rows, B)."""
    if columns.shape[1] == 1:  # as a vector, in half of the time
        vector = columns[:, 0]
        return (torch.mv(weight, vector) if bias is None else torch.addmv(bias, weight, vector))[
            :, None
        ]
    return (
        torch.mm(weight, columns) if bias is None else torch.addmm(bias[:, None], weight, columns)
    )


def _upright(rows: Tensor) -> Tensor:
    """(B, n) → (n, B), contiguous, for which the kernel is three times as fast.

    As images of one pixel a row the copy takes half of what t().contiguous() does.
    """
    columns = rows.t()
    if columns.is_contiguous():
        return columns
    images = rows.reshape(1, *rows.shape, 1).contiguous(memory_format=torch.channels_last)
    return images.as_strided(columns.shape, (rows.shape[0], 1))


def to_csr(model: nn.Module, densest: float = 0.5) -> nn.Module:
    """Make every layer sparse that can be, in place, but those of which more than `densest` is
    kept.

    Return the model, which is another object where it is itself a layer. Raises ValueError for a
    model with masks."""
    refuse_masks(model)
    whole = {
        id(part) for stack in model.modules() if type(stack) in FUSED for part in stack.modules()
    }
    found: dict[int, nn.Module] = {}  # a module may stand in several places
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) not in found:
            if id(module) in whole or not _can(module) or _density(module) > densest:
                continue
            found[id(module)] = (
                CSRConv2d(module) if isinstance(module, nn.Conv2d) else CSRLinear(module)
            )
        if not name:
            return found[id(module)]
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, found[id(module)])
    return model


def _can(module: nn.Module) -> bool:
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
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse (CSR tensor support is|invariant checks are)"
        )
        sparse = weight.detach().to_sparse_csr()
        rows, columns = (
            sparse.crow_indices().int(),
            sparse.col_indices().int(),
        )  # as the kernel has them
        return torch.sparse_csr_tensor(
            rows, columns, sparse.values(), sparse.shape, check_invariants=False
        )
