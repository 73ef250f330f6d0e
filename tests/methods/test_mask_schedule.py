"""When masks are updated, and by how much."""

import pytest

from dstrun.methods.fixed.schedule import Updates, cosine, cubic, make_updates


@pytest.mark.parametrize(
    ("updates", "steps"),
    [
        (Updates(3, 0, 9), [0, 3, 6, 9]),
        (Updates(3, 2, 10), [2, 5, 8]),
        (Updates(3, 5, 5), [5]),
        (Updates(3, 5, 4), []),
    ],
)
def test_updates_are_due_from_the_first_to_the_last(updates: Updates, steps: list[int]) -> None:
    assert [step for step in range(-3, 15) if updates.is_due(step)] == steps


@pytest.mark.parametrize(
    ("every", "start", "until", "steps"),
    [
        (4, 0.0, 0.5, [0, 4, 8]),  # of 20 steps in epochs of 5
        (4, 0.25, 0.75, [5, 9, 13]),
        (6, 0.0, 1.0, [0, 6, 12, 18]),
        (19, 0.0, 1.0, [0]),  # not in the last step
        (0, 0.0, 1.0, [0, 5, 10, 15]),  # the first step of every epoch
        (0, 0.25, 0.5, [5, 10]),
    ],
)
def test_updates_lie_between_two_shares_of_a_run(
    every: int, start: float, until: float, steps: list[int]
) -> None:
    updates = make_updates(every, start, until, 20, 5)
    assert [step for step in range(20) if updates.is_due(step)] == steps


def test_updates_once_an_epoch_need_its_length() -> None:
    assert make_updates(4, 0.0, 1.0, 20, 0).every == 4
    with pytest.raises(
        ValueError, match=r"^every: got 0, once an epoch: call begin with steps_per"
    ):
        make_updates(0, 0.0, 1.0, 20, 0)


def test_cosine() -> None:
    """cos is 1, 1/2, 0, −1/2 and −1 at 0, 1/3, 1/2, 2/3 and all of 12 steps."""
    shares = [cosine(0.4, step, 12) for step in (0, 4, 6, 8, 12, 13)]
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0, 0.0])
    assert shares[-2:] == [0.0, 0.0]
    assert [cosine(0.4, step, 12, 0.2) for step in (0, 4, 6, 12, 13)] == pytest.approx(
        [0.4, 0.35, 0.3, 0.2, 0.2]
    )


def test_cubic() -> None:
    """From 1 to 0.2 in the steps 10 to 20: half way 0.2 + 0.8 / 8."""
    densities = [cubic(1.0, 0.2, step, 10, 20) for step in (0, 10, 15, 20, 30)]
    assert densities == pytest.approx([1.0, 1.0, 0.3, 0.2, 0.2])
    assert densities[-2:] == [0.2, 0.2], "exactly"
    assert cubic(1.0, 0.2, 10, 10, 10) == 0.2
