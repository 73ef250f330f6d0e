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

This works on what torch.fx can trace, in evaluation mode, for inputs of one size; of a model that
it cannot trace, on the modules inside (`shrink_parts`). Operations that are not known (attention,
layer norm, convolutions in groups, reshapes, …) keep all of their channels.
"""

from copy import deepcopy

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from dstrun.export.rebuild import Rebuild
from dstrun.export.shrink_parts import shrink_parts
from dstrun.methods.weight_mask import refuse_masks


class CannotShrinkError(ValueError):
    """No smaller network can be made of this model; the message is one line."""


class _CannotTraceError(CannotShrinkError):
    """The model as a whole cannot be traced; parts of it may be."""


@torch.no_grad()
def shrink(model: nn.Module, example: Tensor) -> nn.Module:
    """Return the smaller network in evaluation mode, for inputs of the size of the example's.

    example: a batch of one, (1, …); integers stand for tokens. Raise CannotShrinkError for a model
    with masks, one of which torch.fx can trace nothing that is smaller, or that does not accept the
    example, and one whose smaller network computes other outputs: for instance a model that changes
    a tensor in place and reads it again.
    """
    _require_plain(model)
    pair = _random_pair(model, example)
    expected = _outputs(model, pair)
    smaller = _smaller(model, pair)
    try:
        is_same = torch.allclose(smaller(pair.clone()), expected, rtol=1e-3, atol=1e-4)
    except Exception as error:
        raise CannotShrinkError(f"this model is not supported ({_reason(error)})") from error
    if not is_same:
        raise CannotShrinkError(
            "this model is not supported: the smaller network computes other outputs"
        )
    return smaller


def _smaller(model: nn.Module, pair: Tensor) -> nn.Module:
    """Return the smaller network of a model, or of the modules inside it."""
    try:
        return _shrink_whole(model, pair)
    except _CannotTraceError as error:
        smaller = shrink_parts(model, pair, _shrink_whole)
        if smaller is None:
            raise CannotShrinkError(
                f"{error}, and nothing can be removed from the modules inside it"
            ) from error
        return smaller


def _shrink_whole(model: nn.Module, pair: Tensor) -> fx.GraphModule:
    """Return the smaller network of a model that can be traced."""
    traced = _trace(model, pair)
    try:
        return Rebuild(traced).network()
    except Exception as error:
        raise CannotShrinkError(f"this model is not supported ({_reason(error)})") from error


def _random_pair(model: nn.Module, example: Tensor) -> Tensor:
    """Return two random inputs of the example's size: tokens that every embedding has."""
    generator, shape = torch.Generator().manual_seed(0), (2, *example.shape[1:])
    if example.is_floating_point():
        return torch.randn(shape, generator=generator)
    embeddings = [one for one in model.modules() if isinstance(one, nn.Embedding)]
    tokens = min((one.num_embeddings for one in embeddings), default=int(example.max()) + 1)
    return torch.randint(tokens, shape, generator=generator, dtype=example.dtype)


def _require_plain(model: nn.Module) -> None:
    """Raise CannotShrinkError for a model with masks, or not in float32 on the CPU."""
    try:
        refuse_masks(model)
    except ValueError as error:
        raise CannotShrinkError(str(error)) from error
    for parameter in model.parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise CannotShrinkError("expected a model in float32 on the CPU")


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the outputs of a copy of the model in evaluation mode."""
    try:
        outputs = deepcopy(model).eval()(inputs.clone())
    except Exception as error:
        size = "×".join(map(str, (1, *inputs.shape[1:])))
        raise CannotShrinkError(
            f"the model does not accept the example, {size} ({_reason(error)})"
        ) from error
    if not isinstance(outputs, Tensor):
        raise CannotShrinkError(f"the model returns a {type(outputs).__name__}, expected a tensor")
    return outputs


def _trace(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """Return a traced copy of the model with the shapes of its tensors for these inputs."""
    try:
        traced = fx.symbolic_trace(deepcopy(model).eval())
        ShapeProp(traced).propagate(inputs.clone())
    except Exception as error:  # tracing runs the model's own code
        raise _CannotTraceError(f"torch.fx cannot trace this model ({_reason(error)})") from error
    return traced


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error's cause, or of the error itself."""
    cause = error.__cause__ or error
    line = next(iter(str(cause).splitlines()), type(cause).__name__)
    return line.split(". ")[0].rstrip(".")
