"""Learning rates against torch's own schedulers, and what weight decay reaches."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from dstrun.config.check import check
from dstrun.methods.base import Group, Method
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.training.build import make_optimiser_for
from dstrun.training.compiled_step import CompiledUpdate, TracedSGD
from dstrun.training.learning_rate import make_rate
from dstrun.training.optim import make_optimiser
from dstrun.training.step import Update

STEPS = 7
EPOCHS = 10


def follow(make: type[LRScheduler], per_epoch: bool, **options: object) -> list[float]:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimiser, **options)
    rates = []
    for step in range(EPOCHS * STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if not per_epoch or step % STEPS == STEPS - 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scheduler.step()
    return rates


def ours(name: str, **options: object) -> list[float]:
    rate = make_rate(name, lr=0.1, epochs=EPOCHS, steps_per_epoch=STEPS, **options)
    return [rate(step) for step in range(EPOCHS * STEPS)]


def test_multistep_is_torchs() -> None:
    assert ours("multistep", milestones=[4, 6]) == pytest.approx(
        follow(MultiStepLR, True, milestones=[4, 6])
    )


def test_cosine_is_torchs() -> None:
    assert ours("cosine") == pytest.approx(follow(CosineAnnealingLR, False, T_max=EPOCHS * STEPS))


def test_onecycle_is_torchs() -> None:
    theirs = follow(OneCycleLR, False, max_lr=0.1, total_steps=EPOCHS * STEPS, cycle_momentum=False)
    assert ours("onecycle") == pytest.approx(theirs)


def test_constant_is_constant() -> None:
    assert set(ours("constant")) == {0.1}


def test_warmup_rises_in_equal_steps_to_where_the_course_begins() -> None:
    rates = ours("cosine", warmup=2)
    assert rates[:14] == pytest.approx([0.1 * (step + 1) / 14 for step in range(14)])
    assert rates[14] == pytest.approx(0.1)
    assert rates[-1] < 1e-3


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("name", ["constant", "multistep", "cosine", "onecycle"])
def test_the_shortest_runs_have_a_rate(name: str, epochs: int) -> None:
    assert 0 < make_rate(name, lr=0.1, epochs=epochs, steps_per_epoch=1)(0) <= 0.1


def test_the_only_update_of_a_one_cycle_is_its_last() -> None:
    assert make_rate("onecycle", lr=0.1, epochs=1, steps_per_epoch=1)(0) == pytest.approx(
        0.1 / 25e4
    )


def sparse_pair(decay: float = 1.0) -> tuple[nn.Linear, DynamicSparseTraining]:
    model, method = nn.Linear(3, 2), DynamicSparseTraining(1e-3, threshold_decay=decay)
    method.prepare(model)
    return model, method


@pytest.mark.parametrize(("share", "left"), [(1.0, 0.95), (0.0, 1.0), (0.5, 0.975)])
def test_thresholds_get_their_share_of_the_weight_decay(share: float, left: float) -> None:
    model, method = sparse_pair(share)
    sgd = make_optimiser("sgd", model, method.groups(), lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    sgd.step()
    (threshold,) = method.added_parameters()
    assert model.weight.unique().item() == pytest.approx(0.95)
    assert threshold.unique().item() == pytest.approx(left)


@pytest.mark.parametrize("granularity", ["neuron", "layer"])
def test_norm_and_biases_need_not_decay_while_thresholds_do(granularity: str) -> None:
    """All are 1 and the gradients are the decay, 0.5: by a rate of 0.1 to 1 − 0.1 · 0.5."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    method = DynamicSparseTraining(1e-3, granularity)
    method.prepare(model)
    schedule = {"lr": 0.1, "weight_decay": 0.5, "decay_norm_and_bias": False}
    config = check({f"schedule.{name}": value for name, value in schedule.items()})
    sgd = make_optimiser_for(config, model, method)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    sgd.step()
    (threshold,) = method.added_parameters()
    decayed = [model[0].weight, threshold]
    assert [one.unique().item() for one in decayed] == pytest.approx([0.95, 0.95])
    assert all(one.eq(1).all() for one in (model[0].bias, model[1].weight, model[1].bias))


def test_every_parameter_is_in_one_group() -> None:
    model, method = sparse_pair()
    for name, kind in (
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
    ):
        optimiser = make_optimiser(name, model, method.groups(), lr=0.1)
        assert type(optimiser) is kind
        assert optimiser.defaults["fused"]
        assert sum(len(group["params"]) for group in optimiser.param_groups) == 3


@pytest.mark.parametrize("options", [
    {"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "weight_decay": 0.1, "decay": 0.0},
])  # fmt: skip
def test_the_step_that_can_be_compiled_is_torchs(options: dict[str, Any]) -> None:
    """Before and after a step of torch's own, by a rate that changes; a parameter without a
    gradient stays.
    """
    moved, decay = [], options.pop("decay", 1.0)
    for traced in (False, True):
        torch.manual_seed(0)
        model, method = sparse_pair(decay)
        model.spare = nn.Parameter(torch.ones(2))
        parameters = list(model.parameters())
        sgd = make_optimiser("sgd", model, method.groups(), lr=0.1, **options)
        ours = TracedSGD(sgd, parameters) if traced else None
        for lr in (0.1, 0.2):
            for parameter in parameters:
                parameter.grad = None if parameter is model.spare else torch.randn_like(parameter)
            if ours is not None:
                ours([parameter.grad for parameter in parameters], torch.tensor(lr), ours.momenta)
            else:
                for group in sgd.param_groups:
                    group["lr"] = lr
                sgd.step()
        moved.append([parameter.detach() for parameter in parameters])
    for parameter, other in zip(*moved, strict=True):
        torch.testing.assert_close(other, parameter)


class Sum(nn.Module):
    """Two weights, each times the images; the gradient of both is 0 where those are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.slow = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.weight + images * self.slow


@pytest.mark.parametrize("kind", [Update, CompiledUpdate])
def test_a_group_has_factors_on_decay_and_learning_rate(
    monkeypatch: pytest.MonkeyPatch, kind: type[Update]
) -> None:
    """
    All are 1, and the gradients are the decay: 0.3, and 4 · 0.3 = 1.2. By a rate of 0.1 the weight
    moves to 1 − 0.1 · 0.3 = 0.97, the other to 1 − 0.1 · 0.5 · 1.2 = 0.94.
    """
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    for factors, left in (({"decay": 4.0, "lr": 0.5}, 0.94), ({"decay": 4.0}, 0.88), ({}, 0.97)):
        model = Sum()
        groups = [Group([model.slow], **factors)]
        sgd = make_optimiser("sgd", model, groups, lr=0.1, momentum=0.0, weight_decay=0.3)
        assert len(sgd.param_groups) == (2 if factors else 1), "as in checkpoints from before"
        update = kind(model, Method(), sgd, **({} if kind is Update else {"batch_size": 2}))
        update(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), 0.1)
        assert model.weight.tolist() == pytest.approx([0.97, 0.97])
        assert model.slow.tolist() == pytest.approx([left, left])


def test_what_is_not_asked_for_is_as_documented() -> None:
    model, _ = sparse_pair()
    found = {name: make_optimiser(name, model, [], lr=0.1).defaults for name in ("sgd", "adam")}
    assert [found["sgd"][key] for key in ("momentum", "nesterov", "weight_decay")] == [
        0.9,
        False,
        0.0,
    ]
    assert found["adam"]["betas"] == (0.9, 0.999)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="optimiser is 'lion', expected one of sgd, adam, adamw"):
        make_optimiser("lion", nn.Linear(1, 1), [], lr=0.1)
    with pytest.raises(ValueError, match="rate is 'step', expected one of"):
        make_rate("step", lr=0.1, epochs=1, steps_per_epoch=1)
