"""Try a model before training: evaluate and train it on two images, then write its state and read
it back.

    evaluation   two images and one: as many logits as there are classes, whatever the masks let through
    training     forward pass, loss, backward pass: gradients reach the weights, through the masks
    state        torch.save → torch.load(weights_only=True) → a second instance

All of it on the CPU and before anything of a run is written; no generator of random numbers is
moved. InputError is raised for what cannot train, one line each. Knows layers, how their weights
are read, and errors; it knows no config."""

import io
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.loop_check import never_kept
from dstrun.methods.masked_layers import MaskedLayer, masked_layers
from dstrun.methods.probe import Reading, read_in_evaluation, read_in_training
from dstrun.system.errors import InputError, first_line, printable, user_code_error

Autocast = Callable[[], AbstractContextManager]
MANY_ZEROS = 0.001  # share of a layer's weights; an initialiser may draw a 0 or two


@dataclass(frozen=True)
class Trial:
    """What a trial has found: layers whose weight is read past the layer, and what else there is to
    say."""

    past: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """What a model is tried with. `model` and `data` are as a person names them, 'model=vgg16' and
    'data=cifar10'.

    `is_builtin`: a ValueError of its builder is a sentence for the user. `prunes`: a new run of
    DST. `single`: the reason for batches of one image, '' if there are none."""

    model: str
    data: str
    shape: tuple[int, int, int]
    classes: int
    single: str
    exclude: Sequence[str]
    autocast: Autocast
    is_builtin: bool
    prunes: bool


def try_model(
    case: Case, build_model: Callable[[], Any], finish: Callable[[nn.Module], None]
) -> Trial:
    """Try the model that `build_model` makes and `finish` gives masks and weights, as they are
    before training."""

    def new() -> nn.Module:
        model = _built(case, build_model)
        finish(model)
        return model

    with _unmoved_generators():
        model = new()
        layers = masked_layers(model)
        zeros = {name: int((layer.weight == 0).sum()) for name, layer in layers.items()}
        images = torch.randn(2, *case.shape)
        past = {*_evaluated(case, model, layers, images)}
        _check_copies(case, model, new, images[:1])
        reading = _trained(case, model, layers, images)
        _check_state(case, model, build_model, finish)
    past |= {*reading.past}
    masked = {name: layer for name, layer in layers.items() if name not in past}
    if layers and not masked:
        raise InputError(
            f"{case.model}: the weight of every layer is read past the layer, so that no mask would count"
        )
    notes = _notes(case, masked, reading) + (_zeros(case, masked, zeros) if case.prunes else [])
    return Trial(tuple(name for name in layers if name in past), tuple(notes))


def _built(case: Case, build_model: Callable[[], Any]) -> nn.Module:
    """Return what a builder makes; InputError for an error in it, and where it is no model."""
    try:
        model = build_model()
    except (Exception, SystemExit) as error:  # a user's own function may raise anything
        meant = case.is_builtin and isinstance(error, ValueError) and first_line(error)
        raise InputError(f"{case.model}: {meant or user_code_error(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{case.model}: its builder gives {type(model).__name__}, expected a torch.nn.Module"
        )
    return model


def _evaluated(
    case: Case, model: nn.Module, layers: Mapping[str, MaskedLayer], images: Tensor
) -> list[str]:
    """Return the layers whose weight is read past the mask in evaluation, be it into a copy that
    eval() makes."""
    try:
        return read_in_evaluation(
            model, layers, lambda: _evaluation(case, model, images, case.autocast)
        )
    except InputError:
        raise
    except Exception as error:
        problem = "its eval() or train() fails, tried with weights that are NaN"
        raise InputError(f"{case.model}: {problem}: {user_code_error(error)}") from error


def _check_copies(
    case: Case, model: nn.Module, new: Callable[[], nn.Module], image: Tensor
) -> None:
    """Evaluate one image, as a test split may end, and as multiply-adds are counted; InputError for
    a stale copy.

    That is NaN, from the weights that the model was tried with, where the same model built anew
    gives none."""
    model.eval()
    if not _evaluation(case, model, image, nullcontext).isnan().any():
        return
    second = new()
    second.eval()
    if not _evaluation(case, second, image, nullcontext).isnan().any():
        raise InputError(
            f"{case.model}: its evaluation uses weights without their mask (a copy made for evaluation?)"
        )


def _evaluation(case: Case, model: nn.Module, images: Tensor, autocast: Autocast) -> Tensor:
    with torch.no_grad(), autocast():  # a model may keep a table for its training
        return _logits(case, model, images, "in evaluation")


def _trained(
    case: Case, model: nn.Module, layers: Mapping[str, MaskedLayer], images: Tensor
) -> Reading:
    """Return how a step of training on two images reads the weights; a step on one follows where
    batches have one."""
    model.train()
    reading = read_in_training(layers, lambda: _step(case, model, images))
    if case.single:
        try:
            _step(case, model, images[:1])
        except InputError as error:
            why = f": {user_code_error(error.__cause__)}" if error.__cause__ else ""
            raise InputError(
                f"{case.single}, and {case.model} cannot train on one image{why}"
            ) from error
    return reading


def _step(case: Case, model: nn.Module, images: Tensor) -> None:
    with case.autocast():
        logits = _logits(case, model, images, "in training")
    loss = F.cross_entropy(logits.float(), torch.arange(len(images)) % case.classes)
    if not loss.requires_grad:
        raise InputError(
            f"{case.model}: its output in training has no gradient: is it under no_grad, or detached?"
        )
    try:
        loss.backward()
    except Exception as error:
        raise InputError(
            f"{case.model}: its backward pass fails: {user_code_error(error)}"
        ) from error


def _logits(case: Case, model: nn.Module, images: Tensor, when: str) -> Tensor:
    """Return the model's output for some images; InputError where it is none that a loss can be
    made of."""
    count = f"{len(images)} image{'s' * (len(images) > 1)}"
    try:
        logits = model(images.clone())  # a model may change them in place
    except Exception as error:
        size = "×".join(map(str, case.shape))
        problem = f"cannot take {count} of {case.data}, {size}, {when}: {user_code_error(error)}"
        raise InputError(f"{case.model}: {problem}") from error
    expected = (len(images), case.classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        gave = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{case.model}: gives {gave} for {count} {when}, expected {expected}")
    if not logits.is_floating_point():
        raise InputError(
            f"{case.model}: gives {logits.dtype} for {count} {when}, expected floating-point numbers"
        )
    return logits


def _check_state(
    case: Case,
    model: nn.Module,
    build_model: Callable[[], Any],
    finish: Callable[[nn.Module], None],
) -> None:
    """Write the state of a model that has been trained, and read it into another; InputError where
    that fails."""
    file = io.BytesIO()
    try:
        torch.save(model.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
    except Exception as error:
        problem = "a checkpoint takes tensors, numbers, text, and lists and dictionaries of them"
        raise InputError(
            f"{case.model}: its state_dict() cannot be saved and read back ({_in_one_line(error)}): "
            f"{problem}"
        ) from error
    second = _built(case, build_model)
    if _tensors(model) & _tensors(second):
        raise InputError(
            f"{case.model}: its builder gives the same weights again, expected new ones at every call"
        )
    finish(second)
    try:
        second.load_state_dict(state)
    except Exception as error:
        problem = "does not fit the same model built anew, so that no run could be resumed"
        raise InputError(
            f"{case.model}: its state_dict() after a step {problem} ({_in_one_line(error)})"
        ) from error


def _tensors(model: nn.Module) -> set[int]:
    return {id(tensor) for tensor in (*model.parameters(), *model.buffers())}


def _in_one_line(error: BaseException) -> str:
    refused = [
        line for line in str(error).splitlines() if "Unsupported" in line
    ]  # in torch's page of advice
    words = " ".join((refused or [str(error)])[0].split())
    return printable(words if len(words) < 200 else words[:200] + " …")


def _notes(case: Case, masked: Mapping[str, MaskedLayer], reading: Reading) -> list[str]:
    """Return lines about layers that the data cannot train."""
    notes = []
    for words, names in (("not used", reading.unused), ("no gradient", reading.detached)):
        if found := [name for name in names if name in masked]:
            mask = "; the penalty alone decides what is pruned there" if case.prunes else ""
            notes.append(f"{case.model}: {words} in training: {', '.join(found)}{mask}")
    return notes


def _zeros(case: Case, masked: Mapping[str, MaskedLayer], zeros: Mapping[str, int]) -> list[str]:
    """Return a line about weights that are 0 before the first step; InputError where a layer has no
    others.

    |0| > t is false at t = 0, and neither of a weight's gradients gets it away from 0.
    """
    totals = {name: layer.weight.numel() for name, layer in masked.items()}
    if never := [name for name, total in totals.items() if zeros[name] == total]:
        dense = f"reg.exclude=[{','.join([*case.exclude, *never])}] leaves {'them' if len(never) > 1 else 'it'} dense"
        raise InputError(f"{case.model}: {never_kept(never)}; {dense}")
    shares = [
        f"{name} {zeros[name]:,} of {n:,}"
        for name, n in totals.items()
        if zeros[name] > MANY_ZEROS * n
    ]
    return (
        [f"{case.model}: weights that are 0 at the start and stay pruned: {', '.join(shares)}"]
        if shares
        else []
    )


@contextmanager
def _unmoved_generators() -> Iterator[None]:
    """Put the global generators back that a builder or a forward pass may draw from."""
    python, numpy = random.getstate(), sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(of_numpy)
