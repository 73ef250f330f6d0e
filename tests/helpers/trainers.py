"""The network of own_runs in Hugging Face's Trainer and in Lightning's, batches in order.

Needs both packages: import it where `pytest.importorskip` has found them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from dstrun.callbacks import HuggingFaceCallback, LightningCallback
from dstrun.callbacks.record import Recording
from dstrun.methods.base import Method
from tests.helpers.own_runs import BATCH, STEPS, X, Y, momentum

Optimiser = Callable[..., torch.optim.Optimizer]


class WithLoss(nn.Module):
    """A network as Trainer takes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return loss and logits."""
        logits = self.network(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Module(lightning.LightningModule):
    """A network as Lightning takes it."""

    def __init__(self, network: nn.Module, optimiser: Optimiser) -> None:
        super().__init__()
        self.network, self.optimiser = network, optimiser

    def training_step(self, batch: list[Tensor]) -> Tensor:
        """Return the loss."""
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        """Log the loss."""
        self.log("test_loss", F.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.optimiser(self.parameters())


def by_hugging_face(
    method: Method,
    network: nn.Module,
    *,
    run: Recording | None = None,
    epochs: int = 3,
    pieces: int = 1,
    clip: float = 0.0,
    optimiser: Optimiser = momentum,
    folder: Path = Path("checkpoints"),
    stop: int = -1,
    resume: bool = False,
    **options: Any,
) -> transformers.Trainer:
    """Train a prepared network, and return the Trainer; `stop` at a step, `resume` from one."""
    model = WithLoss(network)
    made = optimiser(model.parameters())
    constant = torch.optim.lr_scheduler.LambdaLR(made, lambda step: 1.0)
    common: dict[str, Any] = {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": BATCH // pieces,
        "per_device_eval_batch_size": BATCH,
        "gradient_accumulation_steps": pieces,
        "max_grad_norm": clip,
        "save_strategy": "no",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    examples = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    callbacks: list[Any] = [HuggingFaceCallback(method, run)]
    callbacks += [_Stop(stop)] if stop > 0 else []
    trainer = _InOrder(
        model,
        transformers.TrainingArguments(str(folder), **common | options),
        train_dataset=examples,
        eval_dataset=examples,
        optimizers=(made, constant),
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


class _InOrder(transformers.Trainer):
    """Batches in the order of the data."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(X)


class _Stop(transformers.TrainerCallback):
    """Stops at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for both."""
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True
        return control


def by_lightning(
    method: Method,
    network: nn.Module,
    *,
    run: Recording | None = None,
    epochs: int = 3,
    pieces: int = 1,
    clip: float = 0.0,
    optimiser: Optimiser = momentum,
    stop: int = 0,
    resume: Path | None = None,
    **options: Any,
) -> lightning.Trainer:
    """Train a prepared network, and return the Trainer; `stop` after an epoch, `resume` a file."""
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accumulate_grad_batches=pieces,
        gradient_clip_val=clip or None,
        callbacks=[LightningCallback(method, run), *([_StopEpoch(stop)] if stop else [])],
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": STEPS,
        }
        | options,
    )
    data = TensorDataset(X, Y)
    batches = DataLoader(data, batch_size=BATCH // pieces)
    trainer.fit(Module(network, optimiser), batches, DataLoader(data, BATCH), ckpt_path=resume)
    return trainer


class _StopEpoch(lightning.pytorch.Callback):
    """Stops after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask for it."""
        trainer.should_stop = trainer.current_epoch + 1 == self.epoch
