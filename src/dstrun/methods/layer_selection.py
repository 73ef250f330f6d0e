"""Which weights of a model get a mask, and why others get none."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from dstrun.methods.layer_kinds import Kind, kind_of
from dstrun.methods.layer_weights import LayerWeight

READ_PAST = "its weight is read past the layer"
IF_ASKED = "an embedding, masked where include names it"
TIED_ELSEWHERE = "tied to another module"
LEAVE, SHARE = "leave", "share"
TIED = (LEAVE, SHARE)
# What weight_norm, spectral_norm and prune add to the name of a parameter that they compute with.
OF_COMPUTED = ("_g", "_v", "_orig")
NAMED = 12  # how many layers a message names


@dataclass(frozen=True)
class Selection:
    """The weights of a model that get a mask, in the order of the model, by the names of their
    layers, and why others get none, by the names of their parameters or of parts of them.
    """

    layers: dict[str, LayerWeight]
    left_dense: dict[str, str]


@dataclass(frozen=True)
class _Candidate:
    """A parameter of two or more dimensions, or a part of one.

    name: of the parameter, with the part. layer: of the module. reason: why no mask is possible, ""
    where one is. if_asked: whether there is one only where `include` names it.
    """

    name: str
    layer: str
    weight: LayerWeight
    reason: str
    if_asked: bool

    def is_named_by(self, patterns: Sequence[str]) -> bool:
        """Return whether a glob matches the weight, its layer or its parameter."""
        parameter = self.name.removesuffix(f".{self.weight.part}")
        names = {self.name, self.layer, parameter, self.weight.name}
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def maskable(
    model: nn.Module,
    exclude: Sequence[str] = (),
    past: Sequence[str] = (),
    include: Sequence[str] = (),
    tied: str = LEAVE,
) -> Selection:
    """Choose the weights that `sparsify` gives masks: those of layers that `layer_kinds` has.

    Every other parameter of two or more dimensions is listed in `left_dense` with the reason: a
    layer of another type, or of a subclass, a weight that is computed from others, one shared with
    another layer unless `tied` is "share", an embedding unless `include` names it, or excluded.
    `exclude` and `include` hold globs over names of layers, or of modules with several, `past` the
    names of layers known to be read past. Raises ValueError for a glob that matches no layer, for a
    layer in `include` that cannot have a mask, for lazy layers, and where no weight is left.
    """
    if tied not in TIED:
        raise ValueError(f"tied: got {tied!r}, expected one of {', '.join(TIED)}")
    groups: dict[tuple[int, str], list[_Candidate]] = defaultdict(list)
    for one in _candidates(model):
        groups[one.weight.identity].append(one)
    candidates = [one for group in groups.values() for one in group]
    holders: dict[int, list[_Candidate]] = defaultdict(list)
    for one in candidates:
        holders[id(one.weight.parameter)].append(one)
    _check_exclude(candidates, exclude)
    _check_include(candidates, include)
    selection = Selection({}, {})
    for group in groups.values():
        reason = _reason_for_tie(holders[id(group[0].weight.parameter)], tied)
        reason = reason or _reason_by_name(group, exclude, past, include)
        for one in group:
            if one.reason or reason:
                selection.left_dense[one.name] = one.reason or reason
        if not (reason or group[0].reason):
            first, *ties = (one.weight for one in group)
            first.ties = ties
            selection.layers[first.name] = first
    if not selection.layers:
        left = ", ".join(f"{name} ({reason})" for name, reason in selection.left_dense.items())
        raise ValueError(
            f"nothing to mask in this model; left dense: {left or 'no weights at all'}"
        )
    return selection


def _candidates(model: nn.Module) -> Iterator[_Candidate]:
    """Yield every weight of two or more dimensions."""
    for layer, module, parameter in _matrices(model):
        kind = kind_of(type(module))
        reason = _reason_for_dense(module, kind, parameter)
        kind = kind or Kind()
        parts = "" if reason else kind.parts(parameter)
        for part in parts or [""]:
            weight = LayerWeight(layer, module, parameter, kind, part)
            name = ".".join(filter(None, [layer, parameter, part]))
            yield _Candidate(name, layer, weight, reason, kind.if_asked)


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (module name, module, parameter name) of parameters of two or more dimensions."""
    for name, module in model.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            if is_lazy(parameter):
                raise ValueError(
                    f"{name or 'model'} is a {type(module).__name__}, which has no shape before "
                    "its first forward pass: run one through the model first"
                )
            if parameter.dim() > 1:
                yield name, module, parameter_name


def _reason_for_dense(module: nn.Module, kind: Kind | None, parameter: str) -> str:
    """Return why a parameter of a module can have no mask, "" where it can."""
    bases = [parameter.removesuffix(ending) for ending in OF_COMPUTED]
    is_computed = any(base != parameter and base in vars(module) for base in bases)
    if is_computed or isinstance(module, ParametrizationList):
        return "its weight is reparametrised"
    if kind is None or kind.parts(parameter) is None:
        return f"a parameter of {type(module).__name__}"
    return kind.reason(module)


def _reason_for_tie(group: Sequence[_Candidate], tied: str) -> str:
    """Return why a parameter that layers share has no mask, "" where it is to have one.

    group: all parts of the parameter, of each layer.
    """
    if len({(one.layer, one.weight.parameter_name) for one in group}) == 1:
        return ""
    if tied != SHARE:
        return TIED_ELSEWHERE
    refused = next((one.name for one in group if one.reason), "")
    if refused:
        return f"tied to {refused}, which can have no mask"
    if len({one.weight.layout[0] for one in group}) > 1:
        return "tied to a layer whose rows are its columns"
    if len({one.weight.layout[2] for one in group}) > 1:
        return "tied to a layer that has it in other parts"
    return ""


def _reason_by_name(
    group: Sequence[_Candidate],
    exclude: Sequence[str],
    past: Sequence[str],
    include: Sequence[str],
) -> str:
    """Return why a weight of that name is to have no mask, "" where it is to have one."""
    if any(one.is_named_by(exclude) for one in group):
        return "excluded"
    if any(one.weight.name in past for one in group):
        return READ_PAST
    is_asked = len(group) > 1 or any(one.is_named_by(include) for one in group)
    return "" if is_asked or not group[0].if_asked else IF_ASKED


def _check_exclude(candidates: Sequence[_Candidate], exclude: Sequence[str]) -> None:
    """Raise ValueError for a glob that matches no layer."""
    possible = [one for one in candidates if not one.reason]
    for pattern in exclude:
        if not any(one.is_named_by([pattern]) for one in possible):
            raise ValueError(f"{pattern!r} matches no layer; the layers are {_names(possible)}")


def _check_include(candidates: Sequence[_Candidate], include: Sequence[str]) -> None:
    """Raise ValueError for a glob that matches nothing, or only what can have no mask."""
    for pattern in include:
        matched = [one for one in candidates if one.is_named_by([pattern])]
        if not matched:
            raise ValueError(
                f"include: {pattern!r} matches no layer; {_to_include(candidates, pattern)}"
            )
        if all(one.reason for one in matched):
            first = matched[0]
            raise ValueError(f"include: {first.name} can have no mask: {first.reason}")


def _to_include(candidates: Sequence[_Candidate], pattern: str) -> str:
    """Return what `include` can name, embeddings, with the one of a near name in front."""
    embeddings = [one for one in candidates if one.if_asked and not one.reason]
    if not embeddings:
        return "no embedding of this model can have a mask, and others have one without include"
    near = get_close_matches(pattern, [one.weight.name for one in embeddings], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}the embeddings are {_names(embeddings)}"


def _names(candidates: Sequence[_Candidate]) -> str:
    names = [one.weight.name for one in candidates]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED + 1 else []
    return ", ".join(names[:NAMED] + more if more else names)
