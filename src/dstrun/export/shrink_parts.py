"""Smaller copies of the modules inside a model that cannot be traced as a whole.

A module of the model's own code that is called once, with one tensor, is traced by itself: all that
it reads and all that it returns is needed, and what is dead in between is removed. Where it cannot
be traced either, its children are tried.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

Shrink = Callable[[nn.Module, Tensor], nn.Module]  # of a module and its input; raises ValueError


def shrink_parts(model: nn.Module, inputs: Tensor, shrink: Shrink) -> nn.Module | None:
    """Return a copy with smaller modules, None where there is none; `inputs` are the model's."""
    model = deepcopy(model).eval()
    calls = _single_calls(model, inputs)
    return model if _replace_children(model, "", calls, shrink) else None


def size(model: nn.Module) -> int:
    """Return how many numbers a model holds."""
    return sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))


def _single_calls(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return the input of every module that could be traced by itself, by name."""
    names = Counter(id(one) for _, one in model.named_modules(remove_duplicate=False))
    calls: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    handles = []
    for name, module in model.named_modules():
        has_hooks = module._forward_hooks or module._forward_pre_hooks
        if names[id(module)] == 1 and not has_hooks and not _is_of_torch(module):
            note = partial(_note, calls[name])
            handles.append(module.register_forward_hook(note, with_kwargs=True))
    try:
        model(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for name, made in calls.items():
        if len(made) == 1 and len(made[0]) == 1 and isinstance(made[0][0], Tensor):
            found[name] = made[0][0]
    return found


def _is_of_torch(module: nn.Module) -> bool:
    """Return whether torch.fx takes a module as one operation."""
    return fx.Tracer().is_leaf_module(module, "")


def _note(calls: list[tuple[Any, ...]], _: object, arguments: Any, named: Any, __: object) -> None:
    values = [*arguments, *named.values()]
    calls.append(tuple(one.clone() if isinstance(one, Tensor) else one for one in values))


def _replace_children(
    module: nn.Module, name: str, calls: dict[str, Tensor], shrink: Shrink
) -> bool:
    """Put smaller modules in place of children; return whether there was one."""
    is_smaller = False
    for key, child in list(module.named_children()):
        path = f"{name}.{key}" if name else key
        made = _smaller(child, calls[path], shrink) if path in calls else None
        if made is None:
            is_smaller |= _replace_children(child, path, calls, shrink)
        elif size(made) < size(child):
            setattr(module, key, made)
            is_smaller = True
    return is_smaller


def _smaller(module: nn.Module, inputs: Tensor, shrink: Shrink) -> nn.Module | None:
    try:
        return shrink(module, inputs)
    except ValueError:
        return None
