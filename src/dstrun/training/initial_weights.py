"""The weights that a run starts from: those of `init`, if any, in the memory layout asked for."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dstrun.config.options import Config
from dstrun.methods.weight_mask import is_of_mask
from dstrun.runs import checkpoint
from dstrun.system.errors import InputError


def set_initial_weights(config: Config, model: nn.Module) -> None:
    """Load the weights of `init` into a model with masks, and lay all weights out as asked."""
    if config.init:
        model.load_state_dict(_fitting(model, config.init), strict=False)
    if config.schedule.channels_last:
        model.to(memory_format=torch.channels_last)


def _fitting(model: nn.Module, run: str) -> dict[str, Tensor]:
    """Return another run's weights for this model; raise InputError where they do not fit."""
    try:
        weights = checkpoint.load_newest(Path(run))["model"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"init: {error}") from error
    own, found = model.state_dict(), {}
    for name in sorted({*weights, *own}):
        if name in weights and name in own and weights[name].shape == own[name].shape:
            found[name] = weights[name]
        elif not is_of_mask(name):
            raise InputError(f"init: {name} of {run} does not fit this model")
    return found
