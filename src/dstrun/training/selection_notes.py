"""Notes on `reg.include` and `reg.tied` where they change no mask of a model."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from torch import nn

from dstrun.config.sparsity_options import RegConfig
from dstrun.methods.layer_selection import LEAVE, SHARE, TIED_ELSEWHERE, maskable


def selection_notes(model: nn.Module, reg: RegConfig) -> Iterator[str]:
    """Yield a line for each pattern of `reg.include`, and for reg.tied=share, without effect.

    model: without masks. Raise ValueError as `maskable` does.
    """
    if reg.method == "dense" or (not reg.include and reg.tied == LEAVE):
        return
    chosen = maskable(model, reg.exclude, (), reg.include, reg.tied)
    for pattern in reg.include:
        others = [one for one in reg.include if one != pattern]
        if _masked(model, reg, others, reg.tied) == set(chosen.layers):
            dense = {k: v for k, v in chosen.left_dense.items() if _is_named(k, pattern)}
            why = _why(dense) or "what it names has a mask without it"
            yield f"reg.include=[{pattern}] has no effect: {why}"
    if reg.tied == SHARE and _masked(model, reg, reg.include, LEAVE) == set(chosen.layers):
        apart = maskable(model, reg.exclude, (), reg.include).left_dense
        dense = {k: chosen.left_dense[k] for k, v in apart.items() if v == TIED_ELSEWHERE}
        why = _why(dense) or "no layers of this model that can have masks share weights"
        yield f"reg.tied=share has no effect: {why}"


def _masked(model: nn.Module, reg: RegConfig, include: list[str], tied: str) -> set[str]:
    """Return the names of layers that have a mask with other options; none where it is refused."""
    try:
        return set(maskable(model, reg.exclude, (), include, tied).layers)
    except ValueError:
        return set()


def _is_named(parameter: str, pattern: str) -> bool:
    names = parameter, parameter.rpartition(".")[0]
    return any(fnmatchcase(name, pattern) for name in names)


def _why(dense: dict[str, str]) -> str:
    """Return why the first of these parameters stays dense, '' for none."""
    for name, reason in dense.items():
        advice = "; reg.tied=share gives it a mask" if reason == TIED_ELSEWHERE else ""
        return f"{name} stays dense, {reason}{advice}"
    return ""
