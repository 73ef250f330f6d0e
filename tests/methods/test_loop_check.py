"""The method in a training loop of one's own: whole in twelve lines, and told what the loop leaves
out.
"""

import copy
import gc
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks

import dstrun
from dstrun.methods.dst.method import DynamicSparseTraining
from tests.helpers.blocks import steps_of

(EXAMPLE,) = (
    step.text
    for step in steps_of(Path(__file__).parents[2] / "docs" / "library.md")
    if "load_digits" in step.text
)


def test_the_example_ends_sparse_and_saved(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLE, names)
    (figures,) = re.findall(r"([\d.]+)%.* ([\d.]+)%.*\n\[\((\d+), 64\)", capsys.readouterr().out)
    density, accuracy, hidden = map(float, figures)
    assert density < 20
    assert accuracy > 90
    assert hidden < 60
    fresh = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    fresh.load_state_dict(torch.load("digits.pt", weights_only=True))
    images, masked = names["images"][1500:], names["model"]
    for network in (fresh, names["smaller"], names["faster"]):
        torch.testing.assert_close(network(images), masked(images), rtol=1e-4, atol=1e-4)


X, Y = torch.arange(96.0).view(6, 16) / 96, torch.arange(6) % 3


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def prepared(model: nn.Module | None = None, **options: Any) -> tuple[Any, DynamicSparseTraining]:
    method = DynamicSparseTraining(0.01, **options)
    method.prepare(model := model or net())
    return model, method


def sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def loop(
    model: nn.Module,
    method: DynamicSparseTraining,
    optimiser: Optimizer | None = None,
    steps: int = 3,
    without: str = "",
    zero_grad: Callable[[], None] | None = None,
    pieces: int = 1,
    loss: Callable[[Tensor], Tensor] = lambda logits: F.cross_entropy(logits, Y),
) -> None:
    """Trains as it should be done, but for the moment that is left out, or only one thing
    otherwise.
    """
    optimiser = optimiser or sgd(model)
    moments = {
        "begin": method.begin,
        "before_step": method.before_step,
        "after_step": method.after_step,
    }
    called: dict[str, Any] = {
        name: f if name != without else lambda *_: None for name, f in moments.items()
    }
    called["begin"](steps)
    for step in range(steps):
        called["before_step"](step)
        (zero_grad or optimiser.zero_grad)()
        for _ in range(pieces):
            method.regularised(loss(model(X))).backward()
        if step != 1 or without != "a step":
            optimiser.step()
        called["after_step"]()


def early() -> None:
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    loop(*prepared(model), optimiser)


def copied() -> None:
    model, method = prepared()
    loop(copy.deepcopy(model), method)


def weights_alone() -> None:
    weights = list((model := net()).parameters())
    loop(*prepared(model), zero_grad=lambda: [setattr(weight, "grad", None) for weight in weights])  # type: ignore[arg-type]


class Past(nn.Sequential):
    """Reads the first layer's weight itself."""

    def forward(self, x: Tensor) -> Tensor:
        first: Any = self[0]
        return self[2](F.linear(x, first.weight, first.bias).relu())


def zeros() -> None:
    nn.init.zeros_((model := net())[2].weight)
    loop(*prepared(model))


def without(moment: str, **options: Any) -> Callable[[], None]:
    return lambda: loop(*prepared(**options), without=moment)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "optimiser before prepare": (
        early,
        "the optimiser has the weights of 0, 2 and not their thresholds, so no weight",
    ),
    "no begin": (
        without("begin", target_density=0.5),
        "target_density and freeze need begin(steps), once",
    ),
    "no begin, frozen": (
        without("begin", freeze=0.5),
        "target_density and freeze need begin(steps), once",
    ),
    "no before_step": (
        without("before_step", freeze=0.5),
        "target_density and freeze need before_step(step), at",
    ),
    "no after_step": (
        without("after_step"),
        "after_step() has not been called since the step before",
    ),
    "a copy is trained": (copied, "the loss depends on no layer of the model that was prepared"),
    "gradients that stay": (
        weights_alone,
        "zero_grad() has left the gradients of the thresholds of 0, 2",
    ),
    "read past": (
        lambda: loop(*prepared(Past(*net()))),
        (
            "the forward pass reads the weights of 0 past their masks, which have no effect: "
            "prepare(model, example=images"
        ),
    ),
    "zeros": (
        zeros,
        (
            "every weight of 2 is 0 at the start, and a 0 can never be kept: leave "
            "it dense by exclude=['2']"
        ),
    ),
    "a second model": (
        lambda: prepared()[1].prepare(net()),
        "prepare() has been called: a method belongs to one",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_loop_that_leaves_something_out_is_told_in_its_first_steps(mistake: str) -> None:
    made, words = MISTAKES[mistake]
    with pytest.raises(RuntimeError, match=re.escape(words)):
        made()


def test_without_before_step_a_missing_after_step_is_a_warning() -> None:
    model, method = prepared()
    for _ in range(99):
        method.regularised(F.cross_entropy(model(X), Y)).backward()
    with pytest.warns(UserWarning, match=r"after_step\(\) has not been called in 100 steps"):
        method.regularised(F.cross_entropy(model(X), Y))


def adam() -> None:
    model, method = prepared()
    loop(model, method, torch.optim.Adam(model.parameters(), fused=True))


def converted() -> None:
    model, method = prepared()
    loop(model.double().float(), method)


def weights_in_the_loss() -> None:
    model, method = prepared()
    loop(
        model,
        method,
        loss=lambda logits: (
            F.cross_entropy(logits, Y) + sum(p.square().sum() for p in model.parameters())
        ),
    )


def cleared_by_the_model() -> None:
    model, method = prepared()
    loop(model, method, zero_grad=model.zero_grad)


RIGHT: dict[str, Callable[[], None]] = {
    "plain": lambda: loop(*prepared()),
    "target": lambda: loop(*prepared(target_density=0.5)),
    "fused Adam": adam,
    "in pieces": lambda: loop(*prepared(), pieces=3),
    "a step skipped": without("a step"),
    "weights in the loss": weights_in_the_loss,
    "copied with its method": lambda: loop(*copy.deepcopy(prepared())),
    "pickled with its method": lambda: loop(*pickle.loads(pickle.dumps(prepared()))),
    "a copy, beside the original": lambda: (loop(*copy.deepcopy(both := prepared())), loop(*both)),
    "model.zero_grad": cleared_by_the_model,
    "converted after prepare": converted,
}


@pytest.mark.parametrize("right", RIGHT)
def test_a_loop_that_is_right_is_told_nothing(right: str) -> None:
    RIGHT[right]()


def test_a_method_that_is_gone_leaves_no_hook_in_optimisers() -> None:
    hooks = len(_global_optimizer_post_hooks)
    method = prepared()[1]
    assert len(_global_optimizer_post_hooks) == hooks + 1
    assert copy.deepcopy(method).after_step() is None
    del method
    gc.collect()
    assert len(_global_optimizer_post_hooks) == hooks


def test_an_evaluation_before_the_first_step_is_no_step() -> None:
    model, method = prepared()
    with torch.no_grad():
        method.regularised(F.cross_entropy(model(X), Y))
    loop(model, method)


def test_with_an_example_a_layer_read_past_its_mask_is_left_dense() -> None:
    model, method = Past(*net()).eval(), DynamicSparseTraining(0.01)
    nn.init.constant_(model[0].bias, 3.0)
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    method.prepare(model, example=(X,))
    assert method.left_dense == {"0.weight": "its weight is read past the layer"}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not model.training
    assert torch.equal(torch.get_rng_state(), drawn)
    loop(model, method)


class Nested(nn.Module):
    """Gives its output in a dictionary in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Past(*net())

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"logits": self.net(x)}]


def test_sparsify_takes_an_example_of_a_model_with_any_output() -> None:
    selection = dstrun.sparsify(Nested(), example=X)
    assert (list(selection.layers), list(selection.left_dense)) == (["net.2"], ["net.0.weight"])


@pytest.mark.parametrize("frozen", [False, True])
def test_plain_is_a_copy_with_the_classes_of_before(frozen: bool) -> None:
    model, method = prepared(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)))
    for threshold in method.added_parameters():
        threshold.data.fill_(0.2)
    if frozen:
        for layer in (model[0], model[2]):
            layer.mask.freeze(layer.weight)
    x = torch.randn(2, 1, 4, 4)
    for given in (model, copy.deepcopy(model)):
        sparse = method.plain(given)
        assert [type(part) for part in sparse] == [nn.Conv2d, nn.Flatten, nn.Linear]
        assert list(sparse.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert torch.equal(sparse(x), model(x))
        assert (sparse[2].weight == 0).any()
    assert model[2].weight.all(), "the model is left as it was"
    with pytest.raises(ValueError, match="no masks: give the one that was prepared"):
        method.plain(sparse)


@pytest.mark.parametrize("use", [lambda model: dstrun.shrink(model, X[:1]), dstrun.to_csr])
def test_what_wants_plain_weights_refuses_masks(use: Callable[[nn.Module], Any]) -> None:
    with pytest.raises(ValueError, match=r"this model has masks: give method\.plain\(model\)"):
        use(prepared()[0])
    use(net())


def test_a_second_call_of_a_public_name_finds_the_function_again() -> None:
    for name in dstrun.__all__:
        assert not isinstance(getattr(dstrun, name), type(re)), name
        assert getattr(dstrun, name) is getattr(dstrun, name)
    assert Path(dstrun.__file__).exists()
