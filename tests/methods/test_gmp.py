"""Gradual and one-shot pruning of a 4×4 matrix, whose counts are worked out by hand."""

import pytest
import torch
from torch import nn

from dstrun.methods.fixed.schedule import cubic
from dstrun.methods.fixed.selection import select_share
from dstrun.methods.gmp import GMP
from dstrun.methods.one_shot import OneShot
from tests.helpers.matrix import WEIGHTS, Matrix

HIGHEST = list(range(16, 0, -1))


def test_density_falls_along_a_cubic_curve() -> None:
    """1 → 0.2 between steps 10 and 20: 0.2 + 0.8 (1 − share)³ with shares 0, 1/4, 1/2, 3/4, 1."""
    at = [cubic(1.0, 0.25, step, 10, 18) for step in (10, 12, 14, 16, 18, 30)]
    # (3/4)³ = 27/64, (1/2)³ = 1/8, (1/4)³ = 1/64
    assert at == [1.0, 0.25 + 0.75 * 27 / 64, 0.25 + 0.75 / 8, 0.25 + 0.75 / 64, 0.25, 0.25]


def test_the_weights_of_highest_magnitude_are_kept_in_exact_numbers() -> None:
    """A run of 8 steps, updates from 0 to 8 / 2 = 4, density 1/4 of 16 weights.

    0.25 + 0.75 · (1, 27/64, 1/8, 1/64, 0) = 1, 0.566…, 0.34375, 0.2617…, 0.25; times 16: 16, 9.06,
    5.5 (halves go to the even number), 4.19, 4.
    """
    matrix = Matrix(GMP(0.25, every=1, start=0.0, until=0.5), steps=8)
    for step, count in enumerate([16, 9, 6, 4, 4, 4, 4, 4]):
        matrix.step(step)
        assert matrix.kept() == sorted(HIGHEST[:count])
        assert matrix.weight.abs().flatten().sort(descending=True).values.tolist() == [
            *map(float, HIGHEST[:count]),
            *[0.0] * (16 - count),
        ]


@pytest.mark.parametrize(
    ("every", "start", "until", "steps", "due"),
    [
        (3, 0.1, 0.9, 10, [1, 4, 7, 9]),  # the last is an update whatever `every` says
        (2, 0.0, 1.0, 6, [0, 2, 4, 5]),  # the run's last step at the latest
        (0, 0.3, 0.8, 10, [4, 6, 8]),  # epochs of 2 steps: the first to begin after step 3
        (100, 0.2, 0.7, 10, [2, 7]),
    ],
)
def test_updates_are_every_so_many_steps_and_at_the_end_of_the_schedule(
    every: int, start: float, until: float, steps: int, due: list[int]
) -> None:
    matrix = Matrix(GMP(0.25, every=every, start=start, until=until), steps)
    found: list[int] = []
    matrix.method.prune = lambda density: found.append(matrix.method.step)  # type: ignore
    for step in range(steps):
        matrix.step(step)
    assert found == due


def test_the_network_is_dense_before_the_start_and_at_its_density_in_the_last_step() -> None:
    matrix = Matrix(GMP(0.25, every=2, start=0.5, until=1.0), steps=6)
    counts = []
    for step in range(6):
        matrix.step(step)
        counts.append(len(matrix.kept()))
    # from 3 to 5: in 3 the curve begins at 1, in 5 it ends; step 4 is none of 3, 5
    assert counts == [16, 16, 16, 16, 16, 4]


def test_pruned_weights_stay_out_without_gradient_and_momentum() -> None:
    """Kept after step 1: 9 weights. A gradient of −1 everywhere adds lr · (1, then 1.5) to them."""
    matrix = Matrix(GMP(0.25, every=1, start=0.0, until=0.5), steps=8, lr=1.0)
    matrix.step(0, -torch.ones(4, 4))  # W + 1, momentum −1 of all
    out = (WEIGHTS + 1).abs() < 9  # magnitudes 16, 15, 15, 13, 12, 11, 10, 10, 9 remain
    before = (WEIGHTS + 1).masked_fill(out, 0)
    assert int((~out).sum()) == 9
    matrix.step(1, -torch.ones(4, 4))
    assert matrix.weight.equal(torch.where(out, 0.0, before + 1.5))
    assert matrix.momentum.equal(torch.where(out, 0.0, -1.5))


def test_with_regrow_pruned_weights_learn_and_come_back() -> None:
    """Weight 1 of the corner is pruned in step 1, and grows by a gradient to be the largest."""
    matrix = Matrix(GMP(0.25, every=1, start=0.0, until=0.5, regrow=True), steps=8, lr=1.0)
    still, pull = torch.zeros(4, 4), torch.zeros(4, 4)
    pull[3, 3] = 50.0
    matrix.step(0, still)
    matrix.step(1, pull)
    assert matrix.kept() == HIGHEST[:9][::-1]
    assert matrix.weight[3, 3] == -51, "masked, it goes on learning"
    assert matrix.layer.mask(matrix.weight)[3, 3] == 0
    assert matrix.weight[0, 1] == 2, "and keeps its value without a gradient"
    matrix.step(2, still)
    assert matrix.kept() == [1, 12, 13, 14, 15, 16]


def test_with_regrow_all_that_took_part_is_explored() -> None:
    """All 16 weights in step 0, of which 9 and then 4 are kept before the first measurement."""
    matrix = Matrix(GMP(0.25, every=1, start=0.0, until=0.5, regrow=True), steps=4)
    for step in range(3):
        matrix.step(step)
    figures = matrix.method.measure()[0]
    assert (figures.kept, figures.explored) == (4, 1.0)


@pytest.mark.parametrize("regrow", [False, True])
def test_a_mask_that_is_pruned_in_front_of_the_first_step_is_not_explored(regrow: bool) -> None:
    """The dense mask takes part in no step: the 4 of 16 weights are all that is explored."""
    matrix = Matrix(GMP(0.25, every=1, start=0.0, until=0.0, regrow=regrow), steps=4)
    matrix.step(0)
    assert matrix.method.measure()[0].explored == 0.25


def test_scope_layer_ranks_each_layer_alone() -> None:
    """Two layers of 4 weights, 1–4 and 5–8, of which half are kept."""
    low, high = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[5.0, 6], [7, 8]])
    none, all_four = torch.zeros(2, 2) > 0, torch.ones(2, 2) > 0
    both = torch.tensor([[False, False], [True, True]])
    assert [m.tolist() for m in select_share([low, high], 0.5, "global")] == [
        none.tolist(),
        all_four.tolist(),
    ]
    assert [m.tolist() for m in select_share([low, high], 0.5, "layer")] == [both.tolist()] * 2


def test_a_layer_keeps_a_weight_and_shares_are_exact() -> None:
    """0.1 · 4 rounds to 0; 0.07 · 100 is 7, and 7.000000000000001 as floats."""
    small, row = torch.tensor([[1.0, 4, 3, 2]]), torch.arange(100.0).view(1, 100)
    assert select_share([small], 0.1, "layer")[0].tolist() == [[False, True, False, False]]
    assert select_share([row], 0.07, "global", "1:100")[0].sum() == 7


def test_counts_are_exact_where_kept_weights_are_0_as_pruned_ones_are() -> None:
    """The last 8 weights are kept, then 4 of these, although the first 8 are 0 as well."""
    matrix = Matrix(GMP(0.25), steps=8)
    matrix.weight.data.copy_(torch.arange(16.0).view(4, 4))
    matrix.method.prune(0.5)
    matrix.weight.data.zero_()
    matrix.method.prune(0.25)
    assert matrix.layer.mask.keep.flatten().tolist() == [False] * 8 + [True] * 4 + [False] * 4


def test_what_rounding_leaves_free_brings_nothing_back() -> None:
    """27 of 48 weights are 9 in each of three layers, 2 a row; 27 − 24 places are then free."""
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    for layer in model:
        layer.weight.data.copy_(WEIGHTS)  # magnitudes 8 to 16 are the nine highest
    method = GMP(0.25, structure="fan_in")
    method.prepare(model, past=[])
    method.begin(8, torch.optim.SGD(model.parameters()), 2)
    for _ in range(2):
        method.prune(27 / 48)
        assert [layer.kept for layer in method.layers] == [8, 8, 8]


@pytest.mark.parametrize(
    ("structure", "density", "kept"),
    [
        ("2:4", 0.5, [[13, 16], [10, 11], [7, 12], [8, 14]]),
        ("2:4", 0.6, [[9, 13, 16], [5, 10, 11], [2, 7, 12], [6, 8, 14]]),  # 2.4 of 4: 3
        ("2:4", 0.1, [[13, 16], [10, 11], [7, 12], [8, 14]]),  # never below N
        ("fan_in", 0.25, [[16], [11], [12], [14]]),
        ("fan_in", 0.5, [[13, 16], [10, 11], [7, 12], [8, 14]]),
    ],
)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_structures_keep_the_same_number_in_every_row(
    structure: str, density: float, kept: list[list[int]], scope: str
) -> None:
    rows = torch.tensor([[16.0, 9, 1, 13], [5, 10, 4, 11], [12, 2, 7, 0], [3, 8, 6, 14]])
    (mask,) = select_share([rows], density, scope, structure)
    found = [sorted(row[keep].tolist()) for row, keep in zip(rows, mask, strict=True)]
    assert found == kept


def test_gradual_pruning_to_a_structure_goes_by_whole_weights_of_each_group() -> None:
    """0.5 + 0.5 · (1, 27/64, 1/8, 1/64, 0) = 1, 0.71, 0.56, 0.51, 0.5; times 4, rounded up."""
    matrix = Matrix(GMP(0.5, every=1, start=0.0, until=0.5, structure="2:4"), steps=8)
    counts = []
    for step in range(6):
        matrix.step(step)
        counts.append(matrix.layer.mask.keep.sum(1).tolist())
    assert counts == [[4] * 4, [3] * 4, [3] * 4, [3] * 4, [2] * 4, [2] * 4]


@pytest.mark.parametrize("method", [GMP(0.4, structure="2:4"), OneShot(0.4, structure="2:4")])
def test_the_density_of_a_structure_is_its_own(method: GMP) -> None:
    with pytest.raises(ValueError, match=r"^density: got 0.4 with structure=2:4, "):
        method.prepare(nn.Sequential(nn.Linear(4, 4)), past=[])


def test_a_density_below_a_weight_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^density: got 0.1, which keeps 2 of 16 weights"):
        GMP(0.1).prepare(nn.Sequential(nn.Linear(4, 4)), past=[])


@pytest.mark.parametrize(("start", "at"), [(0.0, 0), (0.5, 4), (0.99, 7)])
def test_one_shot_prunes_once_in_front_of_its_step(start: float, at: int) -> None:
    matrix = Matrix(OneShot(0.25, start=start), steps=8)
    counts = []
    for step in range(8):
        matrix.step(step)
        counts.append(len(matrix.kept()))
    assert counts == [16] * at + [4] * (8 - at)
    assert matrix.kept() == [13, 14, 15, 16]


def test_an_update_once_an_epoch_needs_its_length() -> None:
    method = GMP(0.5, every=0)
    model = nn.Sequential(nn.Linear(4, 4))
    method.prepare(model, past=[])
    with pytest.raises(ValueError, match=r"^every: got 0"):
        method.begin(8, torch.optim.SGD(model.parameters()))


def test_what_it_does_is_told() -> None:
    assert GMP(0.05, every=0, regrow=True).describe() == (
        "gmp, density 5.00% (global), every epoch from 20% to 77% of the run, "
        "pruned weights go on learning and may come back"
    )
    assert GMP(0.5, scope="layer", structure="2:4").describe() == (
        "gmp, density 50.00% (layer, 2:4), every 100 steps from 20% to 77% of the run, "
        "pruned weights stay out"
    )
    assert OneShot(0.05).describe() == "one_shot, density 5.00% (global), at 50% of the run"
