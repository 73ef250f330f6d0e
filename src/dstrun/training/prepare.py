"""What a run needs, checked before anything is trained or written: device, data and model."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.config.compose import refuse_other_loop
from dstrun.config.options import Config
from dstrun.config.registry import check_arguments, lookup
from dstrun.config.sections import DataConfig
from dstrun.data import AnySplit, FileSplit, Splits, TextSplit
from dstrun.data.image_files import decoder
from dstrun.data.image_reader import missing_memory
from dstrun.methods.layer_selection import maskable
from dstrun.methods.layer_weights import LayerWeight
from dstrun.methods.masked_layers import sparsify
from dstrun.runs.identity import compiles
from dstrun.runs.method import make_method
from dstrun.runs.tasks import TASKS, Task
from dstrun.system.cores import own_cores
from dstrun.system.errors import InputError, print_note
from dstrun.system.gpu import has_bf16
from dstrun.system.machine import choose_device, missing_for_compilation
from dstrun.training.device_notes import gpu_words, note_on_device, note_on_memory
from dstrun.training.evaluate import make_autocast
from dstrun.training.initial_weights import WITH_THRESHOLDS, set_initial_weights
from dstrun.training.load_data import load_data
from dstrun.training.model_trial import Trial, try_model
from dstrun.training.model_trial_passes import Case
from dstrun.training.selection_notes import selection_notes
from dstrun.training.task_check import check_task, data_option


@dataclass(frozen=True)
class Prepared:
    """Device, data and the model's builder; nothing is trained yet.

    on_host: whether the images stay on the host, for lack of memory on the GPU. workers: processes
    that read the images of a stream; say: what is told of those that cannot be decoded. gpu: its
    memory and number format, in words, or (). notes: what a user may not expect of the device.
    """

    device: torch.device
    splits: Splits
    validation: AnySplit | None
    build_model: Callable[[], nn.Module]
    trial: Trial = Trial()
    on_host: bool = False
    workers: int = 0
    say: Callable[[str], None] = print_note
    gpu: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image, (channels, height, width), or of a sequence of bytes, (length,)."""
        return self.splits.shape

    @property
    def task(self) -> Task:
        """What is learned, and the figures it is judged by."""
        return TASKS[self.splits.task]

    @property
    def example(self) -> Tensor:
        """A batch of one on the device, all 0: floats (1, C, H, W), or int64 (1, L) of a text."""
        dtype = torch.int64 if isinstance(self.splits.train, TextSplit) else None
        return torch.zeros(1, *self.shape, dtype=dtype, device=self.device)

    @property
    def decoder(self) -> str:
        """Package that decodes the images of a stream, with its version; '' without a stream."""
        return decoder() if isinstance(self.splits.train, FileSplit) else ""

    @property
    def images(self) -> dict[str, Any]:
        """What rebuilding the model takes beyond config.yaml: part of every checkpoint."""
        return {"shape": list(self.shape), "classes": self.splits.classes, "data": self.data}

    @property
    def data(self) -> dict[str, Any]:
        """The record of the data in status.json, which a later start compares."""
        record: dict[str, Any] = {"classes": self.splits.classes}
        if self.splits.class_names:
            record["class_names"] = list(self.splits.class_names)
        return record | {
            "shape": list(self.shape),
            "train": len(self.splits.train),
            "validation": len(self.validation or ()),
            "test": len(self.splits.test),
            **self.splits.origin,
        }


def prepare(config: Config, resumes: bool = False) -> Prepared:
    """Return device, data and a model that fits the data, or raise InputError.

    With `resumes` the weights will come from the run's own checkpoint: `init`, and weights that are
    0 at the start, are then not looked at.
    """
    refuse_other_loop(config.loop)
    config = replace(config, init=None) if resumes else config
    try:
        device = choose_device(config.device)
    except ValueError as error:
        raise InputError(f"device: {error}") from error
    _check_schedule(config, device)
    splits, validation = load_data(config.data)
    check_task(config, splits)
    name, arguments = config.model.builder, config.model.args
    builder = lookup("model.builder", name, models.BUILDERS, "dstrun.models", models.PACKAGES)
    check_arguments("model.args", name, builder, splits.shape, splits.classes, **arguments)
    build_model = partial(builder, splits.shape, splits.classes, **arguments)
    trial = _try_model(config, build_model, splits, resumes)
    short = note_on_memory(
        device, [splits.train, splits.test, *([validation] if validation else [])]
    )
    return Prepared(
        device,
        splits,
        validation,
        build_model,
        trial,
        on_host=bool(short),
        workers=_workers(config.data) if isinstance(splits.train, FileSplit) else 0,
        gpu=gpu_words(config.schedule, device),
        notes=tuple(filter(None, (note_on_device(config.device), short))),
    )


def check_method(config: Config, layers: Mapping[str, LayerWeight]) -> None:
    """Raise InputError where the options of `reg` do not fit the layers that are to have masks."""
    try:
        make_method(config).check(layers)
    except ValueError as error:
        raise InputError(f"reg.{error}") from error


def check_alike(config: Config, *others: Config) -> None:
    """Raise InputError for a config that cannot train, of several that differ in `reg` alone."""
    prepared = prepare(config)
    if others:
        model = prepared.build_model()
        reg, past = config.reg, prepared.trial.past
        layers = maskable(model, reg.exclude, past, reg.include, reg.tied).layers
        for other in others:
            check_method(other, layers)


def rehearse(config: Config, *others: Config) -> list[str]:
    """Return notes for a dry run; raise InputError for what would be refused on every device.

    `others` differ from the config in `reg` alone. Nothing is downloaded: without the data only a
    note says that network and method are not checked.
    """
    schedule = replace(config.schedule, compile="off", sync_bn=False)
    data = replace(config.data, download=False)
    try:
        check_alike(replace(config, device="cpu", schedule=schedule, data=data), *others)
    except InputError as error:
        if not str(error).startswith(("data.root:", "data=")):
            raise
        return [f"network and method are not checked: {error}"]
    return []


def _check_schedule(config: Config, device: torch.device) -> None:
    """Raise InputError for what the device cannot do: compile, synchronise, a precision."""
    schedule = config.schedule
    if compiles(config):
        if missing := missing_for_compilation(device):
            raise InputError(
                f"schedule.compile: got {schedule.compile!r}, which needs {missing}; "
                "schedule.compile=off does not"
            )
        # torch 2.11 advises TF32 in matrix products when it compiles: other figures than without
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    if schedule.sync_bn and device.type != "cuda":
        raise InputError(f"schedule.sync_bn: got true, which needs GPUs, and device is {device}")
    if schedule.precision == "bf16" and device.type == "cuda" and not has_bf16():
        name = torch.cuda.get_device_name(device)
        raise InputError(
            f"schedule.precision: got 'bf16', in which {device}, {name}, cannot compute; "
            "expected fp32"
        )


def _workers(data: DataConfig) -> int:
    """Return the number of processes that read images; InputError where memory for them lacks."""
    workers = own_cores() if data.workers < 0 else data.workers
    if workers and (lack := missing_memory(workers, data.size)):
        raise InputError(f"data.workers: {workers} need {lack}; data.workers=0 reads without")
    return workers


def _try_model(
    config: Config, build_model: partial[nn.Module], splits: Splits, resumes: bool
) -> Trial:
    """Return what evaluating the model and one step of it show; InputError where it cannot train.

    Its weights are those that the run starts with, its masks the trial's own, of threshold 0, for a
    dense run too.
    """
    reg, option = config.reg, f"model={config.model.name}"
    single = "schedule.batch_size: got 1" if config.schedule.batch_size == 1 else ""
    if len(splits.train) == 1:
        examples = TASKS[splits.task].examples.removesuffix("s")
        single = f"data.train_limit: there is 1 {examples} to train on"
    case = Case(
        option,
        data_option(config),
        splits.shape,
        splits.classes,
        single,
        reg.exclude,
        autocast=make_autocast(config.schedule.precision, torch.device("cpu")),
        is_builtin=models.is_ours(build_model.func),
        prunes=reg.method in WITH_THRESHOLDS and not resumes,
    )

    def build_seeded() -> nn.Module:
        torch.manual_seed(config.seed)
        return build_model()

    notes: dict[str, None] = {}  # as a set in order

    def finish(model: nn.Module) -> None:
        try:
            notes.update(dict.fromkeys(selection_notes(model, reg)))
            selection = sparsify(model, exclude=reg.exclude, include=reg.include, tied=reg.tied)
        except ValueError as error:
            if str(error).startswith("include:"):
                raise InputError(f"reg.{error}") from error
            raise InputError(f"{'reg.exclude' if reg.exclude else option}: {error}") from error
        check_method(config, selection.layers)
        set_initial_weights(config, model)

    trial = try_model(case, build_seeded, finish)
    return replace(trial, notes=(*notes, *trial.notes))
