"""How often torch.compile compiles, and in which step: as many graphs as there are, none later.

Three epochs of two full batches and a smaller one, of another learning rate each; then the same
from a checkpoint after step 5, in the same process. Dynamo's guards are the real ones.
"""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from tests.helpers.fake_inductor.runs import Steps, trainer
from tests.helpers.methods import NAMES, config_options

STEP, MASK = {"schedule.compile": "step"}, {"schedule.compile": "mask"}
TARGET, FREEZE = {"reg.target_density": 0.1}, {"reg.freeze": 0.5}
GRAPHS = {"dst": 3, "l1": 2}  # thresholds' reset and frozen masks; with a penalty and without
Counts = dict[int, int]  # step → graphs compiled in it
slow = pytest.mark.slow


def compiled_in(steps: Steps) -> Counts:
    return {step: len(graphs) for step, graphs in enumerate(steps.captured, start=1) if graphs}


def counts(options: Mapping[str, Any], name: str = "lenet_300_100") -> tuple[Counts, Counts]:
    """Return what a run compiles, and what it does from its checkpoint on; both end alike."""

    def size(graph: Any, *_: Any) -> int:
        return len(graph.graph.nodes)

    whole, resumed = Steps(size), Steps(size)
    run, saved = trainer(name, options), {}
    with whole.noted():
        for record in run.records(lambda progress: whole.next() or progress.step == 5):
            if record.kind == "pause":
                saved = copy.deepcopy(run.state_dict())
    again = trainer(name, options, saved)
    with resumed.noted():
        for _ in again.records(resumed.next):
            pass
    for one, other in zip(run.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    return compiled_in(whole), compiled_in(resumed)


# step 3 is the first of a smaller batch, which has the thresholds' reset alone compiled; step 6 is
# the first after the checkpoint and of a smaller batch too; masks are frozen before step 5, with a
# target before step 8
@pytest.mark.parametrize(
    ("options", "whole", "resumed"),
    [
        pytest.param(STEP, {1: 1, 3: 1}, {1: 1, 2: 1}, id="step"),
        pytest.param(
            STEP | TARGET,
            {1: 1, 3: 1, 8: 1},
            {1: 1, 2: 1, 3: 1},
            id="step, target",
            marks=slow,
        ),
        pytest.param(STEP | FREEZE, {1: 1, 3: 1, 5: 1}, {2: 1}, id="step, freeze", marks=slow),
        pytest.param(STEP | {"reg.method": "dense"}, {1: 1}, {2: 1}, id="step, dense", marks=slow),
        pytest.param(
            STEP | {"schedule.optimiser": "adam"}, {1: 2}, {1: 1, 2: 1}, id="step, adam", marks=slow
        ),
        pytest.param(
            STEP | FREEZE | {"schedule.clip": 1.0},
            {1: 2, 5: 1},
            {2: 1},
            id="step, clip, freeze",
            marks=slow,
        ),
        pytest.param(
            STEP | {"schedule.accumulate": 2},
            {1: 3},
            {1: 1, 2: 2},
            id="step, accumulate",
            marks=slow,
        ),
        pytest.param(
            STEP | {"schedule.precision": "bf16"},
            {1: 1, 3: 1},
            {1: 1, 2: 1},
            id="step, bf16",
            marks=slow,
        ),
        pytest.param(MASK, {1: 3}, {1: 3}, id="mask", marks=slow),
        pytest.param(MASK | TARGET, {1: 3}, {1: 3}, id="mask, target", marks=slow),
        pytest.param(MASK | FREEZE, {1: 3}, {}, id="mask, freeze", marks=slow),
        pytest.param(
            MASK | {"schedule.precision": "bf16"}, {1: 3}, {1: 3}, id="mask, bf16", marks=slow
        ),
        pytest.param(
            MASK | {"schedule.accumulate": 2}, {1: 3}, {1: 3}, id="mask, accumulate", marks=slow
        ),
    ],
)
@pytest.mark.slow
def test_nothing_is_compiled_twice(options: dict[str, Any], whole: Counts, resumed: Counts) -> None:
    assert counts(options) == (whole, resumed)


@pytest.mark.parametrize(
    "name", [name if name == "rigl" else pytest.param(name, marks=slow) for name in NAMES]
)
def test_masks_that_move_compile_nothing_again(name: str) -> None:
    """They move at every second step, which is computed uncompiled: there is one graph."""
    whole, resumed = counts(STEP | config_options(name))
    assert sum(whole.values()) <= GRAPHS.get(name, 1)
    assert sum(resumed.values()) <= GRAPHS.get(name, 1)
    if name == "rigl":
        assert (whole, resumed) == ({2: 1}, {3: 1})


@slow
@pytest.mark.parametrize("name", ["lstm", "vgg16", "wrn_16_8"])
def test_nothing_is_compiled_twice_of_the_other_networks(name: str) -> None:
    assert counts(STEP | TARGET, name) == ({1: 1, 3: 1, 8: 1}, {1: 1, 2: 1, 3: 1})
    assert counts(MASK | TARGET, name) == ({1: 3}, {1: 3})
