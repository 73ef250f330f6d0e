"""Densities of layers that add up to the density asked for: uniform, ER and ERK. No torch.

    uniform   every layer the same
    ER        ε (n_in + n_out) / (n_in n_out)                      (Mocanu et al., 2018)
    ERK       ε Σ dims / Π dims, over all dimensions of the weight (Evci et al., 2020, section 3)

ε is such that the sum is right. A layer that would need more than it has is dense, and its share is
distributed over the others.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import ceil, floor, isclose, log10, prod

Shape = Sequence[int]
Shapes = Mapping[str, Shape]

RAW: dict[str, Callable[[Shape], float]] = {
    "uniform": lambda shape: 1.0,
    "er": lambda shape: (shape[0] + shape[1]) / (shape[0] * shape[1]),
    "erk": lambda shape: sum(shape) / prod(shape),
}
DISTRIBUTIONS = tuple(RAW)
STRUCTURES = "none, fan_in, or N:M such as 2:4, with N < M"
NAMED = 3  # how many layers a message names


def layer_counts(
    shapes: Shapes,
    density: float,
    distribution: str = "erk",
    given: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """Return how many weights each layer keeps, at least one.

    shapes: of the weights, by layer. density: of all layers together. given: globs of layer names
    and densities of their own; the other layers keep what is left. Raises ValueError, which begins
    with the option's name, for another distribution, a glob without a layer, densities that do not
    add up, and less than one weight a row.
    """
    densities = _given(shapes, given or {})
    others = {name: shape for name, shape in shapes.items() if name not in densities}
    left = _left_for(others, shapes, densities, density) if densities else density
    if others:
        densities |= layer_densities(others, left, distribution)[0]
    counts = {name: max(round(densities[name] * prod(shapes[name])), 1) for name in shapes}
    refuse_less_than_rows(shapes, sum(counts.values()), density)
    return counts


def _left_for(
    others: Shapes, shapes: Shapes, densities: Mapping[str, float], density: float
) -> float:
    """Return the density of other layers, so that all have one; raise ValueError for none."""
    total, rest = (sum(map(prod, some.values())) for some in (shapes, others))
    kept = sum(densities[name] * prod(shapes[name]) for name in densities)
    left = density * total - kept
    if left < -len(shapes) or left > rest + len(shapes):  # more than rounding
        raise ValueError(
            f"density: got {density:g}, and with layer_densities the network keeps "
            f"{kept / total:.3g} to {(kept + rest) / total:.3g}"
        )
    return min(max(left / rest, 0.0), 1.0) if rest else 0.0


def layer_densities(
    shapes: Shapes, density: float, distribution: str
) -> tuple[dict[str, float], float]:
    """Return the density of each layer, in (0, 1], and ε. Raises ValueError for another name."""
    if distribution not in RAW:
        known = ", ".join(DISTRIBUTIONS)
        raise ValueError(f"distribution is {distribution!r}, expected one of {known}")
    raw = {name: RAW[distribution](shape) for name, shape in shapes.items()}
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    pruned = {name: int((1 - density) * size) for name, size in sizes.items()}
    dense: set[str] = set()
    while True:
        # what dense layers do not prune is pruned in the others
        kept = sum(sizes[name] - pruned[name] for name in raw if name not in dense)
        kept -= sum(pruned[name] for name in dense)
        epsilon = kept / sum(raw[name] * sizes[name] for name in raw if name not in dense)
        highest = max(raw[name] for name in raw if name not in dense)
        if epsilon * highest <= 1:
            break
        dense |= {name for name in raw if raw[name] == highest}
        if len(dense) == len(raw):  # a density that rounds to 1 for the last one, too
            break
    return {name: 1.0 if name in dense else epsilon * raw[name] for name in raw}, epsilon


def refuse_less_than_rows(shapes: Shapes, kept: int, density: float) -> None:
    """Raise ValueError where fewer weights are kept than the layers have rows."""
    refuse_less_than(sum(shape[0] for shape in shapes.values()), "rows", shapes, kept, density)


def refuse_less_than(least: int, units: str, shapes: Shapes, kept: int, density: float) -> None:
    """Raise ValueError where fewer weights are kept than there are rows, or layers."""
    if kept < least:
        total = sum(map(prod, shapes.values()))
        raise ValueError(
            f"density: got {density:g}, which keeps {kept:,} of {total:,} weights; "
            f"expected at least one for each of {least:,} {units}, {_rounded_up(least / total):g}"
        )


def _rounded_up(number: float) -> float:
    """Return a number > 0 with three digits that is not below it."""
    unit = 10.0 ** (floor(log10(number)) - 2)
    return ceil(number / unit) * unit


def refuse_other_groups(shapes: Shapes, structure: str, density: float) -> None:
    """Raise ValueError where N:M is no such structure, or does not fit the density or a layer."""
    kept, size = group_of(structure)
    if density < 1 and not isclose(density, kept / size, rel_tol=1e-6):
        raise ValueError(
            f"density: got {density:g} with structure={structure}, which keeps {kept / size:g}"
        )
    odd = [f"{name} ({shape[1]})" for name, shape in shapes.items() if shape[1] % size]
    if odd:
        more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
        raise ValueError(
            f"structure: got {structure}, and {size} does not divide the number of inputs of "
            f"{', '.join(odd[:NAMED])}{more}; reg.exclude leaves layers dense"
        )


def group_of(structure: str) -> tuple[int, int]:
    """Return (N, M) of a structure 'N:M'. Raises ValueError for other text."""
    found = re.fullmatch(r"(\d+):(\d+)", structure)
    if not found or not 0 < int(found[1]) < int(found[2]):
        raise ValueError(f"structure: got {structure!r}, expected {STRUCTURES}")
    return int(found[1]), int(found[2])


def _given(shapes: Shapes, given: Mapping[str, float]) -> dict[str, float]:
    """Return the densities that are given for layers, by the layers' names."""
    found: dict[str, float] = {}
    for pattern, density in given.items():
        names = [name for name in shapes if fnmatchcase(name, pattern)]
        if not names:
            layers = ", ".join(shapes)
            raise ValueError(
                f"layer_densities: {pattern!r} matches no layer; the layers are {layers}"
            )
        if isinstance(density, bool) or not isinstance(density, int | float):
            raise ValueError(f"layer_densities: {pattern} got {density!r}, expected a number")
        if not 0 < density <= 1:
            raise ValueError(f"layer_densities: {pattern} got {density}, expected 0 < number ≤ 1")
        found |= dict.fromkeys(names, density)
    return found
