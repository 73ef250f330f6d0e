"""Smaller dense network with the same outputs: rows and filters without effect are removed.

    constant   a channel with one value for every image and position: a row without weights yields
               its bias, and what is computed from constants alone is constant. It is removed, and
               its value is folded into what reads it: into a bias, into a map where a convolution
               pads with zeros, into a vector at an addition.
    needed     a channel that reaches the output through kept weights. What only feeds zeros is
               removed.

`channels` finds both; `rebuild` builds the graph again. Where layers that read one tensor need
different channels of it, each selects its own; channels of the input images are selected only where
that saves more time than it costs. At a residual addition a branch is spread over the channels of
the sum.

This works on what torch.fx can trace, in evaluation mode, for images of one size. Operations that
are not known (grouped convolutions, reshapes, …) keep all of their channels.
"""

from copy import deepcopy

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from dstrun.export.rebuild import Rebuild
from dstrun.methods.weight_mask import refuse_masks


class CannotShrinkError(ValueError):
    """No smaller network can be made of this model; the message is one line."""


@torch.no_grad()
def shrink(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the smaller network in evaluation mode; `example`, (1, C, H, W), has the images' size.

    Raise CannotShrinkError for a model with masks, one that torch.fx cannot trace or that does not
    accept the example, and one whose smaller network computes other outputs: for instance a model
    that changes a tensor in place and reads it again.
    """
    _require_plain(model)
    if not example.is_floating_point():
        raise CannotShrinkError("this network takes tokens, expected one of images")
    pair = torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    traced = _trace(model, pair)
    try:
        smaller = Rebuild(traced).network()
        outputs, expected = smaller(pair.clone()), deepcopy(model).eval()(pair.clone())
        is_same = torch.allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    except Exception as error:
        raise CannotShrinkError(f"this model is not supported ({_reason(error)})") from error
    if not is_same:
        raise CannotShrinkError(
            "this model is not supported: the smaller network computes other outputs"
        )
    return smaller


def _require_plain(model: nn.Module) -> None:
    """Raise CannotShrinkError for a model with masks, or not in float32 on the CPU."""
    try:
        refuse_masks(model)
    except ValueError as error:
        raise CannotShrinkError(str(error)) from error
    for parameter in model.parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise CannotShrinkError("expected a model in float32 on the CPU")


def _trace(model: nn.Module, images: Tensor) -> fx.GraphModule:
    """Return a traced copy of the model with the shapes of its tensors for these images."""
    try:
        traced = fx.symbolic_trace(deepcopy(model).eval())
    except Exception as error:  # tracing runs the model's own code
        raise CannotShrinkError(f"torch.fx cannot trace this model ({_reason(error)})") from error
    try:
        ShapeProp(traced).propagate(images.clone())
    except Exception as error:
        size = "×".join(map(str, (1, *images.shape[1:])))
        raise CannotShrinkError(
            f"the model does not accept the example, {size} ({_reason(error)})"
        ) from error
    return traced


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error's cause, or of the error itself."""
    cause = error.__cause__ or error
    line = next(iter(str(cause).splitlines()), type(cause).__name__)
    return line.split(". ")[0].rstrip(".")
