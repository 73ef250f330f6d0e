"""Trained network of a run: with its masks, without them, and its test data."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.export import load
from dstrun.methods.mask_stats import LayerFigures
from dstrun.runs import checkpoint
from dstrun.runs.data_record import refuse_other_classes
from dstrun.runs.folder import load_config
from dstrun.system.errors import InputError, first_line, mismatch
from dstrun.system.machine import set_threads
from dstrun.training.build import make_batches, training_objects
from dstrun.training.loss import correct, summed_loss
from dstrun.training.prepare import prepare

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trained:
    """A run's network on the CPU: `masked`, as trained, and `plain`, with W ⊙ M in place of W.

    `layers`: figures of the masked layers. `batches` returns the test images (B, C, H, W) with
    their labels (B,), or sequences of tokens (B, length) with those that follow.
    """

    folder: Path
    masked: nn.Module
    plain: nn.Module
    about: load.About
    layers: list[LayerFigures]
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    @property
    def example(self) -> Tensor:
        """Return one image, or sequence, of zeros."""
        return self.about.example()


def load_trained(folder: Path, changes: Sequence[str] = ()) -> Trained:
    """Return the network of a run with the weights of its newest checkpoint.

    `changes`: overrides of the run's config, such as data.root=PATH. Raise InputError for a run
    without a usable checkpoint, or whose checkpoint has the weights of another model.
    """
    config = replace(load_config(folder, changes), init=None, device="cpu")
    try:
        state = checkpoint.load_newest(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    config = replace(config, schedule=replace(config.schedule, compile="off", precision="fp32"))
    prepared = prepare(config, resumes=True)
    refuse_other_classes(folder, state.get("data") or state, prepared.data)
    set_threads(config.threads)
    masked, method = training_objects(config, prepared)
    try:
        masked.load_state_dict(state["model"])
        about = load.about_run(folder, load_config(folder), state | prepared.images)
        plain = load.restore_model(about, state["model"], method)
    except RuntimeError as error:
        raise InputError(
            f"{folder}: the checkpoint is of another model ({mismatch(error)})"
        ) from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    _, splits = make_batches(config, prepared)
    batches = partial(_of_whole_examples, splits["test"], about.shape)
    return Trained(folder, masked.eval(), plain, about, method.measure(), batches)


def _of_whole_examples(
    split: Callable[[], Iterable[tuple[Tensor, Tensor]]], shape: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches without the last sequence of a text, which a file need not take."""
    for inputs, labels in split():
        if tuple(inputs.shape[1:]) == tuple(shape):
            yield inputs, labels


@torch.inference_mode()
def compare_outputs(trained: Trained, exported: Network) -> dict[str, Any]:
    """Compare a network with the masked model on all test data.

    Return the number of images or sequences, the largest difference of an output (NaN where one
    is), the number of predictions that are another class, and the figures of `exported`.
    """
    task, largest, differs, examples = trained.about.task, torch.zeros(()), 0, 0
    totals, predictions = torch.zeros(2, dtype=torch.float64), 0  # loss and number right
    for batch, labels in trained.batches():
        expected, outputs = trained.masked(batch), exported(batch)
        largest = torch.maximum(largest, (expected - outputs).abs().max())  # keeps NaN
        differs += int((expected.argmax(-1) != outputs.argmax(-1)).sum())
        totals += torch.stack([summed_loss(outputs, labels).double(), correct(outputs, labels)])
        predictions += labels.numel()
        examples += len(labels)
    loss, right = (totals / predictions).tolist()
    return {
        task.examples: examples,
        "largest_difference": largest.item(),
        "top1_differs": differs,
        **{figure.name: figure.of(loss, right) for figure in task.figures},
    }
