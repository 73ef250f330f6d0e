"""The training loop: a generator of Records.

    a step:   batch → update of the weights → their average, if there is one
    an epoch: its steps, then the held-out splits, then one reading of what the device has summed up

The caller owns files, progress bar and W&B, and may save `progress` with model, optimiser and
method after any Record to resume from there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dstrun.methods.base import Method
from dstrun.methods.mask_stats import (
    LayerFigures,
    masked_density,
    model_density,
    weights_left_dense,
)
from dstrun.runs.rounds import Rounds
from dstrun.runs.tasks import CLASSES, Task
from dstrun.training.average import NO_AVERAGE, Average
from dstrun.training.evaluate import evaluate
from dstrun.training.step import Update

Images = Iterator[tuple[Tensor, Tensor]]


class TrainingBatches(Protocol):
    """Training data: `len` batches of images and labels an epoch, shuffled by its number.

    size: images of a batch on all ranks, of which `shuffled` yields this rank's.
    """

    def __len__(self) -> int: ...
    def size(self, batch: int) -> int: ...
    def shuffled(self, epoch: int, start: int = 0) -> Images: ...


@dataclass
class Progress:
    """Epochs and steps done, and batches, images and sums of the epoch under way.

    `waited`: seconds of its `seconds` in which the host waited for batches.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    images: int = 0
    loss_sum: Tensor | float = 0.0
    right: Tensor | int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the fields, for a checkpoint."""
        return asdict(self)

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Count a step by its mean loss and number right; the sums stay on the device."""
        if isinstance(self.loss_sum, Tensor):
            self.loss_sum = torch.add(self.loss_sum, loss, alpha=images)
        else:
            self.loss_sum = loss.double() * images
        self.right = self.right + right
        self.images += images
        self.step += 1
        self.batch += 1

    def next_epoch(self) -> None:
        """Count an epoch and clear what belonged to it."""
        self.epoch += 1
        self.batch = self.images = self.right = 0
        self.loss_sum = self.seconds = self.waited = 0.0


@dataclass(frozen=True)
class Record:
    """Figures at one step; shares in [0, 1], losses in nats, seconds of wall time.

    kind: "epoch" at an epoch's end, "step" every log_steps steps (layers only), "pause" where the
    caller asked for it.
    """

    kind: Literal["epoch", "step", "pause"]
    epoch: int
    step: int
    layers: list[LayerFigures] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)


def train(
    update: Update,
    batches: TrainingBatches,
    rate: Callable[[int], float],
    splits: dict[str, Callable[[], Images]],
    *,
    rounds: Rounds,
    progress: Progress,
    average: Average = NO_AVERAGE,
    task: Task = CLASSES,
    log_steps: int = 0,
    between_steps: Callable[[Progress], bool] = lambda progress: False,
) -> Iterator[Record]:
    """Train from `progress` to the end of all rounds; yield a Record at each epoch's end.

    `splits`: what to evaluate on then, by name, for the figures of `task`, under the update's
    autocast and with the `average` of the weights, which the model has in the end. `between_steps`
    is called after every step; where it returns True there is one more Record, and every
    `log_steps` steps too. Without epochs the model is evaluated once.
    """
    method = update.method
    if rounds.total == 0:
        yield _epoch_record(update, progress, splits, average, task, lr=rate(0))
    while progress.epoch < rounds.total:
        lap = time.perf_counter()
        epoch = _begin_epoch(update, average, rounds, progress)
        for images, labels in _timed(batches.shuffled(epoch, start=progress.batch), progress):
            method.before_step(progress.step)
            size = batches.size(progress.batch)
            loss, right = update(images, labels, rate(progress.step), of=size)
            average.update()
            progress.add(loss, right, size)
            is_asked, is_last = between_steps(progress), progress.batch >= len(batches)
            is_logged = log_steps > 0 and progress.step % log_steps == 0 and not is_last
            if is_asked or is_logged:
                # measure() waits for the device, so before the clock is read
                layers = _measure(method, average) if is_logged else []
                progress.seconds += time.perf_counter() - lap
                kind: Literal["step", "pause"] = "step" if is_logged else "pause"
                yield Record(kind, progress.epoch + 1, progress.step, layers)
                lap = time.perf_counter()
        figures = _training_figures(progress, lap, rate, task)
        progress.next_epoch()
        yield _epoch_record(update, progress, splits, average, task, **figures)
    average.keep()


def _begin_epoch(update: Update, average: Average, rounds: Rounds, progress: Progress) -> int:
    """Return the epoch under way, within its round; end the round before where one begins."""
    update.model.train()
    number, epoch = rounds.place(progress.epoch)
    if number and progress.batch == 0 and rounds.is_first(progress.epoch):
        update.method.end_round(number - 1)  # after the checkpoint of the epoch before
        average.restart()
    return epoch


def _measure(method: Method, average: Average) -> list[LayerFigures]:
    """Return the figures of all layers, with the average of the weights if there is one."""
    with average.in_model():
        return method.measure()


def _timed(batches: Images, progress: Progress) -> Images:
    """Yield the batches, and add the time until each is there to `progress.waited`."""
    while True:
        since = time.monotonic()
        batch = next(batches, None)
        progress.waited += time.monotonic() - since
        if batch is None:
            return
        yield batch


def _training_figures(
    progress: Progress, lap: float, rate: Callable[[int], float], task: Task
) -> dict[str, float | None]:
    """Return the figures of the epoch just trained; its first reading waits for the device."""
    loss_sum, right = float(progress.loss_sum), float(progress.right)
    seconds = progress.seconds + time.perf_counter() - lap
    return {
        "lr": rate(progress.step - 1),
        **task.in_training(loss_sum / progress.images, right / progress.images),
        "seconds": seconds,
        "images_per_second": progress.images / seconds,
        "data_wait": progress.waited / seconds,
    }


def _epoch_record(
    update: Update,
    progress: Progress,
    splits: dict[str, Callable[[], Images]],
    average: Average,
    task: Task,
    **figures: float | None,
) -> Record:
    lap = time.perf_counter()
    model, method = update.model, update.method
    layers = _measure(method, average)
    left_dense = sum(weights_left_dense(model, method.left_dense).values())
    figures["density"] = masked_density(layers)
    figures["density_model"] = model_density(layers, left_dense)
    figures |= method.metrics()
    with average.in_model():
        for name, split in splits.items():
            loss, right = evaluate(model, split(), update.autocast, update.ranks)
            figures |= task.held_out(name, loss, right)
    figures["seconds"] = (figures.get("seconds") or 0.0) + time.perf_counter() - lap
    return Record("epoch", progress.epoch, progress.step, layers, figures)
