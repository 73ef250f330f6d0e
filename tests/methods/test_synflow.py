"""SynFlow on two linear layers whose scores are worked out by hand."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dstrun.methods.layer_weights import all_weights
from dstrun.methods.synflow import Synflow

FIRST = [[3.0, -2.5, 0.5], [2.0, 1.75, -2.5]]
SECOND = [[2.0, -1.0]]


def two_layers() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(FIRST))
        model[1].weight.copy_(torch.tensor(SECOND))
    return model


def batches():  # type: ignore[no-untyped-def]
    yield torch.full((4, 3), 9.0), torch.zeros(4, dtype=torch.long)


def prepared(model: nn.Module, density: float = 3 / 8, **options: Any) -> Synflow:
    method = Synflow(density, **options)
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    return method


def test_scores_are_the_flow_through_each_weight() -> None:
    """The first row adds up to 6 and is multiplied by 2, the second one to 6.25, by 1."""
    model = two_layers()
    method = prepared(model)
    network = method.network(method.plain(model))
    method.see(network, batches())
    first, second = method.scores(network, list(all_weights(network).values()))
    assert first.tolist() == [[2 * 3.0, 2 * 2.5, 2 * 0.5], [2.0, 1.75, 2.5]]
    assert second.tolist() == [[2 * 6.0, 6.25]]
    assert first.dtype == second.dtype == torch.float64


@pytest.mark.parametrize(
    ("rounds", "first", "second"),
    [
        # 3 of 8 at once: 12, 6.25 and 6; the second neuron has an output and no input
        (1, [[1, 0, 0], [0, 0, 0]], [[1, 1]]),
        # √(3/8) · 8 = 4.9: 12, 6.25, 6, 5 and 2.5; then the first neuron's flow is 2 (3 + 2.5), the
        # second's 2.5, and of 11, 6, 5, 2.5 and 2.5 the first three are kept
        (2, [[1, 1, 0], [0, 0, 0]], [[1, 0]]),
    ],
)
def test_what_an_earlier_round_prunes_changes_later_scores(
    rounds: int, first: list[list[int]], second: list[list[int]]
) -> None:
    model = two_layers()
    method = prepared(model, iterations=rounds)
    method.initialise(model, batches())
    assert [layer.mask.keep.int().tolist() for layer in method.layers] == [first, second]
    assert model[0].weight.tolist() == (torch.tensor(FIRST) * torch.tensor(first)).tolist()
    assert [layer.kept for layer in method.layers] == [sum(map(sum, first)), sum(second[0])]


def test_fewer_weights_than_rows_are_a_path() -> None:
    """2 of 8 for 3 rows. √(2/8) · 8 = 4: 12, 6.25, 6, 5, then 11 and 6 of 11, 6, 5 and 0."""
    model = two_layers()
    prepared(model, 2 / 8, iterations=2).initialise(model, batches())
    assert model[0].weight.tolist() == [[3, 0, 0], [0, 0, 0]]
    assert model[1].weight.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("density", "structure", "line"),
    [
        (1 / 8, "none", "density: got 0.125, which keeps 1 of 8 .* each of 2 layers, 0.25"),
        (2 / 8, "fan_in", "density: got 0.25, which keeps 2 of 8 .* each of 3 rows, 0.375"),
    ],
)
def test_a_density_that_leaves_no_path_is_told(density: float, structure: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        prepared(two_layers(), density, structure=structure)


def test_batch_norm_counts_with_the_statistics_of_the_start_and_magnitudes() -> None:
    """Norm 4 |x| / √(4 − ε + ε) + |−0.5|; R = 5 (2 · |W| · 1 + 0.5): ∂R/∂|W| = 10."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.5, -3.0]]))
        model[1].weight.fill_(-4.0)
        model[1].bias.fill_(-0.5)
        model[1].running_var.fill_(4.0)
        model[1].eps = 0.0
        model[2].weight.fill_(-5.0)
    method = Synflow(2 / 3)
    method.prepare(model, past=[])
    network = method.network(method.plain(model))
    method.see(network, iter([(torch.ones(3, 2), torch.zeros(3))]))
    first, second = method.scores(network, list(all_weights(network).values()))
    assert first.tolist() == [[10 * 0.5, 10 * 3.0]]
    assert second.tolist() == [[5 * (2 * 3.5 + 0.5)]]


def test_it_takes_a_hundred_rounds_and_says_so() -> None:
    assert Synflow(0.05).describe() == "synflow, density 5.00%, 100 rounds"
    assert Synflow(0.05, iterations=1, structure="fan_in").describe() == (
        "synflow, density 5.00% (fan_in)"
    )


def test_a_branch_that_begins_at_0_has_scores() -> None:
    """The factors of the batch norm are 0, as at the end of a residual branch; they count as 1."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))
    nn.init.zeros_(model[1].weight)
    method = Synflow(0.99, iterations=1)
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    network = method.network(method.plain(model))
    assert network[1].weight.tolist() == [1.0, 1.0]
    assert model[1].weight.tolist() == [0.0, 0.0]


def test_buffers_of_booleans_stay() -> None:
    model = two_layers()
    model.register_buffer("seen", torch.tensor([True, False]))
    network = Synflow(0.5).network(copy.deepcopy(model))
    assert network.seen.tolist() == [True, False]
