"""Masks of a run, from its newest checkpoint, without its data and its network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dstrun.methods.weight_mask import MASK, masked_names
from dstrun.runs import checkpoint
from dstrun.runs.folder import load_config
from dstrun.runs.method import make_method
from dstrun.system.errors import InputError, first_line


def read_masks(folder: Path) -> dict[str, np.ndarray]:
    """Return the masks of a run by layer: booleans of the weights' shapes; {} for a dense run.

    Raise InputError for a run without a usable checkpoint.
    """
    config = load_config(folder)
    config = replace(config, schedule=replace(config.schedule, compile="off"))
    if not (method := make_method(config)).has_masks:
        return {}
    try:
        state = checkpoint.load_newest(folder)["model"]
        return {name: _mask(method, state, name) for name in masked_names(state)}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error


def _mask(method: Any, state: dict[str, Tensor], name: str) -> np.ndarray:
    """Return the mask of one layer."""
    layer = f"{name}." if name else ""  # the model itself may be the layer
    prefix = f"{layer}{MASK}."
    weight = state[f"{layer}weight"]
    mask = method.make_mask(weight)
    own = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    mask.load_state_dict(own)
    return mask.kept(weight).numpy()
