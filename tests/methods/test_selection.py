"""Which weights are kept, in exact numbers, and random numbers without a generator's state."""

import pytest
import torch

from dstrun.methods.fixed.selection import draw, keep_highest, select

SCORES = torch.tensor([[0.3, 0.9, 0.3], [0.1, 0.3, 0.5]])
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (-1, [[0, 0, 0], [0, 0, 0]]),
        (0, [[0, 0, 0], [0, 0, 0]]),
        (1, [[0, 1, 0], [0, 0, 0]]),
        (2, [[0, 1, 0], [0, 0, 1]]),
        (3, [[1, 1, 0], [0, 0, 1]]),  # of three with 0.3 the first,
        (4, [[1, 1, 1], [0, 0, 1]]),  # and the second
        (5, [[1, 1, 1], [0, 1, 1]]),
        (6, [[1, 1, 1], [1, 1, 1]]),
        (7, [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_exactly_so_many_are_kept_and_of_equals_the_first(count: int, kept: list) -> None:
    assert keep_highest(SCORES, count).int().tolist() == kept


def test_among_infinite_scores_the_first_are_kept() -> None:
    scores = torch.tensor([1.0, torch.inf, -torch.inf, torch.inf, torch.inf])
    assert keep_highest(scores, 2).tolist() == [False, True, False, True, False]
    assert keep_highest(scores, 4).tolist() == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("count", "structure", "kept"),
    [
        (2, "none", [[0, 1, 0], [0, 0, 1]]),
        (2, "fan_in", [[0, 1, 0], [0, 0, 1]]),
        (5, "fan_in", [[1, 1, 0], [0, 1, 1]]),  # 5 / 2 rows is rounded to 2
        (6, "fan_in", [[1, 1, 1], [1, 1, 1]]),
        (0, "fan_in", [[0, 1, 0], [0, 0, 1]]),  # one at least
        (6, "1:3", [[0, 1, 0], [0, 0, 1]]),  # whatever the count
        (0, "2:3", [[1, 1, 0], [0, 1, 1]]),
    ],
)
def test_a_structure_keeps_as_many_in_each_row_or_group(
    count: int, structure: str, kept: list
) -> None:
    assert select(SCORES, count, structure).int().tolist() == kept


def numbers(seed: int, layer: str, step: int, *shape: int) -> list[float]:
    return draw(seed, layer, step, torch.Size(shape), CPU).flatten().tolist()


def test_draws_are_a_function_of_seed_layer_and_step() -> None:
    torch.manual_seed(0)
    first = numbers(1, "fc1", 20, 2, 3)
    torch.manual_seed(1)
    assert numbers(1, "fc1", 20, 2, 3) == first
    assert numbers(1, "fc1", 20, 6) == first
    others = [numbers(*key, 2, 3) for key in ((2, "fc1", 20), (1, "fc2", 20), (1, "fc1", 21))]
    assert not any(set(other) & set(first) for other in others)
    # 12 with layer "0" and 1 with layer "20" share their letters but for the separator
    assert numbers(12, "0", 0, 2, 3) != numbers(1, "20", 0, 2, 3)


def test_draws_change_nothing_of_the_generator_and_are_uniform() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn = torch.tensor(numbers(0, "fc1", -1, 10_000))
    assert torch.equal(torch.rand(3), expected)
    assert 0 <= drawn.min() < 0.001 < 0.999 < drawn.max() < 1
    # the mean of 10,000 uniform numbers has a standard deviation of 0.0029
    assert abs(drawn.mean().item() - 0.5) < 0.012
