"""The base classes of methods, and the method of a config: what is asked of it, in which words."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.config.groups import packaged_folder
from dstrun.config.yaml_files import read_yaml
from dstrun.methods import METHODS, method_class
from dstrun.methods.base import MaskedMethod, Method
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.masked_layers import load_plain
from dstrun.methods.weight_mask import WeightMask, compute_dtype, is_of_mask, saved_masks
from dstrun.runs.method import make_method
from dstrun.training.step import Update
from tests.helpers.methods import LEAST


def two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"reg.alpha": 5e-4}, "dst, α = 5e-4, 4 thresholds (one per neuron)"),
        (
            {"reg.alpha": 1e-3, "reg.granularity": "layer"},
            "dst, α = 1e-3, 2 thresholds (one per layer)",
        ),
        (
            {"reg.target_density": 0.05},
            "dst, target density 5.00%, α adjusted from 5e-4 on, 4 thresholds (one per neuron)",
        ),
        (
            {"reg.target_density": 0.05, "reg.exclude": ["1"]},
            "dst, target density 5.00% of the masked layers, α adjusted from 5e-4 on, "
            "2 thresholds (one per neuron)",
        ),
        (
            {"schedule.threshold_clip": 0.5},
            "dst, α = 5e-4, 4 thresholds (one per neuron), gradients bounded at ±0.5",
        ),
        (
            {"reg.target_density": 0.05, "reg.granularity": "layer"},
            "dst, target density 5.00%, α adjusted from 5e-4 on, 2 thresholds (one per layer), "
            "gradients bounded at ±0.1",
        ),
        ({"reg.method": "dense"}, "dense: no masks, the baseline"),
    ],
)
def test_a_method_describes_what_it_is_set_to(options: dict[str, Any], line: str) -> None:
    method = make_method(check(options))
    method.prepare(two_layers(), past=[])
    assert method.describe() == line


@pytest.mark.parametrize(
    ("between", "clip", "bound"),
    [
        (nn.Identity(), 0.0, []),
        (nn.BatchNorm1d(2), 0.0, [0.1]),
        (nn.BatchNorm1d(2), 0.3, [0.3]),
        (nn.Identity(), 0.3, [0.3]),
    ],
)
def test_with_a_target_gradients_are_bounded_behind_batch_norm_or_as_asked(
    between: nn.Module, clip: float, bound: list[float]
) -> None:
    method = DynamicSparseTraining(0.1, target_density=0.2, threshold_clip=clip)
    model = nn.Sequential(nn.Linear(3, 2), between, nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    method.prepare(model, past=[])
    assert method.reads_gradients == bool(bound)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    gradients = {name: torch.full_like(value, 9.0) for name, value in trained.items()}
    for limit in bound:
        method.on_gradients(list(gradients.values()))
        for name, gradient in gradients.items():
            expected = limit if name.endswith("threshold") else 9.0
            assert gradient.unique().tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize("name", METHODS)
def test_the_defaults_of_a_class_are_the_authors_as_in_its_yaml_file(name: str) -> None:
    defaults: dict[str, Any] = {}
    for kind in reversed(method_class(name).__mro__):
        for parameter in inspect.signature(kind.__init__).parameters.values():
            defaults[parameter.name] = parameter.default
    file = packaged_folder("conf") / "reg" / f"{name}.yaml"
    for key, value in read_yaml(file, "reg").items():
        assert key == "method" or defaults[key] == value, key


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_made_by_its_name(name: str) -> None:
    assert type(make_method(check(LEAST[name]))) is method_class(name)


class EveryOther(WeightMask):
    """Keeps every second weight of a row."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        keep = torch.arange(weight.numel()).view_as(weight) % 2 == 0
        self.register_buffer("keep", keep)

    def forward(self, weight: Tensor) -> Tensor:
        return weight.where(self.kept(weight), 0.0).to(compute_dtype(weight))

    def kept(self, weight: Tensor) -> Tensor:
        return self.get_buffer("keep")


class Static(MaskedMethod):
    """A sibling of Dynamic Sparse Training: it says how a mask is made, and skips odd steps."""

    reads_gradients = True
    metric_columns = ("steps",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[float]] = []

    def make_mask(self, weight: Tensor) -> WeightMask:
        return EveryOther(weight)

    def on_gradients(self, gradients: Any) -> bool:
        self.seen.append([float(gradient.sum()) for gradient in gradients])
        return len(self.seen) % 2 == 1


def test_a_sibling_overrides_what_it_needs_and_is_measured() -> None:
    """6 and 4 weights, of which every second is kept; no threshold to report."""
    model, method = two_layers(), Static()
    method.prepare(model)
    figures = method.measure()
    assert [(layer.kept, layer.total, layer.threshold_mean) for layer in figures] == [
        (3, 6, None),
        (2, 4, None),
    ]
    assert (int(method.kept()), method.metrics(), method.added_parameters()) == (
        5,
        {"penalty": 0.0},
        [],
    )
    assert [layer.churn for layer in figures] == [0.5, 0.5]
    assert [layer.churn for layer in method.measure()] == [0.0, 0.0]


def test_churn_counts_from_the_measurement_in_the_state() -> None:
    method, resumed = Static(), Static()
    for one in (method, resumed):
        one.prepare(two_layers())
    method.measure()
    resumed.load_state_dict(method.state_dict())
    assert [layer.churn for layer in resumed.measure()] == [0.0, 0.0]


@pytest.mark.parametrize("kind", [Method, Static])
def test_a_layer_known_to_be_read_past_its_mask_is_left_dense(kind: type[Method]) -> None:
    method = kind()
    method.prepare(two_layers(), past=["0"])
    assert [layer.layer for layer in method.measure()] == ["1"]
    assert list(method.left_dense) == ["0.weight"]


def test_a_method_may_read_gradients_and_leave_a_step_out() -> None:
    """Gradients are complete: summed over both pieces; the second step moves nothing."""
    torch.manual_seed(0)
    model, method = two_layers(), Static()
    method.prepare(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    update = Update(model, method, sgd, accumulate=2)
    images, labels = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    before = [parameter.clone() for parameter in model.parameters()]
    update(images, labels, 0.1)
    whole = [float(parameter.grad.sum()) for parameter in model.parameters()]
    after = [parameter.clone() for parameter in model.parameters()]
    update(images, labels, 0.1)
    assert method.seen[0] == whole
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for parameter, value in zip(model.parameters(), after, strict=True):
        assert torch.equal(parameter, value)


def test_the_base_class_does_nothing() -> None:
    model, method = two_layers(), Method()
    before = model.state_dict()
    method.prepare(model)
    method.begin(3)
    method.before_step(0)
    loss = torch.ones(())
    assert method.regularised(loss) is loss
    assert method.on_gradients([])
    method.after_step()
    method.load_state_dict(method.state_dict())
    assert method.metrics() == {"penalty": 0.0}
    assert [layer.density for layer in method.measure()] == [1.0, 1.0]
    assert method.kept() == 10
    assert model.state_dict().keys() == before.keys()


def test_masks_are_found_in_a_state_and_answer_for_the_weights() -> None:
    model = two_layers()
    method = Static()
    method.prepare(model)
    state = model.state_dict()
    assert list(saved_masks(state)) == ["0", "1"]
    keys = ("0.weight", "0.mask.keep", "mask.weight", "mask.mask.keep", "masks.x", "1.mask.weight")
    assert [key for key in keys if is_of_mask(key, keys)] == ["0.mask.keep", "mask.mask.keep"]
    assert is_of_mask("mask.keep", ("weight", "mask.keep"))
    plain = two_layers()
    load_plain(plain, state, method.make_mask)
    expected = method.plain(model).state_dict()
    assert plain.state_dict().keys() == expected.keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, expected[name])
    assert int((plain[0].weight == 0).sum()) == 3


def test_what_a_subclass_must_say_has_no_default() -> None:
    weight, mask = torch.ones(2, 3), WeightMask()
    for ask in (mask, mask.kept, Method().make_mask):
        with pytest.raises(NotImplementedError):
            ask(weight)
