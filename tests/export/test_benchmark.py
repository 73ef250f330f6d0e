"""Number of measurements of `dstrun export --bench`."""

import pytest
import torch

from dstrun.export import benchmark


@pytest.mark.parametrize(("longest", "rounds"), [(30.0, 15), (0.15, 5), (0.01, 3)])
def test_slow_networks_are_measured_less_often(
    monkeypatch: pytest.MonkeyPatch, longest: float, rounds: int
) -> None:
    """A call takes 0.01 s, a measurement three calls: 15 measurements, or as many as fit, or 3."""
    made: list[int] = []
    monkeypatch.setattr(benchmark, "LONGEST", longest)
    monkeypatch.setattr(
        benchmark, "time_calls", lambda network, inputs, repeats: made.append(repeats) or 0.01
    )
    benchmark.measure_in_turns({"dense": lambda inputs: inputs}, torch.zeros(1))
    assert made == [1] + [3] * rounds
