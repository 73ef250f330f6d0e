"""A training loop of one's own, recorded as a run: python examples/own_loop.py

Then `dstrun report outputs` shows it beside dstrun's own runs.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import dstrun

EPOCHS, BATCH, TRAIN = 20, 50, 1500
OUTPUTS = sys.argv[1] if len(sys.argv) > 1 else "outputs"

torch.manual_seed(0)
data = load_digits()
images, labels = torch.tensor(data.data).float() / 16, torch.tensor(data.target)
model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
method = dstrun.method("dst", alpha=0.001, target_density=0.1)
method.prepare(model, example=images[:2])  # before the optimiser is made
optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
steps_per_epoch = TRAIN // BATCH
method.begin(EPOCHS * steps_per_epoch, optimiser, steps_per_epoch)

settings = {
    "model": "mlp",
    "data": "digits",
    "seed": 0,
    "schedule.epochs": EPOCHS,
    "schedule.batch_size": BATCH,
    "schedule.lr": 0.2,
}
options = {"outputs": OUTPUTS, "example": images[:1], "overwrite": True}
with dstrun.record(model, method, settings, **options) as run:
    step = 0
    for epoch in range(1, EPOCHS + 1):
        loss_sum = 0.0
        for batch in torch.randperm(TRAIN).split(BATCH):
            method.before_step(step)
            optimiser.zero_grad()
            loss = cross_entropy(model(images[batch]), labels[batch])
            method.regularised(loss).backward()
            if method.on_gradients([p.grad for p in model.parameters() if p.requires_grad]):
                optimiser.step()  # not where RigL moves its masks
            method.after_step()
            loss_sum += loss.item() / steps_per_epoch
            step += 1
        with torch.no_grad():
            outputs = model(images[TRAIN:])
        run.log(
            epoch=epoch,
            step=step,
            lr=0.2,
            train_loss=loss_sum,
            test_loss=cross_entropy(outputs, labels[TRAIN:]),
            test_accuracy=(outputs.argmax(1) == labels[TRAIN:]).float().mean(),
        )
print(run.folder)
