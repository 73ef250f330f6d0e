"""Networks with weights that have no mask: figures of run, report and export, counted by hand."""

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
    """Return torchvision's for 16×16 pixels: four patches and a class token of 8 features."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=classes
    )


class Sequences(nn.Module):
    """A model that reads an image as the sequence of its rows, channels side by side."""

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
    """Figures of a network, counted by hand.

    masked: for each layer, weights with a mask and how often each is used. exclude: globs of what
    gets none. dense_weights, dense_work: weights without a mask, and multiply-adds of no mask.
    """

    masked: dict[str, tuple[int, int]]
    exclude: str
    dense_weights: int
    dense_work: int


BLOCK = "encoder.layers.encoder_layer_0"
ATTENTION = f"{BLOCK}.self_attention"
COUNTS = {
    # five tokens; without a mask: class token, positions, keys and the head, which is 0 at the
    # start; multiply-adds include attention scores and their use
    vit: Count(
        {
            "conv_proj": (8 * 3 * 8 * 8, 4),
            f"{ATTENTION}.in_proj_weight.q": (8 * 8, 5),
            f"{ATTENTION}.in_proj_weight.v": (8 * 8, 5),
            f"{ATTENTION}.out_proj": (8 * 8, 5),
            f"{BLOCK}.mlp.0": (8 * 16, 5),
            f"{BLOCK}.mlp.3": (16 * 8, 5),
        },
        "[heads.head,*.k]",
        8 + 5 * 8 + 8 * 8 + 8 * 10,
        8 * 8 * 5 + 8 * 10 + 2 * 5 * 5 * 8,
    ),
    conv1d: Count({"reader": (4 * 16 * 3, 46)}, "[classifier]", 4 * 46 * 10, 4 * 46 * 10),
    lstm: Count(
        {f"reader.weight_ih_l0.{gate}": (6 * 48, 16) for gate in "ifgo"} | {"classifier": (60, 1)},
        "[reader.weight_hh*]",
        4 * 6 * 6,
        4 * 6 * 6 * 16,
    ),
}


@pytest.mark.parametrize("build", COUNTS)
@pytest.mark.slow
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
    words.append(f"reg.exclude={count.exclude}")
    ended = command(*words, "data.pad=0", "schedule.lr=0.5", "schedule.batch_size=4")
    assert ended.code == 0, ended.err
    (run,) = Path("outputs/single").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    last = csv.DictReader((run / "layers.csv").read_text().splitlines())
    kept = {row["layer"]: int(row["kept"]) for row in last if row["epoch"] == "2"}
    total = sum(weights for weights, _ in count.masked.values())
    work = work_kept = count.dense_work
    for layer, (weights, times) in count.masked.items():
        work += weights * times
        work_kept += kept[layer] * times
    dense, whole = count.dense_weights, total + count.dense_weights

    assert kept.keys() == count.masked.keys()
    assert sum(kept.values()) < total
    assert summary["density"] == sum(kept.values()) / total
    assert summary["density_model"] == (sum(kept.values()) + dense) / whole
    assert (summary["weights"], summary["total"]) == (whole, total)
    assert sum(layer["weights"] for layer in summary["left_dense"].values()) == dense
    assert (summary["multiply_adds"], summary["multiply_adds_kept"]) == (work, work_kept)
    assert summary["flops_fraction"] == work_kept / work
    assert f"{dense:,} weights, {dense / whole:.1%}" in ended.out

    (row,) = csv.DictReader(io.StringIO(command("report", "outputs", "--csv").out))
    assert float(row["density"]) == summary["density"]
    assert float(row["density_model"]) == summary["density_model"]
    assert float(row["flops"]) == summary["flops_fraction"]
    header = command("report", "outputs", "--markdown").out.splitlines()[0]
    assert header.count("whole model %") == 1

    if build is not vit:
        return
    command("export", str(run), "--to", "net.safetensors")
    record = json.loads(Path("export.json").read_text())["net.safetensors"]
    assert record["multiply_adds_kept"] == work_kept
    assert record["layers"][-1] == {
        "layer": "left dense",
        "weights": dense,
        "kept": dense,
        "multiply_adds": count.dense_work,
        "multiply_adds_kept": count.dense_work,
    }
