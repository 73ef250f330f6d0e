"""What a run's epochs are within rounds of training."""

from types import SimpleNamespace

import pytest

from dstrun.config.check import check
from dstrun.methods.base import Method
from dstrun.runs.rounds import Rounds, rounds_of


def test_a_round_after_the_first_begins_at_a_later_epoch() -> None:
    """4 epochs, then twice the last three of them: 4 + 2 · 3."""
    rounds = Rounds(4, 3, 1)
    assert rounds.total == 10
    assert [rounds.place(epoch) for epoch in range(10)] == [
        *((0, epoch) for epoch in (0, 1, 2, 3)),
        *((1, epoch) for epoch in (1, 2, 3)),
        *((2, epoch) for epoch in (1, 2, 3)),
    ]
    assert [epoch for epoch in range(10) if rounds.is_first(epoch)] == [0, 4, 7]


def test_a_round_of_one_epoch_is_a_round() -> None:
    """2 epochs, then twice the second of them."""
    assert [epoch for epoch in range(4) if Rounds(2, 3, 1).is_first(epoch)] == [0, 2, 3]


def test_steps_are_counted_within_the_round_too() -> None:
    """Two steps an epoch: the rate of steps 0 to 5, then that of 2 to 5 again."""
    rate = Rounds(3, 2, 1).of_steps(lambda step: step / 8, 2)
    assert [8 * rate(step) for step in range(10)] == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5]


@pytest.mark.parametrize("rounds", [Rounds(3), Rounds(3, 1, 2)])
def test_one_round_is_the_run(rounds: Rounds) -> None:
    assert (rounds.total, [rounds.place(epoch) for epoch in range(3)]) == (
        3,
        [(0, 0), (0, 1), (0, 2)],
    )


def test_without_epochs_there_is_nothing_to_repeat() -> None:
    rounds = Rounds(0, 3)
    assert (rounds.total, rounds.place(0), rounds.of_steps(float, 5)(0)) == (0, (0, 0), 0)


def test_a_config_asks_for_a_round_more_than_prunings() -> None:
    words = {"reg.density": 0.1, "reg.rounds": 3, "reg.rewind_epoch": 2, "schedule.epochs": 5}
    assert rounds_of(check({"reg.method": "imp", **words})) == Rounds(5, 4, 2)
    assert rounds_of(check({"reg.method": "gmp", **words})) == Rounds(5)


def test_a_method_of_another_package_is_asked_for_its_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Theirs(Method):
        rounds, rewind_epoch = 3, 2

    theirs = SimpleNamespace(names=["theirs"])
    monkeypatch.setattr("dstrun.config.groups.entry_points", lambda group: theirs)
    monkeypatch.setattr("dstrun.runs.method.lookup", lambda *_: Theirs)
    config = check({"reg.method": "theirs", "schedule.epochs": 5})
    assert rounds_of(config) == Rounds(5, 3, 2)
