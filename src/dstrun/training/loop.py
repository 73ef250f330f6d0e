"""The training loop: a generator of Records.

    a step:   batch → update of the weights
    an epoch: its steps, then the test split, then one reading of what the device has summed up

Order on the page is order in time. The caller owns files, progress bar and W&B, and may save
`progress` with model, optimiser and method after any Record to go on from there. Knows evaluation,
density and the Method protocol; no config."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dstrun.methods.dst.method import Method
from dstrun.methods.mask_stats import (
    LayerFigures,
    masked_density,
    model_density,
    weights_left_dense,
)
from dstrun.training.evaluate import Autocast, evaluate
from dstrun.training.step import Update


class TrainingBatches(Protocol):
    """What is trained on: `len` batches an epoch, of images and labels, in an order that the epoch
    decides."""

    def __len__(self) -> int: ...
    def shuffled(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]: ...


@dataclass
class Progress:
    """Where training stands: whole epochs and updates done, and of the epoch under way its batches
    and sums."""

    epoch: int = 0
    step: int = 0
    batch: int = 0
    images: int = 0
    loss_sum: Tensor | float = 0.0
    right: Tensor | int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Counts an update by its mean loss and number right; the sums stay on the device."""
        if isinstance(self.loss_sum, Tensor):
            self.loss_sum = torch.add(self.loss_sum, loss, alpha=images)
        else:
            self.loss_sum = loss.double() * images
        self.right = self.right + right
        self.images += images
        self.step += 1
        self.batch += 1

    def next_epoch(self) -> None:
        self.epoch += 1
        self.batch = self.images = self.right = 0
        self.loss_sum = self.seconds = 0.0


@dataclass(frozen=True)
class Record:
    """What there is to say at one moment; accuracies are in [0, 1], losses in nats, seconds of wall
    time.

    kind: "epoch" at an epoch's end, "step" every log_steps updates (layers only), "pause" where the
    caller asked."""

    kind: Literal["epoch", "step", "pause"]
    epoch: int
    step: int
    layers: list[LayerFigures] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)


def train(
    update: Update,
    batches: TrainingBatches,
    rate: Callable[[int], float],
    splits: dict[str, Callable[[], Iterator[tuple[Tensor, Tensor]]]],
    *,
    epochs: int,
    progress: Progress,
    log_steps: int = 0,
    between_steps: Callable[[Progress], bool] = lambda progress: False,
) -> Iterator[Record]:
    """Trains from `progress` to the end of `epochs`, yielding a Record at each epoch's end and
    where else asked.

    `splits` names what to evaluate on at an epoch's end ("test", "validation"), under the update's
    autocast; `between_steps` is called after every update and may ask for a Record by returning
    True. With epochs = 0 the model is evaluated once."""
    model, method, autocast = update.model, update.method, update.autocast
    if epochs == 0:
        yield _epoch_record(model, method, progress, splits, autocast, lr=rate(0))
    while progress.epoch < epochs:
        model.train()
        lap = time.perf_counter()
        for images, labels in batches.shuffled(progress.epoch, start=progress.batch):
            method.before_step(progress.step)
            loss, right = update(images, labels, rate(progress.step))
            progress.add(loss, right, len(images))
            asked = between_steps(progress)
            logged = (
                log_steps > 0 and progress.step % log_steps == 0 and progress.batch < len(batches)
            )
            if asked or logged:
                layers = (
                    method.measure() if logged else []
                )  # waits for the device, so before the clock is read
                progress.seconds += time.perf_counter() - lap
                yield Record(
                    "step" if logged else "pause", progress.epoch + 1, progress.step, layers
                )
                lap = time.perf_counter()
        figures = _training_figures(progress, lap, rate)
        progress.next_epoch()
        yield _epoch_record(model, method, progress, splits, autocast, **figures)


def _training_figures(
    progress: Progress, lap: float, rate: Callable[[int], float]
) -> dict[str, float | None]:
    """Of the epoch just trained; the first reading waits for the device, so the seconds are
    whole."""
    loss_sum, right = float(progress.loss_sum), float(progress.right)
    seconds = progress.seconds + time.perf_counter() - lap
    return {
        "lr": rate(progress.step - 1),
        "train_loss": loss_sum / progress.images,
        "train_accuracy": right / progress.images,
        "seconds": seconds,
        "images_per_second": progress.images / seconds,
    }


def _epoch_record(
    model: nn.Module,
    method: Method,
    progress: Progress,
    splits: dict[str, Callable[[], Iterator[tuple[Tensor, Tensor]]]],
    autocast: Autocast,
    **figures: float | None,
) -> Record:
    lap = time.perf_counter()
    layers = method.measure()
    left_dense = sum(weights_left_dense(model, method.left_dense).values())
    figures |= {
        "density": masked_density(layers),
        "density_model": model_density(layers, left_dense),
    }
    with torch.no_grad():
        figures |= {"penalty": float(method.penalty()), "alpha": float(method.alpha)}
    for name, split in splits.items():
        figures[f"{name}_loss"], figures[f"{name}_accuracy"] = evaluate(model, split(), autocast)
    figures["seconds"] = (figures.get("seconds") or 0.0) + time.perf_counter() - lap
    return Record("epoch", progress.epoch, progress.step, layers, figures)
