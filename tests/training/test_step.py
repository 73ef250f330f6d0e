"""One update, in whole batches and in pieces."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from dstrun.config.check import check
from dstrun.methods.compiler import compiled
from dstrun.methods.dense import Dense
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.models import BUILDERS
from dstrun.training.build import make_update
from dstrun.training.compiled_step import CompiledUpdate
from dstrun.training.optim import make_optimiser
from dstrun.training.ranks import Ranks
from dstrun.training.step import Update


class Spare(nn.Module):
    """Has a layer that its forward pass does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_the_penalty_reaches_a_layer_not_called_in_pieces_as_in_whole_batches() -> None:
    for pieces in (1, 2):
        model, method = Spare(), DynamicSparseTraining(0.5)
        method.prepare(model)
        update = Update(
            model,
            method,
            make_optimiser("sgd", model, method.groups(), lr=0.1),
            accumulate=pieces,
        )
        update(torch.ones(4, 4), torch.zeros(4, dtype=torch.long), 0.1)
        threshold = model.spare.mask.threshold  # 0 + 0.1 · 0.5 · exp(−0)
        torch.testing.assert_close(threshold, torch.full((3, 1), 0.05))


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_what_is_told_of_a_batch_is_its_mean_loss_and_how_many_were_right(pieces: int) -> None:
    """In uneven pieces too: of five images, three of one class and two of another."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[1.0], [0.0]])
    method = DynamicSparseTraining(0.0)
    method.prepare(model, past=[])
    update = Update(
        model,
        method,
        make_optimiser("sgd", model, method.groups(), lr=0.1),
        accumulate=pieces,
    )
    loss, right = update(torch.ones(5, 1), torch.tensor([0, 0, 0, 1, 1]), 0.0)
    e = math.e
    assert loss.item() == pytest.approx(
        (3 * math.log(1 + 1 / e) + 2 * math.log(1 + e)) / 5, rel=1e-6
    )
    assert right.item() == 3


@pytest.mark.parametrize(
    ("of", "there", "share"), [(3, 3, 1.0), (3, 2, 2 / 3), (4, 2, 1.0), (4, 0, 0.0)]
)
def test_an_image_that_is_left_out_of_a_batch_that_both_ranks_have_counts_nothing(
    of: int, there: int, share: float
) -> None:
    """Of three images, too few for two ranks, both have all, and of four each has two."""

    class Alike(Ranks):
        def average_(self, tensors: Any) -> None: ...

    model = nn.Linear(1, 2, bias=False)
    model.weight.data.zero_()
    method = DynamicSparseTraining(0.0)
    method.prepare(model, past=[])
    optimiser = make_optimiser("sgd", model, method.groups(), lr=0.1)
    update = Update(model, method, optimiser, ranks=Alike(0, 2))
    loss, _ = update(torch.ones(there, 1), torch.zeros(there, dtype=torch.long), 0.0, of)
    assert loss.item() == pytest.approx(share * math.log(2))


def test_a_share_of_each_label_is_spread_over_all_classes() -> None:
    """Logits 0 and ln 3 have probabilities 1/4 and 3/4. The label 1 is 0.8 + 0.2 / 2 = 0.9 of it:
    − 0.1 ln 1/4 − 0.9 ln 3/4; the gradient of the logits is 1/4 − 0.1 and 3/4 − 0.9.
    """
    model = nn.Linear(1, 2, bias=False)
    model.weight.data.copy_(torch.tensor([[0.0], [math.log(3)]]))
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    config = check({"schedule.label_smoothing": 0.2})
    update = make_update(config, model, Dense(), sgd, torch.device("cpu"))
    loss, _ = update(torch.ones(1, 1), torch.ones(1).long(), 1.0)
    assert float(loss) == pytest.approx(-0.1 * math.log(1 / 4) - 0.9 * math.log(3 / 4))
    moved = (before - model.weight.detach()).flatten().tolist()
    assert moved == pytest.approx([0.15, -0.15])


@pytest.mark.parametrize(
    ("clip", "pieces", "moved"), [(0.0, 1, 0.05), (0.2, 1, 0.02), (0.2, 2, 0.02), (9.0, 1, 0.05)]
)
def test_the_gradient_of_a_threshold_is_bounded(clip: float, pieces: int, moved: float) -> None:
    """Of one that the penalty alone moves: −0.5, at a learning rate of 0.1. Weights' are as they
    were.
    """
    bound, free = Spare(), Spare()
    free.load_state_dict(bound.state_dict())
    for model, threshold_clip in ((bound, clip), (free, 0.0)):
        method = DynamicSparseTraining(0.5, threshold_clip=threshold_clip)
        method.prepare(model)
        optimiser = make_optimiser("sgd", model, method.groups(), lr=0.1)
        update = Update(model, method, optimiser, accumulate=pieces)
        update(torch.ones(4, 4), torch.zeros(4, dtype=torch.long), 0.1)
    torch.testing.assert_close(bound.spare.mask.threshold, torch.full((3, 1), moved))
    assert torch.equal(bound.used.weight, free.used.weight)


def test_a_thresholds_gradient_is_bounded_before_the_norm_of_all_is() -> None:
    """−1 and −1/2 become −1/2 both, and then, of norm 1/√2, half of 1/√2 each. One class has no
    gradient of its own.
    """
    model = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    method = DynamicSparseTraining(1.0, floor=0.0, exclude=["1"], threshold_clip=0.5)
    method.prepare(model, past=[])
    (threshold,) = method.added_parameters()
    before = torch.tensor([[1.0], [2.0]]).log()
    threshold.data.copy_(before)
    optimiser = make_optimiser("sgd", model, method.groups(), lr=1.0)
    Update(model, method, optimiser, clip=0.5)(torch.ones(2, 1), torch.zeros(2).long(), 1.0)
    torch.testing.assert_close(threshold.detach() - before, torch.full((2, 1), 0.5 / 2**0.5))


class Twice(nn.Module):
    """Adds two parameters, to which autograd gives one tensor as the gradient of both."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.a, self.b = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + (self.a + self.b)


@pytest.mark.parametrize(("pieces", "clip"), [(1, 0.01), (2, 0.0), (2, 0.01)])
def test_a_gradient_that_two_parameters_share_counts_once_for_each(
    pieces: int, clip: float
) -> None:
    shared, parted = Twice(), Twice()
    parted.load_state_dict(shared.state_dict())
    parted.forward = lambda x: parted.layer(x) + parted.a + 1.0 * parted.b  # type: ignore[method-assign]
    images, labels = torch.arange(16.0).view(4, 4) / 16, torch.tensor([0, 1, 2, 0])
    for model in (shared, parted):
        method = DynamicSparseTraining(0.5)
        method.prepare(model)
        optimiser = make_optimiser(
            "sgd", model, method.groups(), lr=0.1, momentum=0.9, nesterov=True
        )
        Update(model, method, optimiser, accumulate=pieces, clip=clip)(images, labels, 0.1)
    for name, parameter in shared.named_parameters():
        torch.testing.assert_close(parameter, parted.get_parameter(name))


@pytest.mark.parametrize(
    ("pieces", "target", "floor"), [(1, 0.0, 0.5), (2, 0.0, 0.5), (2, 0.3, 0.5), (1, 0.3, 0.0)]
)
def test_compiled_masks_have_one_guard_an_update(
    monkeypatch: pytest.MonkeyPatch, pieces: int, target: float, floor: float
) -> None:
    """In pieces, and where an epoch's end takes the penalty away; calls that would be compiled are
    made as they are.
    """
    monkeypatch.setattr("dstrun.methods.dst.compiled_masks.compiled", lambda function, _: function)
    first = Spare()
    trained = {}
    for compile in ("off", "mask"):
        model = Spare()
        model.load_state_dict(first.state_dict())
        method = DynamicSparseTraining(
            0.5, floor=floor, guard=0.9, target_density=target, compile=compile
        )
        method.prepare(model)
        method.begin(20)
        update = Update(
            model,
            method,
            make_optimiser("sgd", model, method.groups(), lr=0.1),
            accumulate=pieces,
        )
        for step in range(12):
            method.before_step(step)
            update(torch.ones(4, 4), torch.arange(4) % 3, 0.1)
            if step % 5 == 4:
                method.penalty()
        trained[compile] = model
    assert trained["off"].used.mask.threshold.abs().max().item() > 0.1
    for name, parameter in trained["off"].named_parameters():
        torch.testing.assert_close(trained["mask"].get_parameter(name), parameter)


@pytest.mark.parametrize("kind", [Twice, Spare])
@pytest.mark.parametrize(
    ("optimiser", "options"),
    [
        ("sgd", {}),
        ("sgd", {"threshold_clip": 0.1}),
        ("sgd", {"accumulate": 2}),
        ("sgd", {"clip": 0.2}),
        ("adam", {}),
        ("adam", {"accumulate": 2, "threshold_clip": 0.1}),
    ],
)
def test_an_update_made_to_be_compiled_is_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], optimiser: str, options: dict[str, Any]
) -> None:
    """What would be compiled is run as it is written; the last batch is smaller. Compiled:
    test_compile.py.
    """
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr("dstrun.methods.dst.method.compiled", lambda function, _: function)
    bound = options.get("threshold_clip", 0.0)
    options = {name: value for name, value in options.items() if name != "threshold_clip"}
    first, images, labels = kind(), torch.arange(16.0).view(4, 4) / 16, torch.tensor([0, 1, 2, 0])
    trained: list[tuple[list[Tensor], dict[str, Tensor]]] = []
    for compile in ("off", "step"):
        model = copy.deepcopy(first)
        method = DynamicSparseTraining(
            0.5, floor=0.5, guard=0.9, target_density=0.3, compile=compile, threshold_clip=bound
        )
        method.prepare(model)
        method.begin(20)
        own = make_optimiser(optimiser, model, method.groups(), lr=0.1, weight_decay=0.1)
        sizes = {} if compile == "off" else {"batch_size": 4}
        update = (Update if compile == "off" else CompiledUpdate)(
            model, method, own, **sizes, **options
        )  # type: ignore[call-overload]
        told: list[Tensor] = []
        for step, size in enumerate((4, 4, 4, 3)):
            method.before_step(step)
            told += update(images[:size], labels[:size], 0.1 / (step + 1))
        trained.append((told, dict(model.named_parameters())))
    (told, plain), (told_too, compiled_one) = trained
    torch.testing.assert_close(told_too, told)
    for name, parameter in plain.items():
        torch.testing.assert_close(compiled_one[name], parameter)
    weight = "layer.weight" if kind is Twice else "used.weight"
    assert not torch.equal(plain[weight], first.get_parameter(weight))


@pytest.mark.parametrize(
    ("options", "sizes", "calls"),
    [
        ({}, (4, 3), ["_update"]),
        ({"accumulate": 2}, (4, 3), ["_gradients"] * 3),
        ({"clip": 1.0}, (4, 3), ["_gradients"]),
    ],
)
def test_whole_batches_are_compiled_and_smaller_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], sizes: tuple[int, ...], calls: list
) -> None:
    """Of three images there is one piece, which is no smaller than those of a whole batch."""
    called: list[str] = []

    def compiler(function: Callable, **_: object) -> Callable:
        def call(*args: Any) -> Any:
            called.append(function.__name__)
            return function(*args)

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    model, method = nn.Linear(4, 3), Dense()
    method.prepare(model)
    sgd = make_optimiser("sgd", model, [], lr=0.1)
    update = CompiledUpdate(model, method, sgd, 4, **options)
    for size in sizes:
        update(torch.ones(size, 4), torch.zeros(size, dtype=torch.long), 0.1)
    assert called == calls


def test_no_gradient_of_another_step_is_taken_for_that_of_a_compiled_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second batch is smaller, so it leaves gradients; the third is compiled whole."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    model, method = nn.Sequential(nn.Linear(4, 3)), Dense()
    method.prepare(model)
    update = CompiledUpdate(model, method, make_optimiser("sgd", model, [], lr=0.1), 4)
    norms = []
    for size in (4, 3, 4):
        update(torch.ones(size, 4), torch.zeros(size, dtype=torch.long), 0.1)
        norms.append(method.measure()[0].gradient_norm)
    assert [norm is None for norm in norms] == [True, False, True]


class Turned(nn.Module):
    """Uses its weight transposed and copied, so autograd returns its gradient transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.ones(3, 4)), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x @ self.weight.t().contiguous())


def test_gradients_of_a_compiled_call_have_the_strides_of_their_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    model, method = Turned(), Dense()
    method.prepare(model)
    adam = make_optimiser("adam", model, [], lr=0.1)
    CompiledUpdate(model, method, adam, 4)(torch.ones(4, 4), torch.arange(4) % 3, 0.1)
    assert model.weight.grad is not None
    assert model.weight.grad.stride() == model.weight.stride() == (4, 1)


def test_parameters_that_are_not_trained_do_not_shift_what_a_method_reads() -> None:
    """The penalty alone moves the threshold of the layer that is not called: −0.5, bounded."""
    model, method = Spare(), DynamicSparseTraining(0.5, threshold_clip=0.1)
    model.used.bias.requires_grad_(False)
    method.prepare(model, past=[])
    update = Update(model, method, make_optimiser("sgd", model, method.groups(), lr=0.1))
    update(torch.ones(4, 4), torch.zeros(4, dtype=torch.long), 0.1)
    threshold = model.spare.mask.threshold
    torch.testing.assert_close(threshold, torch.full((3, 1), 0.01))


def test_what_the_compiler_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for these shapes alone, and whole or not at all."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: asked.append(options) or function
    )
    model, method = Spare(), DynamicSparseTraining(0.5)
    method.prepare(model)
    CompiledUpdate(model, method, make_optimiser("sgd", model, method.groups(), lr=0.1), 4)
    compiled(lambda: None, torch.device("cpu"))
    whole_or_not_at_all = {"dynamic": False, "fullgraph": True, "options": {}}
    assert asked == [whole_or_not_at_all] * 3


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_run_ends_at_its_target(steps: int) -> None:
    model = Spare()
    method = DynamicSparseTraining(0.01, target_density=0.25, threshold_clip=0.1)
    method.prepare(model)
    method.begin(steps)
    update = Update(
        model,
        method,
        make_optimiser("sgd", model, method.groups(), lr=0.1),
    )
    for step in range(steps):
        method.before_step(step)
        update(torch.ones(4, 4), torch.arange(4) % 3, 0.1)
    assert (
        abs(sum(layer.kept for layer in method.measure()) - 6) <= 1
    )  # of 24; one may stand at the threshold itself


class Checkpointed(nn.Module):
    """Computes its first layers again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Sequential(nn.Linear(28, 8), nn.ReLU()), nn.Linear(8 * 28, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(
            checkpoint(self.first, x.detach().requires_grad_(), use_reentrant=True).flatten(1)
        )


@pytest.mark.parametrize(
    ("builder", "optimiser", "pieces", "layout"),
    [
        ("lenet_300_100", "sgd", 1, torch.contiguous_format),
        ("lenet5", "adam", 3, torch.channels_last),
        ("lstm", "adam", 1, torch.contiguous_format),
        ("checkpointed", "sgd", 2, torch.contiguous_format),
    ],
)
def test_updates_are_those_of_a_loop_in_plain_torch(
    builder: str, optimiser: str, pieces: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"hidden": 8} if builder == "lstm" else {}
    model = (
        Checkpointed()
        if builder == "checkpointed"
        else BUILDERS[builder]((1, 28, 28), 10, **options)
    )
    batches = [(torch.rand(9, 1, 28, 28), torch.randint(10, (9,))) for _ in range(3)]
    trained = {}
    for kind in ("update", "plain torch"):
        own, method = copy.deepcopy(model).to(memory_format=layout), DynamicSparseTraining(1e-3)
        method.prepare(own)
        own_optimiser = make_optimiser(optimiser, own, method.groups(), lr=0.01)
        update = Update(own, method, own_optimiser, accumulate=pieces)
        for images, labels in batches:
            if kind == "update":
                update(images, labels, 0.01)
                continue
            own_optimiser.zero_grad()
            for place, (x, y) in enumerate(
                zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True)
            ):
                loss = F.cross_entropy(own(x), y) * (len(x) / len(images))
                (loss if place else loss + 1e-3 * method.penalty()).backward()
            own_optimiser.step()
            method.after_step()
        trained[kind] = dict(own.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(trained["update"][name], trained["plain torch"][name]), name
        assert not torch.equal(trained["update"][name], parameter), f"{name} is trained"


@pytest.mark.parametrize(
    ("of", "found", "weight"),
    [(8, 4, 1), (8, 3, 3 / 4), (7, 4, 8 / 7), (3, 3, 1), (3, 2, 2 / 3)],
    ids=["half", "half, an image left out", "larger half", "too few for two", "with one left out"],
)
def test_a_ranks_part_counts_by_its_share_of_the_batch(
    monkeypatch: pytest.MonkeyPatch, of: int, found: int, weight: float
) -> None:
    """Of two ranks, whose mean is the sum over the batch divided by `of`."""
    monkeypatch.setattr(Ranks, "average_", lambda ranks, tensors: None)
    gradients = []
    for ranks in (Ranks(0, 2), Ranks()):
        torch.manual_seed(0)
        model, method = nn.Linear(4, 3), Dense()
        method.prepare(model)
        optimiser = make_optimiser("sgd", model, method.groups(), lr=0.1)
        update = Update(model, method, optimiser, ranks=ranks)
        update(torch.eye(4)[:found], torch.arange(found) % 3, 0.1, of=of if ranks.size > 1 else 0)
        gradients.append(model.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1] * weight)
