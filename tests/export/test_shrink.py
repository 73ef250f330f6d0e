"""Shrunk networks, by hand for small ones and compared with the original; CSR layers; packing."""

import copy
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.export.csr import CSRConv2d, CSRLinear, to_csr
from dstrun.export.packing import pack, packed_size, unpack
from dstrun.export.shrink import CannotShrinkError, shrink
from dstrun.models import BUILDERS
from tests.helpers.convolutions import MIRRORED_OR_GROUPED, OPTIONS

NETWORKS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "lenet_300_100": ((1, 28, 28), {}),
    "lenet5": ((1, 28, 28), {}),
    "vgg": ((3, 32, 32), {"depth": 11}),
    "wide_resnet": ((3, 16, 16), {"depth": 10, "width": 2}),
    "resnet50": ((3, 32, 32), {}),
    "lstm": ((1, 8, 8), {"hidden": 16}),
}
SHRINKABLE = [name for name in NETWORKS if name != "lstm"]


def sparse(name: str, density: float, dead: float) -> tuple[nn.Module, Tensor]:
    """Return a network with random weights, some rows set to zero and batch norms not at their
    initial values, and images for it.
    """
    shape, args = NETWORKS[name]
    torch.manual_seed(0)
    model = BUILDERS[name](shape, 10, **args).eval()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.data *= torch.rand_like(module.weight) < density
            module.weight.data[torch.rand(len(module.weight)) < dead] = 0
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(std=0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model, torch.randn(3, *shape)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


SHARES = [(1, 0), (0.5, 0.3), (0.05, 0.5), (0.002, 0.9), (0, 1)]


@pytest.mark.parametrize(
    ("name", "density", "dead"),
    [
        pytest.param(name, *shares, marks=[pytest.mark.slow] * (name == "resnet50"))
        for name in SHRINKABLE
        for shares in SHARES
    ],
)
@torch.no_grad()
def test_outputs_are_those_of_the_whole_network(name: str, density: float, dead: float) -> None:
    model, images = sparse(name, density, dead)
    smaller = shrink(model, torch.zeros(1, *images.shape[1:]))
    torch.testing.assert_close(smaller(images), model(images), rtol=1e-4, atol=1e-6)
    share = parameters(smaller) / parameters(model)
    assert share == 1 if density == 1 else share < (1 if density == 0.5 else 0.5)


class Chain(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = torch.tensor(weight).float(), torch.tensor(bias).float()
    return layer


def weights(model: nn.Module) -> list[list[list[float]]]:
    return [parameter.tolist() for parameter in model.parameters()]


@pytest.mark.parametrize(("cost", "first"), [(100, [1, 1, 0, 0, 0]), (1.5, [1, 1]), (1, [1, 1])])
def test_a_dead_neuron_becomes_a_bias_and_an_unread_one_nothing(
    cost: float, first: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shrink three hidden neurons: a live one, one without weights that gives relu(2) = 2 to the
    next layer, and one that nothing reads.

    y = 5·h₁ + 3·2 + 1; two of the five inputs are read, and are selected unless that costs more
    than the other three.
    """
    monkeypatch.setattr("dstrun.export.channels.SELECTION_COST", cost)
    model = Chain(
        linear([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], [0.5, 2, 3]),
        nn.ReLU(),
        linear([[5, 3, 0]], [1]),
    )
    smaller = shrink(model, torch.zeros(1, 5))
    assert weights(smaller) == [[first], [0.5], [[5]], [7]]
    assert smaller(torch.tensor([[1.0, 2.0, 9.0, 9.0, 9.0]])).tolist() == [[24.5]]


def test_a_dead_filter_before_a_batch_norm_is_a_map_for_a_convolution_that_pads() -> None:
    """Shrink a constant 1 of a 3×3 image: 4 taps read it in a corner, 6 at an edge, 9 inside."""
    first, norm, second = (
        nn.Conv2d(1, 2, 1, bias=False),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 1, 3, padding=1, bias=False),
    )
    first.weight.data = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    norm.bias.data = torch.tensor([0.0, 1.0])
    second.weight.data = torch.ones(1, 2, 3, 3)
    model = Chain(first, norm, second).eval()
    smaller = shrink(model, torch.zeros(1, 1, 3, 3))
    assert parameters(smaller) == 1 + 2 + 9
    assert smaller(torch.zeros(1, 1, 3, 3))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_a_convolution_without_padding_takes_it_into_its_bias() -> None:
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 2)
    first.weight.data = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    first.bias.data = torch.tensor([0.0, 3.0])
    second.weight.data, second.bias.data = torch.ones(1, 2, 2, 2), torch.tensor([0.5])
    smaller = shrink(Chain(first, second), torch.zeros(1, 1, 3, 3))
    assert weights(smaller)[-1] == [4 * 3 + 0.5]
    assert not list(smaller.buffers())


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_constants_go_through_convolutions_of_any_kind(name: str, normed: bool) -> None:
    """Shrink six channels of which two are constant, one at 0 and one above it, the latter being
    all that an output of the middle layer reads.

    That row is constant except at padded borders, which the last convolution, padded too, reads.
    """
    understood = name not in MIRRORED_OR_GROUPED
    torch.manual_seed(0)
    first, last = nn.Conv2d(2, 6, 3), nn.Conv2d(4, 3, 3, padding=1)
    middle = nn.Conv2d(6, 4, **{"kernel_size": 3, **OPTIONS[name]})
    norm = nn.BatchNorm2d(6, eps=0.5) if normed else nn.Identity()
    first.weight[[1, 4]] = 0
    for tensor in (first.bias, *norm.parameters()):
        tensor.uniform_(0.5, 1.5)
    (norm.bias if normed else first.bias)[4] = -9
    group = 6 // middle.groups
    middle.weight[1, [at for at in range(group) if at != 1]] = 0
    model, images = (
        Chain(first, norm, nn.ReLU(), middle, nn.ReLU(), last).eval(),
        torch.randn(3, 2, 9, 11),
    )
    smaller = shrink(model, images[:1])
    torch.testing.assert_close(smaller(images), model(images), rtol=1e-5, atol=1e-6)
    shapes = [
        [parameter.shape for parameter in network.parameters()] for network in (smaller, model)
    ]
    assert (shapes[0] != shapes[1]) == understood


class Residual(nn.Module):
    """Network of two channels; the second is constant in the branch and, where `dead`, the first in
    the stem.
    """

    def __init__(self, dead: bool) -> None:
        super().__init__()
        self.stem, self.branch, self.head = (
            nn.Conv2d(1, 2, 1),
            nn.Conv2d(2, 2, 1),
            nn.Linear(2, 1),
        )
        self.branch.weight.data[1], self.branch.bias.data[1] = 0, 0.25
        if dead:
            self.stem.weight.data[0], self.stem.bias.data[0] = 0, 0.5

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.branch(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize(("dead", "lost"), [(False, 2 + 1), (True, 2 + 1 + 1 + 2)])
@torch.no_grad()
def test_a_branch_that_has_lost_channels_is_added_to_those_that_it_has(
    dead: bool, lost: int
) -> None:
    torch.manual_seed(0)
    model, images = Residual(dead), torch.randn(5, 1, 3, 3)
    smaller = shrink(model, images[:1])
    assert parameters(smaller) == parameters(model) - lost
    torch.testing.assert_close(smaller(images), model(images))


@torch.no_grad()
def test_a_dead_filter_is_taken_out_behind_a_mean_and_a_flatten() -> None:
    """Shrink two filters: the first gives 3 everywhere, 3·(5 + 6) to the next layer, which reads
    one place of the second.
    """
    first, last = nn.Conv2d(1, 2, 1), nn.Linear(4, 1)
    first.weight.data, first.bias.data = (
        torch.tensor([0.0, 1.0]).view(2, 1, 1, 1),
        torch.tensor([3.0, 0.5]),
    )
    last.weight.data, last.bias.data = torch.tensor([[5.0, 6.0, 0.0, 8.0]]), torch.tensor([0.25])
    for pool in (nn.AvgPool2d((1, 2)), nn.MaxPool2d((1, 2))):
        smaller = shrink(Chain(first, pool, nn.Flatten(), last), torch.zeros(1, 1, 2, 2))
        assert weights(smaller) == [[[[[1]]]], [0.5], [[8]], [0.25 + 3 * 11]]


@torch.no_grad()
def test_what_is_not_known_keeps_its_channels() -> None:
    """Keep all channels of a grouped convolution, a softmax and a view, dead or not."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.grouped = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2)
            self.last = nn.Linear(4, 3)
            self.first.weight.data[2] = 0

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.softmax(self.grouped(self.first(x)), 1).mean((2, 3)).view(-1, 4))

    model, images = Odd(), torch.randn(3, 1, 2, 2)
    torch.testing.assert_close(shrink(model, images[:1])(images), model(images))


def made(**modules: nn.Module) -> nn.Module:
    """Return a module of these, initialised by one seed; the first row of each weight is dead."""
    model = nn.Module()
    for name, module in modules.items():
        model.add_module(name, module)
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.dim() > 1:  # type: ignore[union-attr]
            module.weight.data[0] = 0  # type: ignore[index,union-attr]
    return model.eval()


def pooled(maps: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, 1).flatten(1)


C, L = (lambda: nn.Conv2d(2, 2, 1)), (lambda: nn.Linear(2, 2))
ODD: dict[str, tuple[Any, Any]] = {
    "a layer that is called twice": (
        {"c": L, "b": L},
        lambda m, x: m.c(F.relu(m.b(F.relu(m.c(pooled(x)))))),
    ),
    "a norm that is called twice": (
        {"n": lambda: nn.BatchNorm2d(2), "c": C},
        lambda m, x: m.n(m.c(m.n(x))),
    ),
    "in place, read again": (
        {"c": C, "r": lambda: nn.ReLU(True)},
        lambda m, x: (lambda y: m.r(y) + y)(m.c(x)),
    ),
    "in place, unread": ({"c": C}, lambda m, x: (lambda y: (y.relu_(), y)[1])(m.c(x))),
    "a dead branch before one in place": (
        {"c": C, "d": lambda: nn.Conv2d(2, 2, 1, bias=False), "r": lambda: nn.ReLU(True)},
        lambda m, x: (lambda y: m.r(y + 0 * m.d(y) + m.d(y)) + y)(m.c(x)),
    ),
    "x + x": ({"c": C, "d": C}, lambda m, x: m.d((lambda y: y + y)(m.c(x)))),
    "a pool with a divisor": (
        {"c": C, "p": lambda: nn.AvgPool2d(2, divisor_override=1)},
        lambda m, x: m.c(m.p(m.c(x))),
    ),
    "a padded average": (
        {"c": C, "p": lambda: nn.AvgPool2d(3, 1, padding=1), "d": C},
        lambda m, x: m.d(m.p(m.c(x))),
    ),
    "a relu that is none": ({"c": C, "relu": lambda: nn.PReLU(2)}, lambda m, x: m.relu(m.c(x))),
    "a weight that is read directly": (
        {"c": L},
        lambda m, x: F.linear(F.relu(m.c(pooled(x))), m.c.weight.t()),
    ),
    "a pool over three dimensions": ({"p": lambda: nn.MaxPool2d(2)}, lambda m, x: m.p(x[:, 0])),
    "channels put together": ({"c": C, "d": C}, lambda m, x: torch.cat([m.c(x), m.d(x)], 1)),
    "a method": ({"c": C, "d": C}, lambda m, x: m.d(m.c(x).relu())),
    "an average of some dimensions": ({"p": lambda: nn.AvgPool2d(2)}, lambda m, x: m.p(x[:, 0])),
    "a flatten of some dimensions": (
        {"f": lambda: nn.Flatten(2), "c": C},
        lambda m, x: m.f(m.c(x)),
    ),
    "a layer over three dimensions": ({"c": L}, lambda m, x: m.c(x[..., 0].transpose(1, 2))),
    "a norm over three dimensions": ({"n": lambda: nn.BatchNorm1d(2)}, lambda m, x: m.n(x[..., 0])),
    "a product": ({"c": C, "d": C}, lambda m, x: m.c(x) * m.d(x)),
    "an addition with a factor": (
        {"c": C, "d": C},
        lambda m, x: torch.add(m.c(x), m.d(x), alpha=2),
    ),
}


@pytest.mark.parametrize("name", ODD)
@torch.no_grad()
def test_odd_models_are_right_or_refused(name: str) -> None:
    modules, forward = ODD[name]
    torch.manual_seed(0)
    model = made(**{key: make() for key, make in modules.items()})
    kind = type("Odd", (nn.Module,), {"forward": lambda self, x: forward(self, x)})
    model.__class__ = kind
    images = torch.randn(3, 2, 4, 4)
    smaller: nn.Module | None = None
    with suppress(*[CannotShrinkError] * name.startswith("in place")):
        smaller = shrink(model, torch.zeros(1, 2, 4, 4))
    if smaller is not None:
        torch.testing.assert_close(smaller(images.clone()), model(images.clone()))


def test_examples_and_types_that_do_not_fit_are_refused_in_a_line() -> None:
    with pytest.raises(
        CannotShrinkError, match=r"^the model does not accept the example, 1×3×4×4 "
    ):
        shrink(Chain(nn.Conv2d(2, 2, 1)), torch.zeros(1, 3, 4, 4))
    with pytest.raises(CannotShrinkError, match=r"^expected a model in float32 on the CPU$"):
        shrink(Chain(nn.Conv2d(2, 2, 1)).double(), torch.zeros(1, 2, 4, 4))


def test_what_cannot_be_traced_is_refused_in_a_line() -> None:
    model, images = sparse("lstm", 0.1, 0.1)
    with pytest.raises(
        CannotShrinkError,
        match=r"^torch.fx cannot trace this model \(Proxy [^.]*\), and nothing can be removed from "
        r"the modules inside it$",
    ):
        shrink(model, images[:1])


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "resnet50"])
@torch.inference_mode()
def test_sparse_kernels_give_the_same_outputs(name: str) -> None:
    model, images = sparse(name, 0.05, 0.3)
    made = to_csr(copy.deepcopy(model))
    assert any(isinstance(module, CSRLinear | CSRConv2d) for module in made.modules())
    for batch in (images, images[:1]):
        torch.testing.assert_close(made(batch), model(batch), rtol=1e-4, atol=1e-6)


def test_a_sparse_layer_by_hand() -> None:
    """Compute 2·3 + 1 = 7 and a dead row's bias for a row, two rows, a sequence of two, and every
    other column.
    """
    layer = to_csr(linear([[0.0, 2.0], [0.0, 0.0]], [1.0, -1.0]))
    assert isinstance(layer, CSRLinear)
    rows = torch.tensor([[5.0, 3.0], [7.0, 4.0]])
    assert layer(rows[0]).tolist() == [7, -1]
    assert layer(rows[:1]).tolist() == [[7, -1]]
    assert layer(rows).tolist() == [[7, -1], [9, -1]]
    assert layer(rows[None]).tolist() == [[[7, -1], [9, -1]]]
    assert torch.equal(
        layer(torch.arange(24.0).view(2, 3, 2, 2)),
        layer(torch.arange(24.0).view(12, 2)).view(2, 3, 2, 2),
    )
    assert layer(rows.repeat_interleave(2, 1)[:, ::2]).tolist() == [[7, -1], [9, -1]]
    assert layer(rows[:0]).shape == (0, 2)


def test_a_hook_keeps_its_layer() -> None:
    layer = linear([[0.0, 2.0]], [1.0])
    layer.register_forward_hook(lambda *_: None)
    assert to_csr(layer) is layer


def test_a_layer_that_is_not_sparse_stays() -> None:
    half = linear([[1.0], [0.0]], [0.0, 0.0])
    model = to_csr(Chain(linear([[1.0, 1.0]], [0.0]), linear([[0.0]], [1.0]), half))
    assert [type(layer) for layer in model.layers] == [nn.Linear, CSRLinear, CSRLinear]  # type: ignore[arg-type,union-attr]


def test_gaps_by_hand() -> None:
    """Pack values at places 1, 3 and 3 + 600: gaps of 2 (from −1), 2 and 600 = 2 · 255 + 90."""
    weight = torch.zeros(2, 400)
    weight.view(-1)[[1, 3, 603]] = torch.tensor([0.5, -1.0, 2.0])
    parts = pack(weight)
    assert (parts["values"].tolist(), parts["gaps"].tolist()) == (
        [0.5, -1, 2],
        [2, 2, 255, 255, 90],
    )
    assert torch.equal(unpack(parts), weight)


@pytest.mark.parametrize("density", [0, 1e-4, 0.01, 0.02, 0.1, 0.7, 1])
@pytest.mark.parametrize("shape", [(300, 784), (10,), (8, 4, 3, 3), ()])
def test_packed_and_unpacked_is_the_same(shape: tuple[int, ...], density: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape) * (torch.rand(shape) < density)
    parts = pack(weight)
    assert torch.equal(unpack(parts), weight)
    assert packed_size(parts) <= 4 * weight.numel() or not shape


def test_a_gap_of_exactly_the_widest_word() -> None:
    for place in (253, 254, 255, 509, 510):
        weight = torch.zeros(600)
        weight[place] = 1
        assert torch.equal(unpack(pack(weight)), weight)


def test_parts_that_do_not_belong_together_are_refused() -> None:
    parts = {
        "values": torch.ones(2),
        "gaps": torch.tensor([1], dtype=torch.uint8),
        "shape": torch.tensor([4]),
    }
    with pytest.raises(ValueError, match="2 values and 1 gaps"):
        unpack(parts)
    parts = {
        "values": torch.ones(1),
        "gaps": torch.tensor([9], dtype=torch.uint8),
        "shape": torch.tensor([4]),
    }
    with pytest.raises(ValueError, match=r"do not make a weight of \[4\]"):
        unpack(parts)
    parts = {
        "values": torch.ones(2),
        "gaps": torch.tensor([2, 0], dtype=torch.uint8),
        "shape": torch.tensor([4]),
    }
    with pytest.raises(ValueError, match="2 values and 2 gaps"):  # at one place
        unpack(parts)
    parts = {
        "values": torch.ones(1),
        "gaps": torch.tensor([0], dtype=torch.uint8),
        "shape": torch.tensor([4]),
    }
    with pytest.raises(ValueError, match=r"do not make a weight of \[4\]"):
        unpack(parts)  # it would lie at place −1
