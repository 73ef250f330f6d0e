"""Density, churn, dead rows and multiply-adds on masks that can be counted by eye."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from dstrun.density import churn, dead_rows, kept, measure, model_density
from dstrun.flops import flops_fraction, positions
from dstrun.methods import Dense, DynamicSparseTraining
from dstrun.models import BUILDERS
from dstrun.models.lenet import LeNet300100

MASK = torch.tensor([[True, False, True], [False, False, False]])


def test_counts() -> None:
    before = torch.tensor([[True, True, True], [True, False, False]])
    assert kept(MASK).item() == 2
    assert dead_rows(MASK).item() == 1
    assert churn(MASK, before).item() == torch.tensor(2 / 6).item()


def test_dead_filters_of_a_convolution() -> None:
    mask = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    mask[1, 1, 0, 1] = True
    assert dead_rows(mask).item() == 2


def test_figures_of_layers() -> None:
    thresholds = {"a": torch.tensor([[0.5], [-0.25]])}
    (figures,) = measure({"a": MASK}, {"a": MASK}, thresholds)
    assert (figures.layer, figures.kept, figures.total, figures.density) == ("a", 2, 6, 2 / 6)
    assert (figures.threshold_mean, figures.threshold_min, figures.threshold_max) == (0.125, -0.25, 0.5)
    assert (figures.churn, figures.dead_rows) == (0, 1)


def test_a_models_density_weighs_layers_by_their_size() -> None:
    figures = measure(
        {"a": MASK, "b": torch.ones(1, 2, dtype=torch.bool)},
        {"a": MASK, "b": torch.zeros(1, 2, dtype=torch.bool)},
        {"a": torch.zeros(2, 1), "b": torch.zeros(1, 1)},
    )
    assert model_density(figures) == 4 / 8
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


def test_a_dense_run_has_density_one_and_no_thresholds() -> None:
    method = Dense()
    method.prepare(LeNet300100((1, 28, 28), 10))
    figures = method.measure()
    assert [layer.total for layer in figures] == [235_200, 30_000, 1_000]
    assert model_density(figures) == 1
    assert figures[0].threshold_mean is None
    assert not method.thresholds()


def test_multiply_adds_agree_with_torchs_counter() -> None:
    for name, shape in {
        "lenet5": (1, 28, 28),
        "lstm": (1, 28, 28),
        "vgg": (3, 32, 32),
        "wide_resnet": (3, 32, 32),
    }.items():
        with torch.device("meta"):
            model, example = BUILDERS[name](shape, 10).eval(), torch.empty(1, *shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(example)
        used = positions(model, example)
        ours = sum(model.get_parameter(f"{layer}.weight").numel() * count for layer, count in used.items())
        assert 2 * ours == counter.get_total_flops(), name


def test_fraction_of_multiply_adds() -> None:
    totals, used = {"a": 10, "b": 4, "c": 2}, {"a": 1, "b": 5, "c": 5}
    assert flops_fraction(totals, {"a": 5, "b": 1}, used) == (5 + 5 + 10) / (10 + 20 + 10)
