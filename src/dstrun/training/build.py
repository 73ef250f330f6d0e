"""Objects of a run from its config: model, method, batches, optimiser, schedule, step.

build → initialise → sparsify → device → optimiser, in that order.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dstrun.config.options import Config
from dstrun.data import (
    AnyBatches,
    Batches,
    FileSplit,
    ImageReader,
    MixedBatches,
    StreamedBatches,
    TextBatches,
    TextSplit,
)
from dstrun.methods.base import Method
from dstrun.runs.identity import compiles
from dstrun.runs.method import make_method
from dstrun.system.machine import set_deterministic
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.evaluate import make_autocast
from dstrun.training.initial_weights import set_initial_weights
from dstrun.training.learning_rate import Rate, make_rate
from dstrun.training.optim import make_optimiser
from dstrun.training.prepare import Prepared
from dstrun.training.ranks import ALONE, Ranks
from dstrun.training.step import Update

# of pixels, or of logits of a text, in a batch of a held-out split: on a CPU it fills the cores and
# stays near the caches, on a GPU an evaluation takes no more memory than a step
EVALUATION_BYTES = {"cpu": 2**20, "cuda": 2**19}


def training_objects(config: Config, prepared: Prepared) -> tuple[nn.Module, Method]:
    """Return the model on the device, initialised from the seed or `init`, with its method."""
    set_deterministic(config.deterministic)
    if compiles(config):
        torch.compiler.reset()  # torch compiles a function for 8 models in a process, then no more
    torch.manual_seed(config.seed)
    model = prepared.build_model()
    method = make_method(config)
    method.prepare(model, past=prepared.trial.past)
    set_initial_weights(config, model)
    return model.to(prepared.device), method


def make_batches(
    config: Config, prepared: Prepared, ranks: Ranks = ALONE
) -> tuple[AnyBatches, dict[str, Callable]]:
    """Return training batches, and for each held-out split a function that yields its batches."""
    data, size = config.data, config.schedule.batch_size
    batches = _of_kind(config, prepared, ranks)
    is_text = isinstance(prepared.splits.train, TextSplit)
    changes = {} if is_text else {"pad": data.pad, "flip": data.flip}
    train = batches(prepared.splits.train, size, seed=config.seed, **changes)
    if mixup := config.schedule.mixup:
        train = MixedBatches(train, mixup, prepared.splits.classes, config.seed)
    bytes_of_one = prod(prepared.shape) * (prepared.splits.classes if is_text else 1)
    usual = EVALUATION_BYTES[prepared.device.type] // bytes_of_one
    size = max(size // config.schedule.accumulate, usual, 1)
    splits: dict[str, Callable] = {}
    if prepared.validation:
        splits["validation"] = batches(prepared.validation, size).in_order
    splits["test"] = batches(prepared.splits.test, size).in_order
    return train, splits


def _of_kind(config: Config, prepared: Prepared, ranks: Ranks) -> Callable[..., Any]:
    """Return what makes the batches of a split: of text, of files, or of images in memory."""
    options: dict[str, Any] = {"device": prepared.device, "part": (ranks.rank, ranks.size)}
    if isinstance(prepared.splits.train, TextSplit):
        return partial(TextBatches, **options)
    options |= {"mean": config.data.mean, "std": config.data.std}
    if isinstance(prepared.splits.train, FileSplit):
        pins = prepared.device.type == "cuda"
        reader = ImageReader(config.data.size, prepared.workers, pins, prepared.say)
        return partial(StreamedBatches, reader=reader, **options)
    return partial(Batches, on_host=prepared.on_host, **options)


def make_optimiser_for(config: Config, model: nn.Module, method: Method) -> Optimizer:
    """Return the optimiser that `schedule` asks for, over all parameters."""
    schedule = config.schedule
    return make_optimiser(
        schedule.optimiser,
        model,
        method.groups(),
        lr=schedule.base_lr,
        momentum=schedule.momentum,
        nesterov=schedule.nesterov,
        betas=schedule.betas,
        weight_decay=schedule.weight_decay,
        decay_norm_and_bias=schedule.decay_norm_and_bias,
    )


def make_rate_for(config: Config, steps_per_epoch: int) -> Rate:
    """Return the learning-rate schedule that `schedule` asks for."""
    schedule = config.schedule
    return make_rate(
        schedule.rate,
        lr=schedule.base_lr,
        epochs=schedule.epochs,
        steps_per_epoch=steps_per_epoch,
        milestones=schedule.milestones,
        gamma=schedule.gamma,
        warmup=schedule.warmup,
    )


def make_update(
    config: Config,
    model: nn.Module,
    method: Method,
    optimiser: Optimizer,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Update:
    """Return the training step that `schedule` asks for."""
    schedule = config.schedule
    options: dict[str, Any] = {
        "autocast": make_autocast(schedule.precision, device),
        "accumulate": schedule.accumulate,
        "clip": schedule.clip,
        "label_smoothing": schedule.label_smoothing,
        "ranks": ranks,
    }
    if schedule.compile == "step":
        return CompiledUpdate(model, method, optimiser, schedule.batch_size, **options)
    return Update(model, method, optimiser, **options)
