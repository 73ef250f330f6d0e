"""Masks of all layers in one call, here uncompiled, in models that call layers in any order."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dstrun.methods.dst import compiled_masks
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.training.step import Update


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call functions that would be compiled as they are."""
    monkeypatch.setattr(compiled_masks, "compiled", lambda function, device: function)


class Two(nn.Module):
    """Two layers, called in the way of `call`, with the number of the call."""

    def __init__(self, call: Callable[["Two", Tensor, int], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.calls, self.call = 0, call

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.call(self, x, self.calls)


def first_layer_again(model: Two, x: Tensor, _: int) -> Tensor:
    return model.a(model.b(model.a(x).relu()))


def other_order_each_time(model: Two, x: Tensor, number: int) -> Tensor:
    return model.a(model.b(x).relu()) if number % 2 else model.b(model.a(x).relu())


def one_of_both_left_out(model: Two, x: Tensor, number: int) -> Tensor:
    return model.a(x) if number % 3 else model.b(model.a(x))


def without_gradients_first(model: Two, x: Tensor, _: int) -> Tensor:
    with torch.no_grad():
        target = model.a(x)
    return model.b(model.a(x).relu()) + target


def with_another_weight(model: Two, x: Tensor, _: int) -> Tensor:
    return model.b(functional_call(model.a, {"weight": model.a.weight * 2}, (x,)))


CALLS = [
    first_layer_again,
    other_order_each_time,
    one_of_both_left_out,
    without_gradients_first,
    with_another_weight,
]


@pytest.mark.parametrize("call", CALLS)
def test_layers_may_be_called_in_any_way_in_pieces_of_a_batch(
    call: Callable[[Two, Tensor, int], Tensor],
) -> None:
    states = []
    for compile in ("off", "mask"):
        torch.manual_seed(0)
        model, method = Two(call), DynamicSparseTraining(0.05, compile=compile)
        method.prepare(model, past=[])
        update = Update(
            model, method, torch.optim.SGD(model.parameters(), foreach=False), accumulate=3
        )
        for _ in range(2):
            update(torch.randn(6, 4), torch.arange(6) % 4, 0.1)
        states.append(model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value)


def test_the_penalty_is_that_of_the_thresholds_as_they_were_frozen() -> None:
    """Freezing with a target moves them after the masks and the penalty were computed."""
    model, method = nn.Linear(4, 4), DynamicSparseTraining(0.1, compile="mask", target_density=0.5)
    method.prepare(model, past=[])
    method.begin(5)
    for step in range(5):
        method.before_step(step)
        if step < 4:
            method.after_step()
    (threshold,) = method.added_parameters()
    assert threshold.any()
    expected = {"penalty": pytest.approx(threshold.neg().exp().sum().item()), "alpha": 0.0}
    assert method.metrics() == expected


def test_a_layer_read_past_its_mask_is_found() -> None:
    def past(model: Two, x: Tensor, _: int) -> Tensor:
        return nn.functional.linear(model.a(x), model.b.weight)

    model, method = Two(past), DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model)
    with pytest.raises(RuntimeError, match="reads the weights of b past their masks"):
        method.regularised(model(torch.ones(2, 4)).sum())


def test_masks_are_computed_once_a_step_though_a_layer_is_called_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last_layer_again(model: Two, x: Tensor, _: int) -> Tensor:
        return model.b(model.b(model.a(x)))

    called: list[str] = []

    def note(function: Callable, device: torch.device) -> Callable:
        called.append(function.__name__)
        return function

    monkeypatch.setattr(compiled_masks, "compiled", note)
    model, method = Two(last_layer_again), DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model, past=[])
    update = Update(model, method, torch.optim.SGD(model.parameters()))
    for _ in range(3):
        update(torch.ones(2, 4), torch.arange(2), 0.1)
    assert called.count("_reset_and_mask") == 1 + 3, "before the first step, and after each"


def test_a_model_may_be_copied_with_its_method_between_two_steps() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    method = DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model, past=[])
    method.after_step()
    for one in (copy.deepcopy((model, method)), pickle.loads(pickle.dumps((model, method)))):
        copied, own = one
        own.regularised(copied(torch.ones(2, 4)).sum()).backward()
        assert copied[0].mask.threshold.grad.any()
        assert model[0].weight.grad is None


def test_masks_are_in_the_precision_of_the_pass() -> None:
    model, method = nn.Linear(4, 4), DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model, past=[])
    for enabled, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            assert model.mask(model.weight).dtype == dtype


def test_a_penalty_may_be_differentiated_after_the_loss() -> None:
    model, method = nn.Linear(4, 4), DynamicSparseTraining(0.1, compile="mask")
    method.prepare(model, past=[])
    method.after_step()
    model(torch.ones(2, 4)).sum().backward()
    model.mask.threshold.grad = None
    method.regularised(torch.zeros((), requires_grad=True)).backward()
    assert model.mask.threshold.grad.tolist() == [[pytest.approx(-0.1)]] * 4
