"""Mask, gradient, penalty and guard on weights whose answer a person can work out."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dstrun.methods.dst.masking import (
    LOWEST,
    Penalty,
    ThresholdMask,
    gradients,
    kept_mask,
    long_tailed,
    penalty,
    reset_at_floor,
    shift_to_density,
    threshold_shape,
)
from dstrun.methods.dst.method import DynamicSparseTraining

WEIGHT = torch.tensor([[0.5, -0.25, 0.125], [-2.0, 0.75, 0.0]])


def test_estimator_has_the_papers_pieces() -> None:
    x = torch.tensor([0.0, 0.25, -0.25, 0.375, 0.5, -1.0, 1.0, 1.25, -9.0])
    assert long_tailed(x).tolist() == pytest.approx([2, 1, 1, 0.5, 0.4, 0.4, 0.4, 0, 0])


def test_estimator_equals_the_written_pieces_at_every_float_around_their_seam() -> None:
    first, last = (torch.tensor(x).view(torch.int32).item() for x in (0.399, 0.401))
    x = torch.arange(first, last, dtype=torch.int32).view(torch.float32)
    written = torch.where(x > 0.4, torch.tensor(0.4), 2 - 4 * x)
    differing = x[long_tailed(x) != written]
    assert differing.tolist() == [
        torch.tensor(0.4).item()
    ]  # one float: 2 − 4·0.4 is 0.4 less one rounding


def test_a_weight_takes_part_when_it_is_larger_than_its_threshold() -> None:
    threshold = torch.tensor([[0.25], [0.0]])
    assert kept_mask(WEIGHT, threshold).tolist() == [[True, False, False], [True, True, False]]


def test_gradients_are_those_of_the_module_docstring() -> None:
    mask = ThresholdMask(WEIGHT)
    with torch.no_grad():
        mask.threshold.copy_(torch.tensor([[0.25], [0.5]]))
    weight = WEIGHT.clone().requires_grad_()
    masked = mask(weight)
    masked.backward(torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 3.0]]))
    assert masked.tolist() == [[0.5, 0, 0], [-2, 0.75, 0]]
    # Q = [[.25, 0, −.125], [1.5, .25, −.5]], H(Q) = [[1, 2, 1.5], [0, 1, .4]], G ⊙ W ⊙ H = [[.5,
    # −1, .75], [0, .75, 0]]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1 + 0.5, 0 + 1, 0 + 0.75], [1, 1 + 0.75, 0]]
    assert mask.threshold.grad is not None
    assert mask.threshold.grad.tolist() == [[-0.25], [-0.75]]


def test_gradients_of_a_threshold_a_weight() -> None:
    """The same numbers, unsummed; and of a neuron with one input, whose threshold has the weight's
    shape as well.
    """
    grad = torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 3.0]])
    to_weight, to_threshold = gradients(grad, WEIGHT, torch.tensor([[0.25] * 3, [0.5] * 3]))
    assert to_weight.tolist() == [[1 + 0.5, 0 + 1, 0 + 0.75], [1, 1 + 0.75, 0]]
    assert to_threshold.tolist() == [[-0.5, 1, -0.75], [0, -0.75, 0]]
    to_weight, to_threshold = gradients(grad[:, :1], WEIGHT[:, :1], torch.tensor([[0.25], [0.5]]))
    assert (to_weight.tolist(), to_threshold.tolist()) == ([[1.5], [1]], [[-0.5], [0]])


@pytest.mark.parametrize(
    ("granularity", "linear", "convolution"),
    [
        ("neuron", (2, 1), (4, 1, 1, 1)),
        ("layer", (1, 1), (1, 1, 1, 1)),
        ("weight", (2, 3), (4, 2, 3, 3)),
    ],
)
def test_granularity_is_the_shape_of_the_thresholds(
    granularity: str, linear: tuple[int, ...], convolution: tuple[int, ...]
) -> None:
    assert threshold_shape(WEIGHT, granularity) == linear
    assert threshold_shape(torch.zeros(4, 2, 3, 3), granularity) == convolution


def test_a_threshold_shared_by_a_layer_gets_the_sum_over_the_layer() -> None:
    mask = ThresholdMask(WEIGHT, "layer")
    mask(WEIGHT).sum().backward()
    # |W| ≤ .4: 2 − 4|W|; else .4 up to 1: Σ W·H = .5·.4 − .25·1 + .125·1.5 + 0 + .75·.4 + 0
    assert mask.threshold.grad is not None
    assert mask.threshold.grad.item() == pytest.approx(-(0.2 - 0.25 + 0.1875 + 0.3))


def test_unknown_granularity_is_refused() -> None:
    with pytest.raises(ValueError, match="'row', expected one of neuron, layer, weight"):
        threshold_shape(WEIGHT, "row")


def test_penalty_is_the_sum_of_exponentials() -> None:
    thresholds = [torch.zeros(3, 1), torch.log(torch.tensor([[2.0], [4.0]]))]
    assert penalty(thresholds).item() == pytest.approx(3 + 1 / 2 + 1 / 4)


def test_penalty_pushes_every_threshold_up() -> None:
    threshold = torch.zeros(2, 1, requires_grad=True)
    Penalty.apply(threshold).backward()
    assert threshold.grad is not None
    assert threshold.grad.tolist() == [[-1], [-1]]
    (scaled,) = torch.autograd.grad(0.25 * Penalty.apply(threshold), threshold)
    assert scaled.tolist() == [[-0.25], [-0.25]]


@pytest.mark.parametrize(("floor", "after"), [(0.5, 0.0), (0.33, 0.375)])
def test_guard_resets_a_layer_at_or_under_its_floor(floor: float, after: float) -> None:
    threshold = torch.tensor([[0.375], [0.9]])  # keeps .5 and −2: 2 of 6
    reset_at_floor([WEIGHT], [threshold], floor)
    assert threshold[0].item() == after


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_guard_resets_thresholds_that_are_no_numbers_any_more(dtype: torch.dtype) -> None:
    threshold = torch.tensor([[float("inf")], [float("nan")]], dtype=dtype)
    reset_at_floor([WEIGHT.to(dtype)], [threshold], 0.01)
    assert threshold.tolist() == [[0], [0]]


def test_guard_at_exactly_the_floor_resets_as_the_authors_do() -> None:
    weight = torch.zeros(100, 1)
    weight[0] = 1
    threshold = torch.full((100, 1), 0.5)
    reset_at_floor([weight], [threshold], 0.01)
    assert not threshold.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_guard_counts_weights_of_half_precision_exactly(dtype: torch.dtype) -> None:
    """70,001 is beyond what fp16 holds at all, and bfloat16 rounds it to 70,144."""
    (kept,) = reset_at_floor(
        [torch.ones(70_001, 1, dtype=dtype)], [torch.zeros(1, 1, dtype=dtype)], 0.0
    )
    assert kept.item() == 70_001


def test_a_pruned_weight_is_not_overwritten() -> None:
    weight = WEIGHT.clone()
    mask = ThresholdMask(weight)
    with torch.no_grad():
        mask.threshold.fill_(10)
    assert not mask(weight).any()
    assert torch.equal(weight, WEIGHT)


def test_a_guard_with_a_factor_lets_the_nearest_back_in_first() -> None:
    thresholds = [torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [1.0]])]
    counts = reset_at_floor([WEIGHT, 10 * WEIGHT], thresholds, floor=0.2, factor=0.5)
    assert [int(count) for count in counts] == [1, 5], "of 6 each: −2 alone; all but 0"
    assert [threshold.tolist() for threshold in thresholds] == [[[0.5], [0.5]], [[1.0], [1.0]]]


def test_thresholds_shift_to_a_density_each_layer_by_its_own_scale() -> None:
    ten = torch.arange(1.0, 11.0).reshape(2, 5)
    weights, thresholds = [ten, -100 * ten], [torch.zeros(2, 1), torch.zeros(2, 1)]
    shift_to_density(weights, thresholds, 0.3)
    assert [kept_mask(w, t).sum().item() for w, t in zip(weights, thresholds, strict=True)] == [
        3,
        3,
    ]
    shift_to_density(weights, thresholds, 0.8)  # and back, from wherever thresholds stand
    assert [kept_mask(w, t).sum().item() for w, t in zip(weights, thresholds, strict=True)] == [
        8,
        8,
    ]


def test_thresholds_shift_by_shares_of_the_mean_weight() -> None:
    """|w| / mean: 0.4, 0.8, 1.2, 1.6, and 0.22, 0.33, 0.44, 3 for a mean of 9. Of 8, 4.8 are 5:
    those above 0.4.
    """
    weights = [torch.tensor([[1.0, -2.0, 3.0, -4.0]]), torch.tensor([[-2.0, 3.0, -4.0, 27.0]])]
    thresholds = [torch.zeros(1, 1), torch.zeros(1, 1)]
    shift_to_density(weights, thresholds, density=0.6)
    assert [threshold.item() for threshold in thresholds] == pytest.approx([0.4 * 2.5, 0.4 * 9])
    kept = [kept_mask(w, t).tolist()[0] for w, t in zip(weights, thresholds, strict=True)]
    assert kept == [[False, True, True, True], [False, False, True, True]]


def test_a_shift_takes_nothing_that_deterministic_refuses_on_a_gpu() -> None:
    """kthvalue, which it took, is in torch's list of operations without a deterministic form."""

    class Called(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            names.add(str(function))
            return function(*args, **(kwargs or {}))

    names: set[str] = set()
    with Called():
        shift_to_density([WEIGHT], [torch.zeros(2, 1)], 0.5)
    assert "aten.topk.default" in names
    assert "aten.kthvalue.default" not in names


@pytest.mark.parametrize("density", [0.0001, 0.02, 0.5, 1.0])
def test_a_shift_meets_the_density_to_the_weight(density: float) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(30, 20), torch.randn(10, 5, 3, 3) / 50, torch.zeros(4, 4)]
    thresholds = [torch.randn(30, 1), torch.rand(10, 1, 1, 1) / 50, torch.zeros(4, 1)]
    shift_to_density(weights[:2], thresholds[:2], density)
    kept = sum(int(kept_mask(w, t).sum()) for w, t in zip(weights[:2], thresholds[:2], strict=True))
    assert abs(kept - max(density * 1050, 2)) <= 1, "one weight a layer at least"
    shift_to_density(weights, thresholds, 0.5)
    assert all(threshold.isfinite().all() for threshold in thresholds), (
        "a layer of zeros has no scale"
    )


def test_far_below_zero_the_penalty_pushes_no_harder() -> None:
    threshold = torch.tensor(
        [[LOWEST], [2 * LOWEST], [-200.0], [-float("inf")]], requires_grad=True
    )
    value = Penalty.apply(threshold)
    value.backward()
    steepest = torch.exp(torch.tensor(-LOWEST))
    assert value.item() == 4 * steepest
    assert threshold.grad is not None
    assert threshold.grad.flatten().tolist() == [-steepest] * 4


def test_above_that_the_penalty_is_the_papers_bit_for_bit() -> None:
    threshold = torch.linspace(LOWEST, 100, 100_001).view(-1, 1)
    written = torch.exp(-threshold)
    assert penalty([threshold]).item() == written.sum().item()
    threshold.requires_grad_()
    Penalty.apply(threshold).backward()
    assert torch.equal(threshold.grad, -written)  # type: ignore[arg-type]


def test_a_frozen_mask_stays_whatever_weights_and_thresholds_become() -> None:
    mask = ThresholdMask(WEIGHT)
    with torch.no_grad():
        mask.threshold.copy_(torch.tensor([[0.25], [0.5]]))
    mask.freeze(WEIGHT)
    with torch.no_grad():
        mask.threshold.fill_(10)
    weight = torch.full((2, 3), 0.1, requires_grad=True)
    masked = mask(weight)
    masked.backward(torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 3.0]]))
    assert weight.grad is not None
    assert (masked > 0).tolist() == [[True, False, False], [True, True, False]]
    assert weight.grad.tolist() == [[1, 0, 0], [1, 1, 0]], "no structure gradient"
    assert mask.threshold.grad is None


def test_masks_compute_in_the_layers_precision_frozen_or_not() -> None:
    mask = ThresholdMask(WEIGHT)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            assert mask(WEIGHT).dtype == torch.bfloat16
        assert mask(WEIGHT).dtype == torch.float32
        mask.freeze(WEIGHT)


def test_a_frozen_mask_travels_with_the_state() -> None:
    frozen, fresh = ThresholdMask(WEIGHT), ThresholdMask(WEIGHT)
    frozen.freeze(WEIGHT)
    fresh.load_state_dict(frozen.state_dict())
    assert torch.equal(fresh.kept(torch.zeros(2, 3)), WEIGHT != 0)
    fresh.load_state_dict(ThresholdMask(WEIGHT).state_dict())
    assert fresh.frozen is None


def test_a_shift_leaves_every_layer_its_floor() -> None:
    """Two of eight weights are to stay; the second layer's are all far below their thresholds."""
    weights = [torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])]
    thresholds = [torch.zeros(1, 1), torch.full((1, 1), 9.0)]
    shift_to_density(weights, thresholds, density=0.25)
    assert [kept_mask(w, t).tolist()[0] for w, t in zip(weights, thresholds, strict=True)] == [
        [False] * 3 + [True]
    ] * 2
    shift_to_density(weights, thresholds, density=0.5, floor=0.6)
    assert [int(kept_mask(w, t).sum()) for w, t in zip(weights, thresholds, strict=True)] == [
        3,
        3,
    ], "2.4 of four are 3, and floors come first"


def test_a_shift_of_a_layer_of_one_weight() -> None:
    weights, thresholds = (
        [torch.ones(1, 1), torch.ones(1, 4)],
        [torch.full((1, 1), 5.0), torch.zeros(1, 1)],
    )
    shift_to_density(weights, thresholds, density=0.8)
    assert kept_mask(weights[0], thresholds[0]).all()
    assert thresholds[0].isfinite().all()


def test_thresholds_that_keep_too_little_fall_where_no_alpha_is_small_enough() -> None:
    """A fifth of the target is kept, and the penalty pushes with next to nothing: weights come back
    all the same.
    """
    model = nn.Linear(100, 10)
    model.weight.data = torch.linspace(-1, 1, 1000).view(10, 100)
    method = DynamicSparseTraining(1e-12, floor=0.0, target_density=0.5)
    method.prepare(model, past=[])
    method.begin(1000)
    (threshold,) = method.added_parameters()
    threshold.data.fill_(0.9)
    assert method.kept() == 100
    falling = [threshold.max().item()]
    for step in range(200):
        method.before_step(step)
        method.after_step()
        falling.append(threshold.max().item())
    assert falling == sorted(falling, reverse=True)
    assert method.kept() > 200


@pytest.mark.parametrize(
    ("granularity", "target", "left"),
    [("layer", 0.5, 0.0), ("neuron", 0.5, -2.0), ("layer", 0, -2.0)],
)
def test_with_a_target_a_layers_threshold_stays_at_0_or_above(
    granularity: str, target: float, left: float
) -> None:
    """Under 0 it keeps what it keeps at 0; where rows share none, or α is fixed, thresholds are the
    optimiser's own.
    """
    model = nn.Linear(10, 2)
    method = DynamicSparseTraining(1e-3, granularity, target_density=target)
    method.prepare(model, past=[])
    method.begin(1000)
    (threshold,) = method.added_parameters()
    threshold.data.fill_(-2.0)
    method.after_step()
    assert threshold.unique().tolist() == [left]


@pytest.mark.parametrize(("kept", "left"), [(300, 1.0), (50, 0.9)])
def test_with_a_target_the_guard_is_gentle_and_sets_in_at_a_quarter_of_it(
    kept: int, left: float
) -> None:
    """Not at the floor asked for, half of the weights, and not by the paper's reset to 0."""
    model = nn.Linear(100, 10)
    model.weight.data = torch.linspace(1, 2, 1000).view(10, 100)
    method = DynamicSparseTraining(1e-3, "layer", floor=0.5, guard=0.0, target_density=0.2)
    method.prepare(model, past=[])
    method.begin(1000)
    (threshold,) = method.added_parameters()
    threshold.data.fill_(before := model.weight.flatten()[-kept - 1].item())
    assert method.kept() == kept
    method.after_step()
    assert threshold.item() == pytest.approx(left * before)


@pytest.mark.parametrize(("asked", "step"), [(1.0, 8), (0.9, 8), (0.5, 5)])
def test_with_a_target_masks_are_frozen_after_four_fifths_of_the_updates_at_the_latest(
    asked: float, step: int
) -> None:
    model = nn.Linear(10, 10)
    method = DynamicSparseTraining(1e-3, floor=0.0, target_density=0.5, freeze=asked)
    method.prepare(model, past=[])
    method.begin(10)
    frozen = []
    for number in range(10):
        method.before_step(number)
        frozen += [number] if method.alpha == 0 else []
    assert frozen == list(range(step, 10))
    assert method.kept() == 50


def test_the_density_met_in_the_end_leaves_every_layer_a_quarter_of_it() -> None:
    """Of 40 weights 16 are to stay; the first layer's thresholds are far above its weights, and 0.1
    of 20 are 2.
    """
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 10))
    for layer in model:
        layer.weight.data = torch.arange(1.0, 21.0).view_as(layer.weight)
    method = DynamicSparseTraining(1e-3, "layer", floor=0.2, target_density=0.4)
    method.prepare(model, past=[])
    method.begin(10)
    method.added_parameters()[0].data.fill_(1000.0)
    method.before_step(8)
    assert [layer.kept for layer in method.measure()] == [2, 14]


def test_a_loss_without_a_penalty_is_the_loss_itself() -> None:
    """A product with 0 would give thresholds a gradient, which weight decay and momentum act
    with.
    """
    model, loss = nn.Linear(2, 2), torch.tensor(1.5)
    method = DynamicSparseTraining(0.0)
    method.prepare(model, past=[])
    assert method.regularised(loss) is loss


def test_before_a_network_is_prepared_alpha_is_what_was_asked_for() -> None:
    assert DynamicSparseTraining(0.25).alpha == 0.25


def test_thresholds_stay_once_masks_are_frozen() -> None:
    model = nn.Linear(10, 10)
    method = DynamicSparseTraining(1e-3, floor=0.0, target_density=0.5)
    method.prepare(model, past=[])
    method.begin(10)
    method.before_step(8)
    (threshold,) = method.added_parameters()
    before = threshold.clone()
    model.weight.data *= 2
    method.before_step(9)
    assert torch.equal(threshold, before)
