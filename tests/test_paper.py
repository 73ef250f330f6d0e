"""Training on real data: LeNet-300-100 on MNIST against the authors' code, others on CIFAR-10."""

import csv
import os
from pathlib import Path

import pytest

from tests.helpers.commands import Command
from tests.helpers.data import needs_cifar10, needs_mnist
from tests.helpers.runs import only_run, rows


@needs_mnist
@pytest.mark.slow
def test_lenet_300_100_follows_the_authors_code(command: Command) -> None:
    """Compare density and accuracy after one and two epochs with runs of the authors' code.

    The learning rate is constant, so two epochs are the first two of twenty.
    """
    assert command("model=lenet_300_100", "data=mnist", "seed=1", "schedule.epochs=2").code == 0
    first, second = rows(only_run() / "metrics.csv")
    assert float(first["density"]) == pytest.approx(0.68, abs=0.015)
    assert float(first["test_accuracy"]) == pytest.approx(0.935, abs=0.012)
    assert float(second["density"]) == pytest.approx(0.485, abs=0.015)
    assert float(second["test_accuracy"]) == pytest.approx(0.954, abs=0.012)


@pytest.mark.slow
@needs_cifar10
@pytest.mark.parametrize(("model", "layers"), [("vgg16", 15), ("wrn_16_8", 17)])
def test_one_epoch_of_cifar10_at_the_papers_settings(
    command: Command, model: str, layers: int
) -> None:
    words = [f"model={model}", "data=cifar10", "reg.alpha=1e-6", "schedule.epochs=1"]
    outcome = command(
        *words, "data.train_limit=1024", "data.test_limit=512", f"threads={os.cpu_count()}"
    )
    assert (outcome.code, outcome.complaints) == (0, "")
    with (only_run() / "layers.csv").open() as text:
        found = list(csv.DictReader(text))
    assert len(found) == layers
    assert all(0 < float(row["density"]) <= 1 for row in found)
    config = (Path(only_run()) / "config.yaml").read_text()
    assert "lr: 0.1" in config
    assert "flip: true" in config
