"""Callback of Lightning's Trainer.

on_train_start             begin, resumed with the state in the checkpoint
on_train_batch_start       before_step, at the first batch of a step
on_before_zero_grad        gradients of a new step
on_before_backward         penalty, before the first backward pass of a step
on_before_optimizer_step   gradients; Lightning clips them after that
on_train_batch_end         after_step, at the last batch of a step
on_train_epoch_end         a row of the record
"""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from dstrun.callbacks.adapter import Adapter, refuse, renamed
from dstrun.callbacks.record import Recording
from dstrun.callbacks.rows import FIGURES as COLUMNS
from dstrun.methods.base import Method

FIGURES = {column: column for column in COLUMNS}


class LightningCallback(Callback):
    """A sparse-training method in Lightning's Trainer, and the record of the run.

    method: prepared with the LightningModule, or a part of it, before `fit`. run: of
    `dstrun.record`. figures: {column of metrics.csv: name that the module logs}. Raises ValueError
    for what is not supported: manual optimisation, fp16 with its loss scaling, several devices.
    """

    def __init__(
        self, method: Method, run: Recording | None = None, figures: Mapping[str, str] = FIGURES
    ) -> None:
        self._adapter, self._names = Adapter(method, run), figures
        self._state: dict[str, Any] | None = None  # of a checkpoint
        self._done = 0  # steps
        self._told = self._begun = False  # of the step under way: before_step, gradients

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run, or resume it."""
        steps, devices = trainer.estimated_stepping_batches, trainer.world_size
        refuse(
            {
                "Lightning: got manual optimisation, expected automatic_optimization": (
                    not pl_module.automatic_optimization
                ),
                f"precision: got {trainer.precision}, with scaled gradients, expected bf16 or 32": (
                    str(trainer.precision).startswith("16")
                ),
                f"Lightning: got {devices} devices, expected one": devices > 1,
                "Lightning: got a run without an end, expected max_epochs or max_steps": (
                    not 0 < steps < math.inf
                ),
            }
        )
        self._done = trainer.global_step
        batches = trainer.num_training_batches
        self._adapter.begin(
            pl_module,
            trainer.optimizers[0],
            int(steps),
            math.ceil(batches / trainer.accumulate_grad_batches),
            self._state,
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Do what belongs in front of a step."""
        if not self._told:
            self._adapter.before_step(trainer.global_step)
            self._told = True

    def on_before_zero_grad(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Note that the gradients of a step begin."""
        self._begun = True

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Begin the gradients of a step with the penalty's."""
        if self._begun:
            self._adapter.add_penalty()
            self._begun = False

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Show the gradients to the method."""
        self._adapter.finish_gradients()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update masks after a step."""
        if trainer.global_step > self._done:
            self._done, self._told = trainer.global_step, False
            self._adapter.after_step()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a row with what the module has logged, and log the density of each layer."""
        figures = renamed(trainer.callback_metrics, self._names)
        figures.setdefault("lr", trainer.optimizers[0].param_groups[0]["lr"])
        epoch = trainer.current_epoch + 1
        for layer in self._adapter.write(epoch, trainer.global_step, figures):
            pl_module.log(f"density/{layer.layer}", layer.density)

    def state_dict(self) -> dict[str, Any]:
        """Return the method's state, for a checkpoint."""
        return self._adapter.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the method's state of a checkpoint, which `on_train_start` restores."""
        self._state = state_dict
