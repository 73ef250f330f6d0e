"""RigL in Lightning's Trainer, recorded as a run: python examples/lightning_digits.py

A small convolutional network learns scikit-learn's digits. Then `dstrun report outputs` shows the
run beside dstrun's own. Needs pip install 'dstrun[lightning]'.
"""

import sys

import torch
from lightning import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import dstrun
from dstrun.callbacks import LightningCallback

EPOCHS, BATCH, TRAIN = 10, 50, 1500
OUTPUTS = sys.argv[1] if len(sys.argv) > 1 else "outputs"


class Digits(LightningModule):
    """A network and its losses, as without dstrun."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()]
        self.network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        outputs = self(batch[0])
        self.log("test_loss", cross_entropy(outputs, batch[1]))
        self.log("test_accuracy", (outputs.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.data).float().view(-1, 1, 8, 8) / 16
labels = torch.tensor(digits.target)
model = Digits()
method = dstrun.method("rigl", density=0.1, every=20)
method.prepare(model, example=images[:2])  # before fit, which makes the optimiser
settings = {
    "model": "conv_digits",
    "data": "digits",
    "seed": 0,
    "schedule.epochs": EPOCHS,
    "schedule.batch_size": BATCH,
    "schedule.lr": 0.05,
}
options = {"loop": "lightning", "outputs": OUTPUTS, "example": images[:1], "overwrite": True}
with dstrun.record(model, method, settings, **options) as run:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LightningCallback(method, run)],
    )
    training = TensorDataset(images[:TRAIN], labels[:TRAIN])
    test = TensorDataset(images[TRAIN:], labels[TRAIN:])
    trainer.fit(model, DataLoader(training, BATCH, shuffle=True), DataLoader(test, len(test)))
print(run.folder)
