"""Callback of `transformers.Trainer`.

    on_train_begin          begin, resumed with the state in the checkpoint's dstrun.pt
    on_step_begin           before_step, penalty        gradients have just been cleared
    on_pre_optimizer_step   gradients                   Trainer has clipped them, see below
    on_optimizer_step       after_step
    on_epoch_end, on_log, on_evaluate                   a row of the record
    on_save                 dstrun.pt, the state of the method

Trainer clips gradients before a callback sees them. Where the method changes them, such as RigL's
of pruned weights, the callback sets `max_grad_norm` to 0 while it trains and clips them itself
after the method.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dstrun.callbacks.adapter import Adapter, refuse, renamed
from dstrun.callbacks.record import Recording
from dstrun.callbacks.rows import FIGURES as COLUMNS
from dstrun.methods.base import Method
from dstrun.system.files import atomic_write

STATE_FILE = "dstrun.pt"  # in a checkpoint's folder
OF_TEST = [column for column in COLUMNS if column.startswith("test_")]
FIGURES = {column: f"eval_{column.removeprefix('test_')}" for column in OF_TEST}


class HuggingFaceCallback(TrainerCallback):
    """A sparse-training method in `transformers.Trainer`, and the record of the run.

    method: prepared with the Trainer's model before the Trainer is made. run: of `dstrun.record`.
    figures: {column of metrics.csv: name in Trainer's metrics}. Raises ValueError for what is not
    supported: fp16 with its loss scaling, several processes or GPUs.
    """

    def __init__(
        self, method: Method, run: Recording | None = None, figures: Mapping[str, str] = FIGURES
    ) -> None:
        self._adapter, self._names = Adapter(method, run), figures
        self._figures: dict[str, Any] = {}
        self._row: tuple[float, int] | None = None  # epoch and step of a row to come
        self._saved_at = -1  # step of the last checkpoint
        self._clip = 0.0
        self._trains = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the run, or resume it."""
        processes, gpus = args.world_size, args.n_gpu
        refuse(
            {
                "fp16: gradients are scaled when a callback adds to them, expected bf16 or fp32": (
                    args.fp16
                ),
                f"Trainer: got {processes} processes and {gpus} GPUs, expected one": (
                    processes > 1 or gpus > 1
                ),
                "Trainer: deepspeed and FSDP split parameters, expected neither": bool(
                    args.deepspeed or args.fsdp
                ),
            }
        )
        model, optimiser = kwargs["model"], kwargs["optimizer"]
        batches = len(kwargs["train_dataloader"])
        self._adapter.begin(
            model,
            getattr(optimiser, "optimizer", optimiser),  # in accelerate's wrapper
            state.max_steps,
            math.ceil(batches / args.gradient_accumulation_steps),
            _load(args, state.global_step) if state.global_step else None,
        )
        self._trains = True
        if self._adapter.changes_gradients:
            self._clip, args.max_grad_norm = args.max_grad_norm, 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Do what belongs in front of a step, and begin its gradients with the penalty's."""
        self._write(args, state)
        self._adapter.before_step(state.global_step)
        self._adapter.add_penalty()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the gradients to the method, and clip them where Trainer has not."""
        self._adapter.finish_gradients(self._clip)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Update masks."""
        self._adapter.after_step()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note a row, which is written once this step's figures are there."""
        self._note_row(state)
        if not control.should_log and not control.should_evaluate:
            self._write(args, state)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take training loss and learning rate, and add the density to Trainer's log."""
        logs = kwargs["logs"]
        if "loss" in logs:
            self._figures |= renamed(logs, {"train_loss": "loss", "lr": "learning_rate"})
            logs["density"] = state.log_history[-1]["density"] = self._adapter.density()
        if not control.should_evaluate:
            self._write(args, state)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write a row with the figures of an evaluation while it trains."""
        if self._trains and state.global_step:
            self._figures |= renamed(kwargs["metrics"], self._names)
            self._note_row(state)
            self._write(args, state)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the method's state in the checkpoint."""
        self._write(args, state)
        self._saved_at = state.global_step
        self._save(args, self._saved_at)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the last row, and set `max_grad_norm` to what it was."""
        self._write(args, state)
        args.max_grad_norm = self._clip or args.max_grad_norm
        self._trains = False

    def _note_row(self, state: TrainerState) -> None:
        self._row = (state.epoch or 0.0, state.global_step)

    def _write(self, args: TrainingArguments, state: TrainerState) -> None:
        """Write the row that is noted, if any, and the density of each layer to Trainer's log.

        Figures of masks count from the row before, so a checkpoint of the same step gets the state
        after it.
        """
        if self._row is None:
            return
        (epoch, step), self._row = self._row, None
        densities = {}
        for layer in self._adapter.write(epoch, step, self._figures):
            densities[f"density/{layer.layer}"] = layer.density
        state.log_history.append({**densities, "epoch": epoch, "step": step})
        self._figures = {}
        if self._saved_at == step:
            self._save(args, step)

    def _save(self, args: TrainingArguments, step: int) -> None:
        with atomic_write(_file(args, step), "wb") as file:
            torch.save(self._adapter.state_dict(), file)


def _file(args: TrainingArguments, step: int) -> Path:
    return Path(args.output_dir or ".", f"checkpoint-{step}", STATE_FILE)


def _load(args: TrainingArguments, step: int) -> dict[str, Any]:
    """Return the method's state of a checkpoint. Raises RuntimeError where it has none."""
    file = _file(args, step)
    if not file.is_file():
        raise RuntimeError(
            f"{file}: there is no such file, which a checkpoint of a run with this callback has; "
            "resume in the output_dir of that run"
        )
    return torch.load(file, weights_only=True)
