"""Methods that move masks in a training loop of one's own: whole, and told what it leaves out."""

import copy
import gc
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import _global_optimizer_pre_hooks

import dstrun
from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.rigl import RigL
from dstrun.methods.set import Set
from tests.helpers.blocks import steps_of
from tests.helpers.methods import FIXED, OWN

FIRST, SECOND, *_ = (
    step.text
    for step in steps_of(Path(__file__).parents[2] / "docs" / "library.md")
    if step.kind == "python"
)
X, Y = torch.arange(96.0).view(6, 16) / 96, torch.arange(6) % 3


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def loop(method: Any, without: str = "", steps: int = 3, steps_anyway: bool = False) -> nn.Module:
    """Train as docs/library.md says, but for the one call that is left out."""
    model = net()
    method.prepare(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if without != "begin":
        method.begin(steps, optimiser, steps_per_epoch=2)
    method.initialise(model, iter([(X, Y)] * 200))
    for step in range(steps):
        if without not in ("before_step", f"before_step {step}"):
            method.before_step(step)
        optimiser.zero_grad()
        method.regularised(F.cross_entropy(model(X), Y)).backward()
        follows = True
        if without != "on_gradients":
            follows = method.on_gradients([one.grad for one in model.parameters()])
        if follows or steps_anyway:
            optimiser.step()
        if without != "after_step":
            method.after_step()
    return model


@pytest.mark.slow
def test_the_example_keeps_a_tenth_and_has_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    lines = FIRST.split("\n")
    names: dict[str, Any] = {}
    exec("\n".join(lines[: lines.index("torch.manual_seed(0)") + 2]), names)
    exec(SECOND, names)
    sparse, images, labels = (names[name] for name in ("sparse", "images", "labels"))
    weights = torch.cat([one.flatten() for one in sparse.parameters() if one.dim() > 1])
    assert 0.08 < weights.count_nonzero() / len(weights) <= 0.1
    assert (sparse(images[1500:]).argmax(1) == labels[1500:]).float().mean() > 0.85


def test_what_has_no_such_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="name is 'imp', expected one of dst, dense, static"):
        dstrun.method("imp", density=0.5, rounds=2)
    method = dstrun.method("snip", density=0.5)
    with pytest.raises(
        RuntimeError, match=r"^there are no masks yet: call prepare\(model\) before"
    ):
        method.begin(4, torch.optim.SGD(net().parameters(), lr=0.1))
    method.prepare(model := net(), past=[])
    method.begin(4, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(RuntimeError, match=r"^snip chooses its masks by initialise\(model, batch"):
        method.before_step(0)


def test_a_density_of_dst_is_its_target() -> None:
    assert "target density 50.00%" in dstrun.method("dst", alpha=1e-3, density=0.5).describe()


@pytest.mark.parametrize("name", [name for name in FIXED if name != "imp"])
def test_a_complete_loop_trains_with_every_method(name: str) -> None:
    options = {key.removeprefix("reg."): one for key, one in OWN.get(name, {}).items()}
    method = dstrun.method(name, **{"density": 0.5} | options)
    loop(method, steps=4)
    assert isinstance(method, FixedMaskMethod)
    for layer in method.layers:
        assert not layer.weight[~layer.mask.keep].any()


@pytest.mark.parametrize(
    ("without", "line"),
    [
        ("begin", r"call begin\(steps, optimiser\), once"),
        ("before_step", r"call before_step\(step\), at every step"),
        ("before_step 1", r"call before_step\(step\), at every step"),
        ("on_gradients", r"pruned weights of 0 have gradients: call on_gradients\("),
    ],
)
@pytest.mark.parametrize("name", ["static", "set"])
def test_a_call_that_is_left_out_is_told(name: str, without: str, line: str) -> None:
    with pytest.raises(RuntimeError, match=line):
        loop(dstrun.method(name, density=0.5), without)


def test_a_step_where_none_is_to_follow_is_told() -> None:
    with pytest.raises(RuntimeError, match="and leave out optimiser"):
        loop(RigL(0.5), steps_anyway=True)


def test_gradients_that_come_in_a_closure_are_not_looked_at_before() -> None:
    method, model = dstrun.method("static", density=0.5), net()
    method.prepare(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    method.begin(2, optimiser)
    parameters = list(model.parameters())

    def closure() -> float:
        optimiser.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        method.on_gradients([one.grad for one in parameters])
        return loss.item()

    F.cross_entropy(model(X), Y).backward()  # gradients of pruned weights, which are cleared
    for step in range(2):
        method.before_step(step)
        optimiser.step(closure)
        method.after_step()


def test_weights_that_dense_momentum_has_moved_are_told() -> None:
    with pytest.raises(RuntimeError, match=r"call after_step\(\)"):
        loop(dstrun.method("snfs", density=0.5), "after_step")
    loop(dstrun.method("gmp", density=0.5, start=0.0, until=0.5, every=1, regrow=True))


def test_the_check_ends_after_two_steps_or_with_its_method() -> None:
    before = len(_global_optimizer_pre_hooks)
    method = dstrun.method("static", density=0.5)
    loop(method, steps=1)
    assert len(_global_optimizer_pre_hooks) == before + 1
    for copied in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert copied._check is None
    del method, copied
    gc.collect()
    assert len(_global_optimizer_pre_hooks) == before
    method = dstrun.method("static", density=0.5)
    loop(method, steps=2)
    assert len(_global_optimizer_pre_hooks) == before
    other = net()
    method = dstrun.method("static", density=0.5)
    method.prepare(net())
    torch.optim.SGD(other.parameters()).step()  # which has nothing to do with it
    method = dstrun.method("static", density=0.5)
    method.prepare(net(), past=[])
    assert method._check is None, "dstrun's own loop needs none"


def test_gradients_are_shown_to_a_method_without_a_bound_on_them() -> None:
    """A loop for all methods calls `on_gradients`: without a bound DST leaves them as they are."""
    method = dstrun.method("dst", alpha=1e-3)
    method.prepare(model := net())
    method.regularised(model(X).sum()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    before = [gradient.clone() for gradient in gradients]
    assert method.on_gradients(gradients)
    assert all(torch.equal(one, other) for one, other in zip(before, gradients, strict=True))


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="name is 'rigle', expected one of dst, dense, static"):
        dstrun.method("rigle", density=0.1)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        (
            "rigl",
            {"drop_schedule": "cos"},
            "drop_schedule: got 'cos', expected one of constant, co",
        ),
        ("gmp", {"scope": "foo"}, "scope: got 'foo', expected one of global, layer"),
        # GMP's authors end at 77 % of the run
        ("gmp", {"start": 0.8}, "start: got 0.8 with until=0.77, expected an earlier start"),
        ("static", {"density": 1.5}, "density: got 1.5, expected a number ≥ 0 and < 1"),
        ("static", {"density": 0.0}, "density: reg=static needs one, expected 0 < number < 1"),
        ("set", {"density": "half"}, "density: got 'half', expected a number"),
        ("rigl", {"dorp": 0.3}, "dorp: got 0.3, and rigl has no such option; did you mean drop"),
        ("one_shot", {"until": 0.9}, "until: got 0.9, and one_shot has no such option"),
        ("dst", {"threshold_clip": -1}, "threshold_clip: got -1.0, expected a number ≥ 0"),
    ],
)
def test_options_are_checked_as_those_of_a_run(
    name: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        dstrun.method(name, **{"density": 0.5} | options)


def test_a_method_is_made_with_its_authors_defaults_and_a_structures_density() -> None:
    set_, rigl = dstrun.method("set", structure="1:4"), dstrun.method("rigl", density=0.5)
    assert isinstance(set_, Set)
    assert set_.density == 0.25
    words = (RigL(0.5).describe(), Set(0.25, structure="1:4").describe())
    assert (rigl.describe(), set_.describe()) == words
    assert dstrun.method("dst", exclude=("0",), compile="mask", threshold_decay=0.0)
