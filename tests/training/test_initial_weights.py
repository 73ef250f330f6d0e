"""Weights of another run, whose masks are those of other layers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun import models
from dstrun.config.options import Config
from dstrun.methods.masked_layers import masked_layers, plain
from dstrun.runs import checkpoint
from dstrun.training.prepare import prepare
from dstrun.training.run import run
from dstrun.training.trainer import Trainer
from tests.helpers.tiny import config, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")


class Attentive(nn.Module):
    """Attention over the rows of an image, and a module called `mask`."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(shape[2], 2, batch_first=True)
        self.mask = nn.Linear(shape[2], 4)
        self.last = nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Tensor:
        rows = images[:, 0]
        rows = rows + self.attention(rows, rows, rows, need_weights=False)[0]
        return self.last(self.mask(rows).mean(1))


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.BUILDERS, "attentive", Attentive)


def of(method: str, **options: Any) -> Config:
    return config(model__builder="attentive", reg__method=method, **options)


def trainer(method: str, **options: Any) -> Trainer:
    wanted = of(method, **options)
    return Trainer(wanted, prepare(wanted))


def test_parts_without_masks_there_keep_all_weights() -> None:
    first = run(of("static", reg__density=0.5, reg__exclude=["attention*"]), "first")
    state = checkpoint.load_newest(first)["model"]
    masks = [one for name, one in state.items() if name.endswith("keep")]
    kept = (144 + sum(int(one.sum()) for one in masks)) / (144 + 24 + 12)
    model = trainer("static", reg__density=kept, init=str(first)).model
    for name, layer in masked_layers(model).items():
        assert bool(layer.mask.keep.all()) == name.startswith("attention")
    for name, value in plain(model).state_dict().items():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize(
    ("method", "options"), [("dst", {"reg__alpha": 0.1}), ("str", {"reg__threshold_start": -2.0})]
)
def test_what_is_pruned_there_and_has_no_mask_here_stays_0(
    method: str, options: dict[str, float]
) -> None:
    first = run(of(method, **options), "first")
    begun = trainer(method, init=str(first), reg__exclude=["attention*"], **options)
    assert masked_layers(begun.model).keys() == {"mask", "last"}
    weight = begun.model.attention.in_proj_weight
    assert 0 < int((weight == 0).sum()) < weight.numel()
