"""Trial of a model before training: evaluation, a training step, and its state saved and loaded.

    evaluation   of two images and of one: a logit for each class, whatever the masks keep
    training     forward pass, loss, backward pass: gradients reach the weights through the masks
    state        torch.save → torch.load(weights_only=True) → a second instance of the model

It runs on the CPU before anything of the run is written, and leaves random generators as they are.
A model that cannot be trained raises an InputError of one line.
"""

import io
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.layer_weights import LayerWeight
from dstrun.methods.loop_check import never_kept
from dstrun.methods.masked_layers import masked_layers
from dstrun.methods.weight_reads import Reading, read_in_evaluation, read_in_training
from dstrun.system.errors import InputError, printable, user_code_error
from dstrun.training.model_trial_passes import Case, build, evaluate, train_step

MANY_ZEROS = 0.001  # share of a layer's weights; an initialiser may draw a 0 or two

Layers = Mapping[str, LayerWeight]


@dataclass(frozen=True)
class Trial:
    """Result of a trial.

    past: names of layers whose weight is read past the layer, so that they get no mask.
    notes: lines for the user.
    """

    past: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def try_model(
    case: Case, build_model: Callable[[], Any], finish: Callable[[nn.Module], None]
) -> Trial:
    """Try the model that a run starts with, or raise InputError if it cannot be trained.

    build_model: makes the model anew at each call.
    finish: gives a model the masks and weights of the start.
    """

    def new() -> nn.Module:
        model = build(case, build_model)
        finish(model)
        return model

    with _unmoved_generators():
        model = new()
        layers = masked_layers(model)
        zeros = {name: int((layer.weight == 0).sum()) for name, layer in layers.items()}
        images = case.inputs()
        past = set(_try_evaluation(case, model, layers, images))
        _check_copies(case, model, new, images[:1])
        reading = _try_training(case, model, layers, images)
        past.update(reading.past)
        _check_state(case, model, build_model, finish)
    masked = {name: layer for name, layer in layers.items() if name not in past}
    if layers and not masked:
        problem = "the weight of every layer is read past the layer, so masks would have no effect"
        raise InputError(f"{case.model}: {problem}")
    notes = _training_notes(case, masked, reading)
    if case.prunes:
        notes += _zero_notes(case, masked, zeros)
    return Trial(tuple(name for name in layers if name in past), tuple(notes))


def _try_evaluation(case: Case, model: nn.Module, layers: Layers, images: Tensor) -> list[str]:
    """Return the layers whose weight is read past the mask in evaluation, or copied by eval()."""
    try:
        return read_in_evaluation(
            model, layers, lambda: evaluate(case, model, images, case.autocast)
        )
    except InputError:
        raise
    except Exception as error:
        problem = "its eval() or train() fails, tried with weights that are NaN"
        raise InputError(f"{case.model}: {problem}: {user_code_error(error)}") from error


def _check_copies(
    case: Case, model: nn.Module, new: Callable[[], nn.Module], image: Tensor
) -> None:
    """Raise InputError if a model that was tried with NaN in its weights still uses a copy of them.

    It evaluates one image, as the last batch of a test may be, without autocast; of a text one
    sequence that is shorter than others. NaN that a new model gives as well are no copy.
    """
    model.eval()
    if case.is_of_sequences:
        image = image[:, : (image.shape[1] + 1) // 2]
    if not evaluate(case, model, image, nullcontext).isnan().any():
        return
    second = new()
    second.eval()
    if not evaluate(case, second, image, nullcontext).isnan().any():
        problem = "its evaluation uses weights without their mask (a copy made for evaluation?)"
        raise InputError(f"{case.model}: {problem}")


def _try_training(case: Case, model: nn.Module, layers: Layers, images: Tensor) -> Reading:
    """Return how a training step reads the weights.

    The step is on two images; if there will be batches of one, a second step is on one.
    """
    model.train()
    reading = read_in_training(layers, lambda: train_step(case, model, images))
    if case.single:
        try:
            train_step(case, model, images[:1])
        except InputError as error:
            why = f": {user_code_error(error.__cause__)}" if error.__cause__ else ""
            one = case.counted(images[:1]).replace("1", "one")
            raise InputError(
                f"{case.single}, and {case.model} cannot train on {one}{why}"
            ) from error
    return reading


def _check_state(
    case: Case,
    model: nn.Module,
    build_model: Callable[[], Any],
    finish: Callable[[nn.Module], None],
) -> None:
    """Save the state of a model after a training step and load it into another one."""
    state = _save_and_load(case, model)
    second = build(case, build_model)
    if _ids_of_tensors(model) & _ids_of_tensors(second):
        problem = "its builder gives the same weights again, expected new ones at every call"
        raise InputError(f"{case.model}: {problem}")
    finish(second)
    try:
        second.load_state_dict(state)
    except Exception as error:
        problem = "does not fit the same model built anew, so that no run could be resumed"
        raise InputError(
            f"{case.model}: its state_dict() after a step {problem} ({_error_words(error)})"
        ) from error


def _save_and_load(case: Case, model: nn.Module) -> dict[str, Any]:
    """Return a model's state as torch writes it to a file and reads it, weights_only."""
    file = io.BytesIO()
    try:
        torch.save(model.state_dict(), file)
        file.seek(0)
        return torch.load(file, weights_only=True)
    except Exception as error:
        advice = "a checkpoint takes tensors, numbers, text, and lists and dictionaries of them"
        problem = f"its state_dict() cannot be saved and read back ({_error_words(error)})"
        raise InputError(f"{case.model}: {problem}: {advice}") from error


def _ids_of_tensors(model: nn.Module) -> set[int]:
    return {id(tensor) for tensor in (*model.parameters(), *model.buffers())}


def _error_words(error: BaseException) -> str:
    """Return at most 200 characters of an error: of torch's page of advice the line that counts."""
    text = str(error)
    for line in text.splitlines():
        if "Unsupported" in line:
            text = line
            break
    words = " ".join(text.split())
    return printable(words if len(words) < 200 else words[:200] + " …")


def _training_notes(case: Case, masked: Layers, reading: Reading) -> list[str]:
    """Return notes on layers that the data cannot train."""
    notes = []
    for words, names in (("not used", reading.unused), ("no gradient", reading.detached)):
        if found := [name for name in names if name in masked]:
            mask = "; the penalty alone decides what is pruned there" if case.prunes else ""
            notes.append(f"{case.model}: {words} in training: {', '.join(found)}{mask}")
    return notes


def _zero_notes(case: Case, masked: Layers, zeros: Mapping[str, int]) -> list[str]:
    """Return a note on weights that are 0 at the start; raise InputError for layers of them alone.

    |0| > t is false at t = 0, and neither of a weight's two gradients changes a 0.
    """
    never, shares = [], []
    for name, layer in masked.items():
        total = layer.weight.numel()
        if zeros[name] == total:
            never.append(name)
        elif zeros[name] > MANY_ZEROS * total:
            shares.append(f"{name} {zeros[name]:,} of {total:,}")
    if never:
        exclude, them = ",".join([*case.exclude, *never]), "them" if len(never) > 1 else "it"
        raise InputError(
            f"{case.model}: {never_kept(never)}; reg.exclude=[{exclude}] leaves {them} dense"
        )
    if not shares:
        return []
    return [f"{case.model}: weights that are 0 at the start and stay pruned: {', '.join(shares)}"]


@contextmanager
def _unmoved_generators() -> Iterator[None]:
    """Restore the global random generators, from which a builder or a forward pass may draw."""
    python, numpy = random.getstate(), sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(of_numpy)
