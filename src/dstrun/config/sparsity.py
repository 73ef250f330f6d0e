"""Check of the options of `reg` that do not fit together, and the one word for a density."""

from math import isclose

from dstrun.config.sparsity_options import (
    METHODS,
    STRUCTURES,
    WITH_DENSITY,
    WITH_STRUCTURE,
    RegConfig,
)
from dstrun.system.errors import InputError


def unify_density(reg: RegConfig) -> None:
    """Take over a density that another option says, in place, so that a run has one identity.

    With the method dst reg.density becomes reg.target_density; N:M is the density N / M. Raise
    InputError where both are given and differ.
    """
    if ":" in reg.structure and (reg.method in WITH_STRUCTURE or reg.method not in METHODS):
        reg.density = _density_of_groups(reg)
    if reg.method != "dst" or not reg.density:
        return
    if reg.target_density not in (0, reg.density):
        raise InputError(
            f"reg.density: got {reg.density:g} with reg.target_density={reg.target_density:g}, "
            "which is another word for it: expected one of them"
        )
    reg.target_density, reg.density = reg.density, 0.0


def _density_of_groups(reg: RegConfig) -> float:
    kept, size = map(int, reg.structure.split(":"))
    if not 0 < kept < size:
        raise InputError(f"reg.structure: got {reg.structure!r}, expected {STRUCTURES}")
    if reg.density and not isclose(reg.density, kept / size, rel_tol=1e-6):
        raise InputError(
            f"reg.density: got {reg.density:g} with reg.structure={reg.structure}, "
            f"which keeps {kept / size:g}"
        )
    return kept / size


def asked_density(reg: RegConfig) -> float:
    """Return the density to reach, whatever it is called; 0 where none is asked for."""
    if reg.method in METHODS and reg.method not in WITH_DENSITY:
        return 0.0
    return reg.target_density if reg.method == "dst" else reg.density


def check_sparsity(reg: RegConfig) -> None:
    """Raise InputError for options of the sparsity that do not fit together."""
    if reg.is_steered and not reg.alpha:
        raise InputError(
            "reg.alpha: got 0 with a target density, whose search for α starts there: "
            "expected a number > 0"
        )
    needs_density = reg.method in METHODS and reg.method in WITH_DENSITY and reg.method != "dst"
    if needs_density and not reg.density and not (reg.method == "l1" and reg.cutoff):
        raise InputError(
            f"reg.density: reg={reg.method} needs one, expected 0 < number < 1, "
            "such as reg.density=0.1"
        )
    if reg.method == "imp" and not reg.rounds:
        raise InputError("reg.rounds: reg=imp needs a number of prunings, such as reg.rounds=3")
    if reg.method == "l1":
        _check_l1(reg)
    if reg.method == "granet" and reg.initial_density < reg.density:
        raise InputError(
            f"reg.initial_density: got {reg.initial_density:g} with reg.density={reg.density:g}, "
            "expected at least that"
        )
    if reg.method in ("gmp", "granet", "acdc") and reg.start >= reg.until:
        raise InputError(
            f"reg.start: got {reg.start:g} with reg.until={reg.until:g}, expected an earlier start"
        )


def _check_l1(reg: RegConfig) -> None:
    """Raise InputError for a penalty that never applies, and two words for what is pruned."""
    if not reg.start:
        raise InputError("reg.start: got 0, so that reg=l1 has no penalty, expected a number > 0")
    if reg.density and reg.cutoff:
        raise InputError(
            f"reg.density: got {reg.density:g} with reg.cutoff={reg.cutoff:g}, "
            "which says what is pruned: expected one of them"
        )


def check_rounds(reg: RegConfig, epochs: int) -> None:
    """Raise InputError for rounds that begin again after the last epoch."""
    if reg.method == "imp" and reg.rewind_epoch and reg.rewind_epoch >= epochs:
        raise InputError(
            f"reg.rewind_epoch: got {reg.rewind_epoch} with schedule.epochs={epochs}, "
            "expected an earlier one"
        )
