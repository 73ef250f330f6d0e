"""Config → objects: device, data, model, method, optimiser; and every check that can be made before
they exist.

build → initialise → sparsify → device → optimiser, in that order, in `training_objects`. Knows
config and the rooms it builds from; besides `session` and `run` the only module that sees a config.
Writes nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from dstrun import models
from dstrun.config.options import STEADY, Config
from dstrun.config.registry import check_arguments, registered
from dstrun.data import Batches, Split, Splits
from dstrun.methods.dst.method import Dense, DynamicSparseTraining, Method
from dstrun.methods.masked_layers import sparsify
from dstrun.runs import checkpoint
from dstrun.system.errors import InputError
from dstrun.system.machine import choose_device, missing_for_compilation, set_deterministic
from dstrun.training.load_data import load_data
from dstrun.training.optim import Rate, make_optimiser, make_rate
from dstrun.training.step import CompiledUpdate, Update
from dstrun.training.trial import Case, Trial, try_model

EVALUATION_BYTES = (
    2**20
)  # of pixels in a batch of the test split: fills the cores, and stays near the caches
GPU_EVALUATION_BYTES = 2**23


@dataclass(frozen=True)
class Prepared:
    """What a run needs and can have on this machine: checked, and nothing of it trained yet."""

    device: torch.device
    splits: Splits
    validation: Split | None
    build_model: Callable[[], nn.Module]
    trial: Trial = Trial()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.splits.shape

    @property
    def images(self) -> dict[str, Any]:
        """What a model must know of them to be made again, and config.yaml does not say: part of
        every checkpoint."""
        return {"shape": list(self.shape), "classes": self.splits.classes, "data": self.data}

    @property
    def data(self) -> dict[str, Any]:
        """What a run is trained on, as status.json records it and a later session compares it."""
        names = {"class_names": list(self.splits.class_names)} if self.splits.class_names else {}
        return {
            "classes": self.splits.classes,
            **names,
            "shape": list(self.shape),
            "train": len(self.splits.train),
            "validation": len(self.validation or ()),
            "test": len(self.splits.test),
            **self.splits.origin,
        }


def prepare(config: Config, resumes: bool = False) -> Prepared:
    """Return device, data and a model that fits the data, or raise InputError for what cannot be
    had.

    `resumes` says that the weights will come from the run's own checkpoint: `init` and zeros are
    then of no account."""
    config = replace(config, init=None) if resumes else config
    try:
        device = choose_device(config.device)
    except ValueError as error:
        raise InputError(f"device: {error}") from error
    compilation = config.schedule.compile
    if compilation != "off" and (missing := missing_for_compilation(device)):
        raise InputError(
            f"schedule.compile: got {compilation!r}, which needs {missing}; schedule.compile=off does not"
        )
    splits, validation = load_data(config.data)
    builder = registered("model.builder", config.model.builder, models.BUILDERS, "dstrun.models")
    check_arguments(
        "model.args",
        config.model.builder,
        builder,
        splits.shape,
        splits.classes,
        **config.model.args,
    )
    build_model = partial(builder, splits.shape, splits.classes, **config.model.args)
    trial = _try_model(config, build_model, splits, resumes)
    return Prepared(device, splits, validation, build_model, trial)


def training_objects(config: Config, prepared: Prepared) -> tuple[nn.Module, Method]:
    """Return the model on the device, initialised from the seed (or from `init`), with its method's
    masks in it."""
    set_deterministic(config.deterministic)
    if config.schedule.compile != "off":
        torch.compiler.reset()  # torch compiles a function for eight models in a process, then no more
    torch.manual_seed(config.seed)
    model = prepared.build_model()
    method = make_method(config)
    method.prepare(model, past=prepared.trial.past)
    _give_weights(config, model)
    return model.to(prepared.device), method


def _give_weights(config: Config, model: nn.Module) -> None:
    """Load the weights of `init`, if any, and lay all weights out as the schedule asks."""
    if config.init:
        model.load_state_dict(_fitting(model, config.init), strict=False)
    if config.schedule.channels_last:
        model.to(memory_format=torch.channels_last)


def make_method(config: Config) -> Method:
    """What `reg` asks for."""
    reg = config.reg
    if reg.method == "dense":
        return Dense(reg.exclude)
    return DynamicSparseTraining(
        reg.alpha,
        reg.granularity,
        reg.floor,
        reg.exclude,
        config.schedule.compile,
        guard=reg.guard,
        target_density=reg.target_density,
        freeze=reg.freeze,
    )


def make_batches(config: Config, prepared: Prepared) -> tuple[Batches, dict[str, Callable]]:
    """Training batches, and for each split to evaluate on a function that goes through it in
    order."""
    data, size = config.data, config.schedule.batch_size
    on_device = partial(Batches, device=prepared.device, mean=data.mean, std=data.std)
    train = on_device(prepared.splits.train, size, pad=data.pad, flip=data.flip, seed=config.seed)
    pixels = GPU_EVALUATION_BYTES if prepared.device.type == "cuda" else EVALUATION_BYTES
    size = max(size, pixels // torch.Size(prepared.shape).numel())
    held_out = {"validation": prepared.validation, "test": prepared.splits.test}
    return train, {
        name: on_device(split, size).in_order for name, split in held_out.items() if split
    }


def make_optimiser_for(config: Config, model: nn.Module, method: Method) -> Optimizer:
    """What `schedule` asks for, over weights and thresholds."""
    schedule = config.schedule
    return make_optimiser(
        schedule.optimiser,
        model,
        method.thresholds(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.nesterov,
        betas=schedule.betas,
        weight_decay=schedule.weight_decay,
        threshold_decay=schedule.threshold_decay,
    )


def make_rate_for(config: Config, steps_per_epoch: int) -> Rate:
    """The course of the learning rate that `schedule` asks for."""
    schedule = config.schedule
    return make_rate(
        schedule.rate,
        lr=schedule.lr,
        epochs=schedule.epochs,
        steps_per_epoch=steps_per_epoch,
        milestones=schedule.milestones,
        gamma=schedule.gamma,
        warmup=schedule.warmup,
    )


def make_autocast(config: Config, device: torch.device) -> Callable[[], AbstractContextManager]:
    """The context the forward pass runs in."""
    if config.schedule.precision == "fp32":
        return nullcontext
    return partial(torch.autocast, device.type, torch.bfloat16)


def make_update(
    config: Config, model: nn.Module, method: Method, optimiser: Optimizer, device: torch.device
) -> Update:
    """The update of the weights that `schedule` asks for."""
    schedule = config.schedule
    threshold_clip = schedule.threshold_clip
    if not threshold_clip and config.reg.steered and _throws_thresholds(config, model):
        threshold_clip = STEADY
    options: dict[str, Any] = {
        "autocast": make_autocast(config, device),
        "accumulate": schedule.accumulate,
        "clip": schedule.clip,
        "threshold_clip": threshold_clip,
    }
    if schedule.compile == "step":
        return CompiledUpdate(model, method, optimiser, schedule.batch_size, **options)
    return Update(model, method, optimiser, **options)


def _throws_thresholds(config: Config, model: nn.Module) -> bool:
    """Whether a threshold's gradient can be many times its weights': a dead filter's, or the sum
    over a layer."""
    return config.reg.granularity == "layer" or any(
        isinstance(part, _BatchNorm) for part in model.modules()
    )


def _try_model(
    config: Config, build_model: partial[nn.Module], splits: Splits, resumes: bool
) -> Trial:
    """Return what evaluating the model and one step of it show; InputError where it cannot train.

    Its weights are those that the run begins with, its masks the trial's own, of threshold 0, for a
    dense run too."""
    reg, option = config.reg, f"model={config.model.name}"
    single = "schedule.batch_size: got 1" if config.schedule.batch_size == 1 else ""
    single = "data.train_limit: there is 1 image to train on" if len(splits.train) == 1 else single
    case = Case(
        option,
        f"data={config.data.name}",
        splits.shape,
        splits.classes,
        single,
        reg.exclude,
        autocast=make_autocast(config, torch.device("cpu")),
        is_builtin=build_model.func in models.BUILDERS.values(),
        prunes=reg.method != "dense" and not resumes,
    )

    def seeded() -> nn.Module:
        torch.manual_seed(config.seed)
        return build_model()

    def finish(model: nn.Module) -> None:
        try:
            sparsify(model, exclude=reg.exclude)
        except ValueError as error:
            raise InputError(f"{'reg.exclude' if reg.exclude else option}: {error}") from error
        _give_weights(config, model)

    return try_model(case, seeded, finish)


def _fitting(model: nn.Module, run: str) -> dict[str, Tensor]:
    """The weights of another run for this model; thresholds come along where both have them. Else
    InputError."""
    try:
        weights = checkpoint.load(Path(run) / checkpoint.NEWEST)["model"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"init: {error}") from error
    own = model.state_dict()
    for name in sorted({*weights, *own}):
        fits = name in weights and name in own and weights[name].shape == own[name].shape
        if not fits and ".mask." not in name:
            raise InputError(f"init: {name} of {run} does not fit this model")
    return {
        name: value
        for name, value in weights.items()
        if name in own and value.shape == own[name].shape
    }
