"""The weights that a run starts from: those of `init`, if any, in the memory layout asked for.

thresholds, of the same method   weights and thresholds as they are
masks of any other kind          W ⊙ M, the weights that the other run computes with
a method with random masks       starts with M of the other run in their place, if it has masks;
                                 a layer that has none there keeps all of its weights
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dstrun.config.options import Config
from dstrun.config.sparsity_options import RANDOM_START, WITH_STRUCTURE, RegConfig
from dstrun.methods.fixed.selection import has_structure
from dstrun.methods.layer_weights import LayerWeight
from dstrun.methods.masked_layers import masked_layers
from dstrun.methods.weight_mask import SavedMask, is_of_mask, saved_masks
from dstrun.runs import checkpoint
from dstrun.runs.folder import load_config
from dstrun.runs.method import make_method
from dstrun.system.errors import InputError

WITH_THRESHOLDS = ("dst", "str")
ROUNDING = 0.01  # of a density, and a weight a layer


def set_initial_weights(config: Config, model: nn.Module) -> None:
    """Load the weights of `init` into a model with masks, and lay all weights out as asked."""
    if config.init:
        model.load_state_dict(_fitting(config, config.init, model), strict=False)
    if config.schedule.channels_last:
        model.to(memory_format=torch.channels_last)


def _fitting(config: Config, run: str, model: nn.Module) -> dict[str, Tensor]:
    """Return another run's weights for this model; raise InputError where they do not fit."""
    own, found = model.state_dict(), {}
    try:
        state = checkpoint.load_newest(Path(run))["model"]
        if saved_masks(state):
            state = _with_masks_taken(config, run, state, own)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"init: {error}") from error
    for name in sorted({*state, *own}):
        if name in state and name in own and state[name].shape == own[name].shape:
            found[name] = state[name]
        elif not is_of_mask(name, own | state):
            raise InputError(f"init: {name} of {run} does not fit this model")
    if config.reg.method in RANDOM_START and saved_masks(state):
        structure = config.reg.structure if config.reg.method in WITH_STRUCTURE else "none"
        _check_structure(config.reg, structure, run, state, model)
        if ":" not in structure:  # which decides on the density
            _check_density(config.reg, run, state, model)
    return found


@torch.no_grad()
def _with_masks_taken(
    config: Config, run: str, state: dict[str, Tensor], own: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the state with W ⊙ M for W and M as `keep`, or as it is: see the module's text."""
    other = load_config(Path(run))
    shapes = {name: value.shape for name, value in state.items()}
    fits = all(shapes.get(name) == own[name].shape for name in own if is_of_mask(name, own))
    fits &= saved_masks(state).keys() <= saved_masks(own).keys()
    if fits and other.reg.method == config.reg.method in WITH_THRESHOLDS:
        return state
    method = make_method(replace(other, schedule=replace(other.schedule, compile="off")))
    found = {name: value.clone() for name, value in state.items() if not is_of_mask(name, state)}
    for saved in saved_masks(state).values():
        weight = saved.weight(state)
        mask = saved.load(method.make_mask(weight), state)
        saved.weight(found).copy_(mask(weight))
        if config.reg.method in RANDOM_START:
            found[f"{saved.prefix}keep"] = mask.kept(weight)
    if config.reg.method in RANDOM_START:
        keeps = {name: one for name, one in own.items() if name.endswith("keep")}
        keeps = {name: one for name, one in keeps.items() if is_of_mask(name, own)}
        found = {name: torch.ones_like(value) for name, value in keeps.items()} | found
    return found


def _check_structure(
    reg: RegConfig, structure: str, run: str, state: dict[str, Tensor], model: nn.Module
) -> None:
    """Raise InputError where masks that are taken over lack the structure that was asked for."""
    saved = saved_masks(state)
    for layer, one in masked_layers(model).items():
        keep = _kept(one, saved, state)
        keep = torch.ones_like(one.weight, dtype=torch.bool) if keep is None else keep
        if not has_structure(keep, structure):
            raise InputError(
                f"init: {reg.method} takes over the masks of {run}, and that of {layer} is not "
                f"{structure}: expected a run with reg.structure={structure}"
            )


def _kept(
    weight: LayerWeight, saved: Mapping[str, SavedMask], state: dict[str, Tensor]
) -> Tensor | None:
    """Return the mask of a weight in another run's state, None where it has none.

    saved: `saved_masks` of the state.
    """
    own = saved.get(weight.name)
    return state[f"{own.prefix}keep"] if own else None


def _check_density(reg: RegConfig, run: str, state: dict[str, Tensor], model: nn.Module) -> None:
    """Raise InputError where masks that are taken over have another density than was asked for."""
    name = "initial_density" if reg.method == "granet" else "density"
    kept = total = 0
    layers, saved = masked_layers(model), saved_masks(state)
    for one in layers.values():
        keep = _kept(one, saved, state)
        total += one.weight.numel()
        kept += one.weight.numel() if keep is None else int(keep.sum())
    wanted, density = getattr(reg, name), kept / total
    if abs(density - wanted) > ROUNDING * wanted + len(layers) / total:
        raise InputError(
            f"init: {reg.method} takes over the masks of {run}, which keep {density:.2%} of the "
            f"weights, and reg.{name} is {wanted:g}: expected reg.{name}={density:.3g}"
        )
