"""Density, churn, dead rows and multiply-adds on masks that can be counted by eye."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dstrun.methods import mask_stats
from dstrun.methods.dense import Dense
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.fixed.method import FixedMaskMethod
from dstrun.methods.flops import MultiplyAdds, multiply_adds
from dstrun.methods.gmp import GMP
from dstrun.methods.mask_stats import (
    LayerFigures,
    dead_rows,
    gradient_norm,
    kept,
    masked_density,
    measure,
    model_density,
    weights_left_dense,
)
from dstrun.methods.masked_layers import sparsify
from dstrun.models import BUILDERS
from dstrun.models.lenet import LeNet300100
from dstrun.runs.metrics import QUANTILES

MASK = torch.tensor([[True, False, True], [False, False, False]])


def test_counts() -> None:
    before = torch.tensor([[True, True, True], [True, False, False]])
    assert kept(MASK).item() == 2
    assert dead_rows(MASK).item() == 1
    (figures,) = measure({"a": MASK}, {"a": before}, {})
    assert figures.churn == torch.tensor(2 / 6).item()


def test_dead_filters_of_a_convolution() -> None:
    mask = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    mask[1, 1, 0, 1] = True
    assert dead_rows(mask).item() == 2


def test_of_dead_layers_nothing_is_kept() -> None:
    """Check the layer's figures, the model's, and the method's count."""
    dead = torch.zeros(2, 3, dtype=torch.bool)
    assert kept(dead).item() == 0
    (figures,) = measure({"a": dead}, {"a": dead}, {"a": torch.zeros(2, 1)})
    assert (figures.kept, figures.total, figures.density, figures.dead_rows) == (0, 6, 0, 2)
    assert masked_density([figures]) == 0
    model, method = LeNet300100((1, 2, 2), 3), DynamicSparseTraining(1e-3)
    method.prepare(model)
    for threshold in method.added_parameters()[:2]:
        threshold.data.fill_(9.0)
    assert [layer.kept for layer in method.measure()] == [0, 0, 300]
    assert method.kept() == 300


def test_figures_of_layers() -> None:
    thresholds = {"a": torch.tensor([[0.5], [-0.25]])}
    (figures,) = measure({"a": MASK}, {"a": MASK}, thresholds)
    assert (figures.layer, figures.kept, figures.total, figures.density) == ("a", 2, 6, 2 / 6)
    assert (figures.threshold_mean, figures.threshold_min, figures.threshold_max) == (
        0.125,
        -0.25,
        0.5,
    )
    assert (figures.churn, figures.dead_rows) == (0, 1)
    assert [getattr(figures, name) for name in mask_stats.QUANTILES] == pytest.approx(
        [-0.175, -0.0625, 0.125, 0.3125, 0.425]
    )


def test_quantiles_of_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with numpy's, of all thresholds and of every fourth: a third would be of columns."""
    assert tuple(mask_stats.QUANTILES) == QUANTILES
    values = torch.randn(31, 33, generator=torch.Generator().manual_seed(0))
    for sample, every in ((1 << 16, 1), (400, 4)):
        monkeypatch.setattr(mask_stats, "SAMPLE", sample)
        found = [float(value) for value in mask_stats.quantiles(values).values()]
        wanted = np.quantile(values.flatten()[::every], [0.1, 0.25, 0.5, 0.75, 0.9])
        assert found == pytest.approx(wanted, abs=1e-6)
    assert [float(one) for one in mask_stats.quantiles(torch.tensor(2.0)).values()] == [2.0] * 5
    kernels = torch.zeros(64, 64, 3, 3)
    kernels[:, :, 1, 1] = 1  # a ninth of all
    monkeypatch.setattr(mask_stats, "SAMPLE", 4096)
    assert [float(one) for one in mask_stats.quantiles(kernels).values()] == [0, 0, 0, 0, 1]


def test_a_models_density_weighs_layers_by_their_size() -> None:
    figures = measure(
        {"a": MASK, "b": torch.ones(1, 2, dtype=torch.bool)},
        {"a": MASK, "b": torch.zeros(1, 2, dtype=torch.bool)},
        {"a": torch.zeros(2, 1), "b": torch.zeros(1, 1)},
    )
    assert masked_density(figures) == 4 / 8
    assert figures[1].churn == 1


def test_churn_counts_from_the_measurement_before() -> None:
    model = LeNet300100((1, 2, 2), 3)
    method = DynamicSparseTraining(1e-3)
    method.prepare(model)
    assert [layer.churn for layer in method.measure()] == [0, 0, 0]
    model.fc3.mask.threshold.data[0] = 9  # one row of three
    assert [round(layer.churn, 6) for layer in method.measure()] == [0, 0, round(1 / 3, 6)]
    assert [layer.churn for layer in method.measure()] == [0, 0, 0]
    assert method.measure()[2].dead_rows == 1
    assert method.kept() == sum(layer.kept for layer in method.measure())


def test_a_dense_run_has_density_one_and_no_thresholds() -> None:
    method = Dense()
    method.prepare(LeNet300100((1, 28, 28), 10))
    figures = method.measure()
    assert [layer.total for layer in figures] == [235_200, 30_000, 1_000]
    assert masked_density(figures) == 1
    assert method.kept() == 266_200
    assert figures[0].threshold_mean is None
    assert not method.added_parameters()


def test_every_product_of_the_built_in_networks_is_one_of_their_layers() -> None:
    shapes = {
        "lenet5": (1, 28, 28),
        "lstm": (1, 28, 28),
        "vgg": (3, 32, 32),
        "wide_resnet": (3, 32, 32),
    }
    for name, shape in shapes.items():
        with torch.device("meta"):
            model, example = BUILDERS[name](shape, 10), torch.empty(1, *shape)
        work = multiply_adds(model, example)
        expected = 0
        for layer, times in work.positions.items():
            expected += model.get_parameter(f"{layer}.weight").numel() * times
        assert work.total == expected, name


class Called(nn.Module):
    """A model of one layer, which `call` calls."""

    def __init__(self, layer: nn.Module, call: Callable) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.call(self.layer, images)


# query, key, value and output projection of 8 features for 6 tokens; scores, and their use
ATTENTION = 4 * 8 * 8 * 6 + 2 * 6 * 6 * 8
LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3), (4, 10), 6 * 4 * 3 * 8),
    "conv3d": (nn.Conv3d(2, 3, 3), (2, 5, 5, 5), 3 * 2 * 27 * 27),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), 4 * 6 * 9 * 25),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2), (4, 5, 5), 8 * 2 * 9 * 9),
    "lstm": (nn.LSTM(5, 7, 2, bidirectional=True), (11, 1, 5), 11 * 2 * 4 * 7 * (5 + 7 + 14 + 7)),
    "gru": (nn.GRU(5, 7), (11, 1, 5), 11 * 3 * 7 * (5 + 7)),
    "attention": (nn.MultiheadAttention(8, 2, batch_first=True), (6, 8), ATTENTION),
    "encoder": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (6, 8),
        ATTENTION + 2 * 8 * 16 * 6,
    ),
    "bilinear": (nn.Bilinear(3, 3, 5), (3,), 3 * 3 * 5),
    "checkpointed": (nn.Conv1d(4, 6, 3), (4, 10), 6 * 4 * 3 * 8),
}


def checkpointed(layer: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return checkpoint(
        lambda x: layer(x.transpose(1, 2)),
        images.transpose(1, 2).requires_grad_(),
        use_reentrant=True,
    )


@pytest.mark.parametrize("name", LAYERS)
def test_multiply_adds_of_layers_that_stay_dense(name: str) -> None:
    layer, shape, wanted = LAYERS[name]
    call = {
        "attention": lambda layer, x: layer(x, x, x)[0],
        "bilinear": lambda layer, x: layer(x, x),
    }
    call |= {"checkpointed": checkpointed}
    example = torch.zeros(*shape) if name in ("lstm", "gru") else torch.zeros(1, *shape)
    model = Called(layer, call.get(name, lambda layer, x: layer(x)))
    assert multiply_adds(model, example).total == wanted


def test_counting_draws_nothing_from_the_generator_of_a_run() -> None:
    def noisy(layer: nn.Module, images: torch.Tensor) -> torch.Tensor:
        return layer(images + torch.rand_like(images))

    model, before = Called(nn.Linear(3, 3), noisy), torch.get_rng_state()
    multiply_adds(model, torch.zeros(1, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_masks_leave_of_the_multiply_adds() -> None:
    layers = [
        LayerFigures("a", 5, 10),
        LayerFigures("b", 1, 4),
    ]
    without_mask = 10
    work = MultiplyAdds(total=10 * 1 + 4 * 5 + without_mask, positions={"a": 1, "b": 5})
    assert work.kept(layers) == 5 * 1 + 1 * 5 + 10
    assert work.fraction(layers) == 20 / 40


def test_weights_without_a_mask_count_for_the_model_once() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Conv1d(3, 5, 2), nn.Bilinear(2, 2, 2))
    model[2].weight = nn.Parameter(torch.zeros(2, 2, 2))
    model.tied = model[1]
    dense = weights_left_dense(model, ["1.weight", "tied.weight", "2.weight"])
    assert dense == {"1.weight": 30, "2.weight": 8}
    layers = [LayerFigures("0", 2, 8)]
    assert masked_density(layers) == 2 / 8
    assert model_density(layers, sum(dense.values())) == (2 + 38) / (8 + 38)


def test_parts_without_a_mask_count_for_themselves_in_a_layer_that_has_others() -> None:
    model = nn.Sequential(nn.LSTM(4, 6))
    selection = sparsify(model, exclude=["*_hh*", "*.f"])
    dense = weights_left_dense(model, selection.left_dense)
    assert dense == {"0.weight_ih_l0.f": 24, **{f"0.weight_hh_l0.{gate}": 36 for gate in "ifgo"}}


def test_what_a_move_of_a_mask_grows_drops_and_explores() -> None:
    """Of 6 weights: 2 kept now, 4 before, of which 1 is kept still; 5 ever.

    now      1 0 1 | 0 0 0      grown      the third
    before   1 1 0 | 1 1 0      dropped    the second, fourth and fifth
    ever     1 1 1 | 1 1 0      explored   5 of 6
    gradient 3 9 4 | 9 9 9      over what is kept now: √(3² + 4²) = 5
    """
    before = torch.tensor([[True, True, False], [True, True, False]])
    gradient = torch.tensor([[3.0, 9, 4], [9, 9, 9]])
    norms = {"a": gradient_norm(gradient, MASK)}
    (figures,) = measure({"a": MASK}, {"a": before}, {}, {"a": MASK | before}, norms)
    assert (figures.grown, figures.dropped, figures.explored) == (1, 3, 5 / 6)
    assert figures.churn == torch.tensor(4 / 6).item()
    assert figures.gradient_norm == 5
    assert figures.threshold_mean is None
    (alone,) = measure({"a": MASK}, {"a": MASK}, {})
    assert (alone.grown, alone.dropped, alone.gradient_norm) == (0, 0, None)


def one_layer_of_eight(weight: list[float]) -> tuple[nn.Module, FixedMaskMethod]:
    """Return a layer of 2 × 4 weights whose masks a test moves itself, its first step under way."""
    model, method = nn.Sequential(nn.Linear(4, 2, bias=False)), FixedMaskMethod()
    model[0].weight.data = torch.tensor(weight).view(2, 4)
    method.prepare(model)
    method.begin(9, torch.optim.SGD(model.parameters(), lr=0.1))
    return model, method


def keeping(*places: int) -> torch.Tensor:
    mask = torch.zeros(8, dtype=torch.bool)
    mask[list(places)] = True
    return mask.view(2, 4)


def test_what_fixed_masks_explore_between_measurements_counts() -> None:
    """{0, 1} at the start, {1, 2} in between, {2, 3} when measured: 4 of 8.

    Grown and dropped compare with the measurement before only: {0, 1} → {2, 3}.
    """
    _, method = one_layer_of_eight([1.0] * 8)
    (layer,) = method.layers
    method.move(layer, keeping(0, 1))  # before the first step: the full mask has not taken part
    (figures,) = method.measure()
    assert (figures.explored, figures.grown, figures.dropped) == (2 / 8, 0, 6)
    method.before_step(0)
    method.move(layer, keeping(0, 1))  # in front of the first step: neither
    method.before_step(1)
    method.move(layer, keeping(1, 2))
    method.move(layer, keeping(2, 3))
    (figures,) = method.measure()
    assert (figures.explored, figures.grown, figures.dropped) == (4 / 8, 2, 2)
    assert figures.churn == 4 / 8
    (figures,) = method.measure()
    assert (figures.explored, figures.grown, figures.dropped, figures.churn) == (4 / 8, 0, 0, 0)


def test_a_mask_that_a_step_used_counts_even_where_no_measurement_saw_it() -> None:
    _, method = one_layer_of_eight([1.0] * 8)
    (layer,) = method.layers
    method.before_step(1)
    method.move(layer, keeping(0))  # step 0 used all
    assert method.measure()[0].explored == 1


def test_pruning_that_lets_weights_back_explores_what_it_began_with() -> None:
    """Of eight weights all are kept before step 4 of 8, four from step 6 on."""
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    method = GMP(0.5, every=1, start=0.5, until=0.75, regrow=True)
    method.prepare(model)
    method.begin(8, torch.optim.SGD(model.parameters(), lr=0.1))
    for step in range(7):
        method.before_step(step)
    (figures,) = method.measure()
    assert (figures.kept, figures.explored) == (4, 1.0)


def test_thresholds_begin_with_every_weight() -> None:
    """Weights 1 to 6 and thresholds of 0; then a threshold of 4 leaves two of six."""
    model, method = nn.Sequential(nn.Linear(6, 1)), DynamicSparseTraining(1e-3)
    model[0].weight.data = torch.arange(1.0, 7).view(1, 6)
    method.prepare(model)
    method.begin(9)
    model[0].mask.threshold.data.fill_(4.0)
    (figures,) = method.measure()
    assert (figures.kept, figures.explored, figures.dropped) == (2, 1.0, 4)


def test_gradients_are_those_of_the_kept_weights_and_of_the_last_step() -> None:
    """The gradient of weight ij is x_j · 1: (3, 9, 4, 9) in each row; kept are places 0 and 2."""
    model, method = one_layer_of_eight([1.0] * 8)
    (layer,) = method.layers
    method.move(layer, keeping(0, 2))
    assert method.measure()[0].gradient_norm is None
    model(torch.tensor([[3.0, 9, 4, 9]])).sum().backward()
    assert method.measure()[0].gradient_norm == 5
    model.zero_grad()
    assert method.measure()[0].gradient_norm is None
    dense, sibling = nn.Sequential(nn.Linear(2, 1, bias=False)), Dense()
    sibling.prepare(dense)
    dense(torch.tensor([[3.0, 4.0]])).sum().backward()
    (figures,) = sibling.measure()
    assert (figures.gradient_norm, figures.explored, figures.grown, figures.dropped) == (5, 1, 0, 0)


def test_figures_of_a_resumed_run_go_on_where_they_were() -> None:
    """What was explored, and the last gradient, which the next step's replaces."""
    model, method = one_layer_of_eight([1.0] * 8)
    (layer,) = method.layers
    method.before_step(1)
    method.move(layer, keeping(0, 2))
    model(torch.tensor([[3.0, 9, 4, 9]])).sum().backward()
    again, resumed = one_layer_of_eight([1.0] * 8)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(method.state_dict())
    assert resumed.measure() == method.measure()
    assert method.measure()[0].explored == 1
    assert resumed.measure()[0].gradient_norm == 5
    resumed.before_step(2)
    assert resumed.measure()[0].gradient_norm is None


def test_the_state_of_an_earlier_version_lacks_what_was_explored() -> None:
    model, method = one_layer_of_eight([1.0] * 8)
    model[0].mask.set(keeping(0, 2))
    method.load_state_dict({"masks_before": {"0": keeping(0, 1)}})
    (figures,) = method.measure()
    assert (figures.explored, figures.grown, figures.dropped) == (2 / 8, 1, 1)
    dense = Dense()
    dense.load_state_dict({})
