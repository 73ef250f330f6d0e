"""Passes of a model in a trial: build, evaluate, train a step; InputError for any that fails."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.system.errors import InputError, first_line, user_code_error
from dstrun.training.loss import mean_loss

Autocast = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class Case:
    """Model, data and options that a trial is about.

    model, data: as they are given by, for messages: 'model=vgg16', 'data=cifar10'.
    shape: of an image, (channels, height, width), or of a sequence of bytes, (length,).
    single: the reason for batches of one image, '' if there are none.
    is_builtin: the model is one of ours, whose ValueErrors are sentences for the user.
    prunes: the run is a new one with thresholds, which never keep a 0.
    """

    model: str
    data: str
    shape: tuple[int, ...]
    classes: int
    single: str
    exclude: Sequence[str]
    autocast: Autocast
    is_builtin: bool
    prunes: bool

    @property
    def is_of_sequences(self) -> bool:
        """Whether the model predicts every byte of a sequence."""
        return len(self.shape) == 1

    def inputs(self) -> Tensor:
        """Return two images of noise, floats (2, C, H, W), or sequences, int64 (2, L)."""
        if self.is_of_sequences:
            return torch.randint(self.classes, (2, *self.shape))
        return torch.randn(2, *self.shape)

    def counted(self, inputs: Tensor) -> str:
        """Return '2 images' or '1 sequence'."""
        noun = "sequence" if self.is_of_sequences else "image"
        return f"{len(inputs)} {noun}{'s' * (len(inputs) > 1)}"


def build(case: Case, build_model: Callable[[], Any]) -> nn.Module:
    """Return the model that a builder returns; raise InputError if it fails or returns none."""
    try:
        model = build_model()
    except (Exception, SystemExit) as error:  # a user's own function may raise anything
        sentence = case.is_builtin and isinstance(error, ValueError) and first_line(error)
        raise InputError(f"{case.model}: {sentence or user_code_error(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{case.model}: its builder gives {type(model).__name__}, expected a torch.nn.Module"
        )
    return model


def evaluate(case: Case, model: nn.Module, images: Tensor, autocast: Autocast) -> Tensor:
    """Return the logits for inputs, without gradients; the model's mode is not set."""
    with torch.no_grad(), autocast():  # no inference_mode: a model may keep tensors for training
        return _logits(case, model, images, "in evaluation")


def train_step(case: Case, model: nn.Module, images: Tensor) -> None:
    """Compute loss and gradients for inputs with made-up labels."""
    with case.autocast():
        logits = _logits(case, model, images, "in training")
    labels = torch.arange(logits.shape[:-1].numel()) % case.classes
    loss, _ = mean_loss(logits.float(), labels.view(logits.shape[:-1]))
    if not loss.requires_grad:
        question = "is it under no_grad, or detached?"
        raise InputError(f"{case.model}: its output in training has no gradient: {question}")
    try:
        loss.backward()
    except Exception as error:
        problem = f"its backward pass fails: {user_code_error(error)}"
        raise InputError(f"{case.model}: {problem}") from error


def _logits(case: Case, model: nn.Module, images: Tensor, when: str) -> Tensor:
    """Return the model's output for inputs; raise InputError if it cannot be trained on."""
    count = case.counted(images)
    try:
        logits = model(images.clone())  # a model may change them in place
    except Exception as error:
        size = "×".join(map(str, images.shape[1:]))
        problem = f"cannot take {count} of {case.data}, {size}, {when}: {user_code_error(error)}"
        raise InputError(f"{case.model}: {problem}") from error
    expected = (*(images.shape if case.is_of_sequences else images.shape[:1]), case.classes)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != expected:
        raise InputError(f"{case.model}: gives {found} for {count} {when}, expected {expected}")
    if not logits.is_floating_point():
        problem = f"gives {logits.dtype} for {count} {when}, expected floating-point numbers"
        raise InputError(f"{case.model}: {problem}")
    return logits
