"""DST in Hugging Face's Trainer, recorded as a run: python examples/huggingface_trainer.py

A vision transformer with random weights learns scikit-learn's digits. Then `dstrun report outputs`
shows the run beside dstrun's own. Needs pip install 'dstrun[huggingface]'.
"""

import sys
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import dstrun
from dstrun.callbacks import HuggingFaceCallback

EPOCHS, BATCH, TRAIN, LR = 8, 25, 1500, 2e-3
OUTPUTS = sys.argv[1] if len(sys.argv) > 1 else "outputs"

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.data).float().view(-1, 1, 8, 8) / 8 - 1
pairs = zip(images, digits.target.tolist(), strict=True)
examples = [{"pixel_values": image, "labels": label} for image, label in pairs]
config = ViTConfig(
    image_size=8,
    patch_size=2,
    num_channels=1,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=96,
    num_labels=10,
)
model = ViTForImageClassification(config)
method = dstrun.method("dst", alpha=1e-4, target_density=0.2)
method.prepare(model, example=images[:2])  # before the Trainer is made
settings = {
    "model": "vit_digits",
    "data": "digits",
    "seed": 0,
    "schedule.epochs": EPOCHS,
    "schedule.batch_size": BATCH,
    "schedule.optimiser": "adamw",
    "schedule.lr": LR,
}
options = {"loop": "transformers", "outputs": OUTPUTS, "example": images[:1], "overwrite": True}
with dstrun.record(model, method, settings, **options) as run, TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=LR,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=examples[:TRAIN],
        eval_dataset=examples[TRAIN:],
        compute_metrics=lambda got: {
            "accuracy": (got.predictions.argmax(1) == got.label_ids).mean()
        },
        callbacks=[HuggingFaceCallback(method, run)],
    )
    trainer.train()
print(run.folder)
