"""Models that cannot be trained, or have problems, are found before a run writes anything."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from dstrun import data, models
from dstrun.config.check import check
from dstrun.config.options import Config
from dstrun.methods.masked_layers import sparsify
from dstrun.system.errors import InputError
from dstrun.training.build import training_objects
from dstrun.training.prepare import prepare
from dstrun.training.run import run
from tests.helpers.commands import Command
from tests.helpers.data import made_up

Shape = tuple[int, int, int]


class Net(nn.Module):
    """Two layers for images of 4×4; each case below changes one thing in it."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 8), nn.Linear(8, classes)
        self.change()

    def change(self) -> None: ...

    def hidden(self, x: Tensor) -> Tensor:
        return self.a(x.flatten(1)).relu()

    def forward(self, x: Tensor) -> Any:
        return self.b(self.hidden(x))


Forward = Callable[[Net, Tensor], Any]


def net(
    forward: Forward = Net.forward, change: Callable[[Net], Any] = Net.change, **more: Any
) -> type[Net]:
    """Return a builder: Net with another forward pass, end of its constructor, or more methods."""
    return type("Net", (Net,), {"forward": forward, "change": change, **more})


def whole(model: Net, x: Tensor) -> Tensor:
    return model.b(model.hidden(x))


def no_gradient(model: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        return whole(model, x)


def changed_in_place(model: Net, x: Tensor) -> Tensor:
    hidden = model.hidden(x).sigmoid()
    logits = model.b(hidden)
    hidden.mul_(2)
    return logits


def grows(model: Net, x: Tensor) -> Tensor:
    model.register_buffer("seen", torch.zeros(1))
    return whole(model, x)


def needs_three(model: Net, x: Tensor) -> Tensor:
    return whole(model, x[:] if len(x) > 2 or not model.training else x[:3].view(3, 16))


def zeros(model: Net) -> None:
    nn.init.zeros_(model.b.weight)


def broken(shape: Shape, classes: int) -> nn.Module:
    raise ZeroDivisionError("a bug")


def exiting(shape: Shape, classes: int) -> nn.Module:
    raise SystemExit(3)


def unfitting(shape: Shape, classes: int) -> nn.Module:
    raise ValueError("width is 3, expected 4")


def normed(shape: Shape, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, classes))


class Odd:
    """Not to be unpickled from a checkpoint."""


def odd_state(self: Net) -> Odd:
    return Odd()


def keep(self: Net, state: Any) -> None: ...


SAME = Net((1, 4, 4), 2)
TAKES = "model=mine: cannot take 2 images of data=made, 1×4×4, in"
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "tuple in training": (
        net(lambda m, x: (whole(m, x), 0) if m.training else whole(m, x)),
        {},
        "model=mine: gives tuple for 2 images in training, expected (2, 2)",
    ),
    "other shape in training": (
        net(lambda m, x: whole(m, x)[:, :1] if m.training else whole(m, x)),
        {},
        "model=mine: gives (2, 1) for 2 images in training, expected (2, 2)",
    ),
    "dictionary": (
        net(lambda m, x: {"logits": whole(m, x)}),
        {},
        "model=mine: gives dict for 2 images in evaluation, expected (2, 2)",
    ),
    "nothing": (
        net(lambda m, x: None),
        {},
        "model=mine: gives NoneType for 2 images in evaluation, expected (2, 2)",
    ),
    "one image squeezed": (
        net(lambda m, x: whole(m, x).squeeze(0)),
        {},
        "model=mine: gives (2,) for 1 image in evaluation, expected (1, 2)",
    ),
    "classes ignored": (
        lambda shape, classes: Net(shape, 5),
        {},
        "model=mine: gives (2, 5) for 2 images in evaluation, expected (2, 2)",
    ),
    "integers": (
        net(lambda m, x: whole(m, x).long()),
        {},
        "model=mine: gives torch.int64 for 2 images in evaluation, expected floating-point numbers",
    ),
    "no gradient": (
        net(no_gradient),
        {},
        "model=mine: its output in training has no gradient: is it under no_grad, or detached?",
    ),
    "in place": (net(changed_in_place), {}, "model=mine: its backward pass fails: RuntimeError"),
    "three images": (
        net(needs_three),
        {},
        f"{TAKES} training: RuntimeError in test_model_trial.py:",
    ),
    "float64": (
        net(change=lambda m: m.double()),
        {},
        f"{TAKES} evaluation: RuntimeError in test_model_trial.py:",
    ),
    "strides": (
        lambda shape, classes: nn.Sequential(
            nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 3), Viewed(), nn.Linear(8, classes)
        ),
        {"schedule__channels_last": True},
        f"{TAKES} evaluation: RuntimeError in test_model_trial.py:",
    ),
    "one image": (
        normed,
        {"schedule__batch_size": 1},
        "schedule.batch_size: got 1, and model=mine cannot train on one image: V",
    ),
    "lazy": (
        lambda shape, classes: nn.Sequential(nn.Flatten(), nn.LazyLinear(classes)),
        {},
        "model=mine: 1 is a LazyLinear, which has no shape before its first forward pass: "
        "run one through the model",
    ),
    "all zeros": (
        net(change=zeros),
        {"reg__exclude": ["a"]},
        "model=mine: every weight of b is 0 at the start, and a 0 can never be kept; "
        "reg.exclude=[a,b] leaves it dense",
    ),
    "state that grows": (
        net(grows),
        {},
        "model=mine: its state_dict() after a step does not fit the same model built anew, "
        "so that no run could be res",
    ),
    "state that is not pickled": (
        net(get_extra_state=lambda self: lambda: 1, set_extra_state=keep),
        {},
        # then "pickle", or in Python 3.13 "get"
        "model=mine: its state_dict() cannot be saved and read back (Can't ",
    ),
    "state that is not read": (
        net(get_extra_state=odd_state, set_extra_state=keep),
        {},
        "model=mine: its state_dict() cannot be saved and read back (WeightsUnpickler error: "
        "Unsupported global: GLOBA",
    ),
    "the same every time": (
        lambda shape, classes: SAME,
        {},
        "model=mine: its builder gives the same weights again, expected new ones at every call",
    ),
    "every weight read": (
        net(lambda m, x: F.linear(F.linear(x.flatten(1), m.a.weight), m.b.weight)),
        {},
        "model=mine: the weight of every layer is read past the layer, "
        "so masks would have no effect",
    ),
    "no model": (
        lambda shape, classes: 3,
        {},
        "model=mine: its builder gives int, expected a torch.nn.Module",
    ),
    "no weights": (
        lambda shape, classes: nn.Flatten(),
        {},
        "model=mine: nothing to mask in this model; left dense: no weights at all",
    ),
    "error": (broken, {}, "model=mine: ZeroDivisionError in test_model_trial.py:"),
    "exit": (exiting, {}, "model=mine: SystemExit in test_model_trial.py:"),
    "ValueError": (unfitting, {}, "model=mine: width is 3, expected 4"),
    "parameters": (lambda shape: None, {}, "model.args: mine() too many positional arguments"),
    "arguments": (
        Net,
        {"model__args": {"classs": 3}},
        "model.args: mine() got an unexpected keyword argument 'cl",
    ),
}


class Viewed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


Offer = Callable[[Any], None]
WORDS = (
    "model.name=mine",
    "model.builder=mine",
    "data.name=made",
    "data.builder=made",
    "schedule.epochs=1",
)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Register data `made`, 16 images of 4×4 in 2 classes; return what registers model `mine`."""
    splits = made_up((1, 4, 4), classes=2, train=16, test=4)
    monkeypatch.setitem(data.BUILDERS, "made", lambda root, **_: splits)
    return lambda builder: monkeypatch.setitem(models.BUILDERS, "mine", builder)


def config_of(**options: Any) -> Config:
    words = dict(word.split("=") for word in WORDS)
    return check(
        words
        | {"schedule.epochs": 1}
        | {key.replace("__", "."): value for key, value in options.items()}
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_train_is_told_in_a_line(offer: Offer, case: str) -> None:
    builder, options, line = REFUSED[case]
    offer(builder)
    with pytest.raises(InputError) as refused:
        prepare(config_of(**options))
    assert str(refused.value).startswith(line)
    assert len(str(refused.value).splitlines()) == 1


def test_it_is_told_before_anything_is_written(command: Command, offer: Offer) -> None:
    offer(REFUSED["tuple in training"][0])
    outcome = command(*WORDS)
    assert (outcome.code, outcome.out, outcome.err) == (
        2,
        "",
        f"dstrun: {REFUSED['tuple in training'][2]}\n",
    )
    assert list(Path().iterdir()) == []


def reentrant(model: Net, x: Tensor) -> Tensor:
    return model.b(checkpoint(model.hidden, x.flatten(1).requires_grad_(), use_reentrant=True))


def test_reentrant_checkpoints_train(offer: Offer) -> None:
    offer(net(reentrant))
    folder = run(config_of(wandb__mode="disabled"), "single")
    weights = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    torch.manual_seed(0)
    assert not torch.equal(weights["a.weight"], Net((1, 4, 4), 2).a.weight)


def read_in_evaluation(model: Net, x: Tensor) -> Tensor:
    a = model.a if model.training else lambda x: F.linear(x, model.a.weight, model.a.bias)
    return model.b(a(x.flatten(1)).relu())


def read_in_training(model: Net, x: Tensor) -> Tensor:
    a = (lambda x: F.linear(x, model.a.weight, model.a.bias)) if model.training else model.a
    return model.b(a(x.flatten(1)).relu())


def read_twice(model: Net, x: Tensor) -> Tensor:
    hidden = model.hidden(x)
    return model.b(model.a(F.linear(hidden, model.a.weight.t())).relu())


def checkpointed(model: Net, x: Tensor) -> Tensor:
    hidden = checkpoint(
        lambda x: x @ model.a.weight.t(), x.flatten(1).requires_grad_(), use_reentrant=True
    )
    return model.b(hidden)


def replaced(model: Net) -> None:
    model.a.forward = lambda x: F.linear(x, model.a.weight, model.a.bias)  # type: ignore[method-assign]


def folded(model: Net, x: Tensor) -> Tensor:
    return (
        whole(model, x)
        if model.training
        else model.b(F.linear(x.flatten(1), model.copy, model.a.bias).relu())
    )


def folds(model: Net, mode: bool = True) -> Net:
    """Copy a weight for evaluation and drop the copy in training.

    So do blocks that merge their convolutions for evaluation.
    """
    if mode:
        model.copy = None
    elif model.copy is None:
        model.copy = model.a.weight.detach().clone()
    return nn.Module.train(model, mode)  # type: ignore[return-value]


def cached(model: Net, x: Tensor) -> Tensor:
    """Copy a weight at the first call in evaluation."""
    if not model.training and getattr(model, "copy", None) is None:
        model.copy = model.a.weight.detach().clone()
    return folded(model, x)


def drops(model: Net, mode: bool = True) -> None:  # a user may forget to return the model
    if mode:
        model.copy = None
    nn.Module.train(model, mode)


def merges(model: Net, mode: bool = True) -> Net:
    """Change the weight for evaluation and back in training, as low-rank adapters do."""
    if model.training and not mode:
        model.a.weight.data += 1
    if mode and not model.training:
        model.a.weight.data -= 1
    return nn.Module.train(model, mode)  # type: ignore[return-value]


def fails(model: Net, mode: bool = True) -> Net:
    if not mode:
        torch.linalg.svd(model.a.weight.detach())
    return nn.Module.train(model, mode)  # type: ignore[return-value]


PAST = "its weight is read past the layer"


@pytest.mark.parametrize("method", ["dst", "dense"])
@pytest.mark.parametrize(
    "builder",
    [
        net(lambda m, x: m.b(F.linear(x.flatten(1), m.a.weight, m.a.bias).relu())),
        net(read_in_evaluation),
        net(read_in_training),
        net(read_twice),
        net(change=replaced),
        net(checkpointed),
        net(folded, train=folds),
        net(cached, train=drops),
        net(lambda m, x: F.dropout(cached(m, x)), train=drops),
    ],
    ids=[
        "its owner computes",
        "in evaluation",
        "in training",
        "called and read",
        "another forward",
        "checkpointed",
        "copied by eval()",
        "copied at the first call",
        "copied, and random",
    ],
)
def test_a_layer_read_past_its_mask_is_left_dense(offer: Offer, builder: Any, method: str) -> None:
    offer(builder)
    config = config_of(reg__method=method)
    model, used = training_objects(config, prepared := prepare(config))
    assert prepared.trial.past == ("a",)
    assert used.left_dense == {"a.weight": PAST}
    assert [layer.layer for layer in used.measure()] == ["b"]
    assert type(model.a) is nn.Linear


@pytest.mark.parametrize(
    ("builder", "line"),
    [
        (
            net(cached),
            "model=mine: its evaluation uses weights without their mask "
            "(a copy made for evaluation?)",
        ),
        (
            net(train=fails),
            "model=mine: its eval() or train() fails, tried with weights that are NaN: ",
        ),
    ],
    ids=["kept for ever", "NaN refused"],
)
def test_a_copy_of_an_unknown_layer_is_refused(offer: Offer, builder: Any, line: str) -> None:
    offer(builder)
    with pytest.raises(InputError) as refused:
        prepare(config_of())
    assert str(refused.value).startswith(line)


def test_weights_that_are_nan_are_no_copy(offer: Offer) -> None:
    offer(net(change=lambda m: m.a.weight.data.fill_(torch.nan)))
    assert prepare(config_of()).trial.past == ()


def test_sparsify_finds_a_copy_made_for_evaluation() -> None:
    model = net(folded, train=folds)((1, 4, 4), 2)
    assert sparsify(model, example=torch.randn(2, 1, 4, 4)).left_dense == {"a.weight": PAST}


def test_run_eval_and_export_agree_on_a_layer_left_dense(command: Command, offer: Offer) -> None:
    offer(net(read_twice))
    words = [*WORDS, "reg.alpha=0.5", "schedule.lr=0.1", "schedule.epochs=4"]
    told = command(*words)
    assert "a.weight (its weight is read past the layer)" in " ".join(told.out.split())
    (folder,) = Path("outputs/single").iterdir()
    assert command("eval", str(folder)).code == 0
    assert "every class the same" in command("export", str(folder), "--to", "x.safetensors").out


NOTES = {
    "not used in training: spare": net(change=lambda m: setattr(m, "spare", nn.Linear(3, 3))),
    "no gradient in training: a": net(lambda m, x: m.b(m.hidden(x).detach())),
    "weights that are 0 at the start and stay pruned: a 32 of 128": net(
        change=lambda m: m.a.weight.data[:2].zero_()
    ),
}


@pytest.mark.parametrize("note", NOTES)
def test_what_the_data_cannot_train_is_noted(offer: Offer, note: str) -> None:
    offer(NOTES[note])
    (said,) = prepare(config_of()).trial.notes
    assert said.startswith(f"model=mine: {note}")


def test_layers_of_zeros_can_be_trained_by_methods_without_thresholds(offer: Offer) -> None:
    offer(net(change=zeros))
    assert prepare(config_of(reg__method="rigl", reg__density=0.5)).trial.notes == ()


def test_a_run_shows_the_notes_of_its_trial(command: Command, offer: Offer) -> None:
    offer(NOTES[note := "not used in training: spare"])
    assert f"note: model=mine: {note}" in command(*WORDS, "schedule.epochs=1").out


def old_weight_norm(layer: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        (
            parametrizations.weight_norm,
            ["parametrizations.weight.original0", "parametrizations.weight.original1"],
        ),
        (parametrizations.spectral_norm, ["parametrizations.weight.original"]),
        (parametrizations.orthogonal, ["parametrizations.weight.original"]),
        (old_weight_norm, ["weight_g", "weight_v"]),
        (nn.utils.spectral_norm, ["weight_orig"]),
        (lambda layer: prune.random_unstructured(layer, "weight", 0.5), ["weight_orig"]),
    ],
)
def test_reparametrised_layers_are_left_dense(
    offer: Offer, change: Callable[[nn.Module], Any], parameters: list[str]
) -> None:
    offer(net(change=lambda m: change(m.a)))
    config = config_of(wandb__mode="disabled")
    _, method = training_objects(config, prepare(config))
    assert method.left_dense == {f"a.{name}": "its weight is reparametrised" for name in parameters}
    assert run(config, "single").exists()


RELU = nn.ReLU()


def keeps_a_table(model: Net, x: Tensor) -> Tensor:
    """Make a tensor at the first call, whose kind must suit training."""
    if not hasattr(model, "table"):
        model.table = x.new_ones(())
    return model.b(model.hidden(x) * model.table)


@pytest.mark.parametrize(
    "builder",
    [
        net(lambda m, x: whole(m, x.bfloat16()), change=lambda m: m.bfloat16()),
        net(lambda m, x: whole(m, x.double()), change=lambda m: m.double()),
        net(lambda m, x: m.b(F.dropout(m.hidden(x.mul_(2)), training=m.training))),
        net(lambda m, x: m.b(checkpoint(m.hidden, x, use_reentrant=False))),
        net(keeps_a_table),
        net(change=lambda m: setattr(m, "act", RELU)),
        net(get_extra_state=lambda self: {"steps": 3}, set_extra_state=keep),
        net(lambda m, x: F.dropout(whole(m, x))),
        net(train=merges),
    ],
    ids=[
        "bfloat16",
        "float64",
        "dropout, input in place",
        "checkpointed",
        "a table",
        "a shared ReLU",
        "extra state",
        "random in evaluation",
        "merged",
    ],
)
def test_what_is_odd_and_right_is_taken(offer: Offer, builder: Any) -> None:
    offer(builder)
    trial = prepare(config_of(wandb__mode="disabled")).trial
    assert (trial.past, trial.notes) == ((), ())


def drawing(shape: Shape, classes: int) -> nn.Module:
    random.random()
    np.random.rand()
    return Net(shape, classes)


def test_a_trial_moves_no_generator_and_tries_the_weights_of_the_run(offer: Offer) -> None:
    offer(drawing)
    torch.manual_seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    prepare(config_of())
    assert before == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_zeros_are_those_that_a_run_begins_with(offer: Offer) -> None:
    """Check that a new model's zeros do not count where weights come from a run or a checkpoint."""
    offer(Net)
    first = run(config_of(wandb__mode="disabled", reg__method="dense"), "single")
    offer(net(change=zeros))
    assert prepare(config_of(init=str(first))).trial.notes == ()
    assert prepare(config_of(), resumes=True).trial.notes == ()
    assert prepare(config_of(reg__method="dense")).trial.notes == ()
