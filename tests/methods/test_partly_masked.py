"""Networks of which a part has no mask: every figure of a run, a report and an export equals a
count by hand."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from torch import Tensor, nn

from dstrun import models
from tests.helpers.commands import Command


def vit(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's, 16×16 pixels in four patches and a class token of 8 features."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=classes
    )


class Sequences(nn.Module):
    """The rows of an image, channels side by side, through `reader` to what `classifier` takes."""

    def __init__(
        self, reader: nn.Module, classifier: nn.Module, read: Callable[[nn.Module, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.reader, self.classifier, self.read = reader, classifier, read

    def forward(self, images: Tensor) -> Tensor:
        rows = images.transpose(1, 2).flatten(2)  # (B, 16, 3 · 16)
        return self.classifier(self.read(self.reader, rows))


def conv1d(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Sequences(
        nn.Conv1d(16, 4, 3), nn.Linear(4 * 46, classes), lambda layer, rows: layer(rows).flatten(1)
    )


def lstm(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Sequences(
        nn.LSTM(48, 6, batch_first=True),
        nn.Linear(6, classes),
        lambda layer, rows: layer(rows)[0][:, -1],
    )


class Count(NamedTuple):
    """By hand: weights with a mask and how often each is used, weights without, and their
    multiply-adds."""

    masked: dict[str, tuple[int, int]]
    dense_weights: int
    dense_work: int


MLP = "encoder.layers.encoder_layer_0.mlp"
COUNTS = {
    # five tokens; class token, positions, q k v, way out of attention, head; scores of attention
    # and their use
    vit: Count(
        {"conv_proj": (8 * 3 * 8 * 8, 4), f"{MLP}.0": (8 * 16, 5), f"{MLP}.3": (16 * 8, 5)},
        8 + 5 * 8 + 3 * 8 * 8 + 8 * 8 + 8 * 10,
        (3 * 8 * 8 + 8 * 8) * 5 + 8 * 10 + 2 * 5 * 5 * 8,
    ),
    conv1d: Count({"classifier": (4 * 46 * 10, 1)}, 4 * 16 * 3, 4 * 16 * 3 * 46),
    lstm: Count({"classifier": (6 * 10, 1)}, 4 * 6 * (48 + 6), 4 * 6 * (48 + 6) * 16),
}


@pytest.mark.parametrize("build", COUNTS)
def test_every_figure_equals_a_count_by_hand(
    command: Command, monkeypatch: pytest.MonkeyPatch, made_up_data: None, build: Callable
) -> None:
    name, count = build.__name__, COUNTS[build]
    monkeypatch.setitem(models.BUILDERS, name, build)
    words = [
        f"model.name={name}",
        f"model.builder={name}",
        "data=cifar10",
        "reg.alpha=0.05",
        "schedule.epochs=2",
    ]
    exclude = ["reg.exclude=[heads.head]"] if build is vit else []  # which begins with zeros
    ended = command(*words, *exclude, "data.pad=0", "schedule.lr=0.5", "schedule.batch_size=4")
    assert ended.code == 0, ended.err
    (run,) = Path("outputs/single").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    last = csv.DictReader((run / "layers.csv").read_text().splitlines())
    kept = {row["layer"]: int(row["kept"]) for row in last if row["epoch"] == "2"}
    total = sum(weights for weights, _ in count.masked.values())
    work = sum(weights * times for weights, times in count.masked.values()) + count.dense_work
    work_kept = (
        sum(kept[layer] * times for layer, (_, times) in count.masked.items()) + count.dense_work
    )

    assert kept.keys() == count.masked.keys()
    assert sum(kept.values()) < total
    assert summary["density"] == sum(kept.values()) / total
    assert summary["density_model"] == (sum(kept.values()) + count.dense_weights) / (
        total + count.dense_weights
    )
    assert (summary["weights"], summary["total"]) == (total + count.dense_weights, total)
    assert sum(dense["weights"] for dense in summary["left_dense"].values()) == count.dense_weights
    assert (summary["multiply_adds"], summary["multiply_adds_kept"]) == (work, work_kept)
    assert summary["flops_fraction"] == work_kept / work
    assert (
        f"{count.dense_weights:,} weights, {count.dense_weights / (total + count.dense_weights):.1%}"
        in ended.out
    )

    (row,) = csv.DictReader(io.StringIO(command("report", "outputs", "--csv").out))
    for column, key in {
        "density": "density",
        "density_model": "density_model",
        "flops": "flops_fraction",
    }.items():
        assert float(row[column]) == summary[key]
    assert (
        command("report", "outputs", "--markdown").out.splitlines()[0].count("whole model %") == 1
    )

    if build is not vit:
        return
    command("export", str(run), "--to", "net.safetensors")
    record = json.loads(Path("export.json").read_text())["net.safetensors"]
    assert record["multiply_adds_kept"] == work_kept
    assert record["layers"][-1] == {
        "layer": "left dense", "weights": count.dense_weights, "kept": count.dense_weights,
        "multiply_adds": count.dense_work, "multiply_adds_kept": count.dense_work,
    }  # fmt: skip
