"""Masks of a run, from its newest checkpoint, without its data and its network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dstrun.methods.weight_mask import SavedMask, saved_masks
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
        return {name: _mask(method, state, one) for name, one in saved_masks(state).items()}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error


def _mask(method: Any, state: dict[str, Tensor], saved: SavedMask) -> np.ndarray:
    """Return the mask of one weight, rows first."""
    weight = saved.weight(state)
    return saved.load(method.make_mask(weight), state).kept(weight).numpy()
