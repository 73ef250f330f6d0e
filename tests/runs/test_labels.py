"""Labels of runs, options and counts."""

from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.runs.labels import quantity, run_labels
from tests.helpers.folders import BASE

CONV = {"model.name": "vgg16", "model.builder": "vgg", "data.name": "cifar10", "schedule.lr": 0.1}


def labels(*runs: dict[str, Any], keys: tuple[str, ...] = ()) -> list[str]:
    return run_labels([check(BASE | run) for run in runs], keys)


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (
            [{"reg.alpha": 1e-4}, {"reg.alpha": 5e-4, "seed": 1}],
            ["α 1e-4, seed 0", "α 5e-4, seed 1"],
        ),
        ([{"reg.method": "dense"}, {"reg.alpha": 1e-3}], ["dense", "dst"]),
        (
            [{"reg.method": "dense"}, {"reg.alpha": 1e-3}, {"reg.alpha": 2e-3}],
            ["dense", "α 1e-3", "α 2e-3"],
        ),
        # their learning rates follow from model and data
        ([{}, CONV], ["lenet_300_100, mnist", "vgg16, cifar10"]),
        ([{}, CONV | {"seed": 1}], ["lenet_300_100, mnist", "vgg16, cifar10"]),
        (
            [{"model.args": {"width": 3}}, {"model.args": {"width": 4, "depth": 2}}],
            ["width 3", "width 4, depth 2"],
        ),
        ([{"init": "outputs/a/run"}, {}], ["init outputs/a/run", "lenet_300_100 on mnist"]),
        ([{"group": "a"}, {"group": "b"}], ["a", "b"]),
        ([{}], ["lenet_300_100 on mnist"]),
    ],
)
def test_runs_are_told_apart_by_what_differs(runs: list[dict], names: list[str]) -> None:
    assert labels(*runs) == names


RIGL = {"reg.method": "rigl", "reg.every": 100}
SET = {"reg.method": "set", "reg.drop": 0.4}


def test_runs_of_several_methods_are_called_by_method_and_density() -> None:
    """Not by options that only tell one method from another; by those in which its own runs
    differ.
    """
    runs = [{"reg.method": "dense"}]
    for density in (0.1, 0.05):
        runs += [own | {"reg.density": density} for own in ({}, RIGL, SET)]
    assert labels(*runs) == [
        "dense",
        *("dst, density 0.1", "rigl, density 0.1", "set, density 0.1"),
        *("dst, density 0.05", "rigl, density 0.05", "set, density 0.05"),
    ]
    assert labels(*runs, RIGL | {"reg.density": 0.1, "reg.drop": 0.2})[-1] == (
        "rigl, density 0.1, drop 0.2"
    )
    many = [RIGL | {"reg.density": 0.1, "seed": seed} for seed in range(9)]
    assert labels(*many, SET | {"reg.density": 0.1})[0] == "rigl, seed 0"


def test_runs_of_dst_alone_are_called_by_its_own_words() -> None:
    assert labels({"reg.density": 0.1}, {"reg.density": 0.05}, {"reg.method": "dense"}) == [
        "target density 0.1",
        "target density 0.05",
        "dense",
    ]


def test_no_two_runs_have_one_name() -> None:
    first, second = labels({"reg.alpha": 1e-4}, {"reg.alpha": 1.00000001e-4})
    assert (first[:8], second[:8]) == ("α 1e-4 (", "α 1e-4 (")
    assert first != second


def test_of_an_ablation_only_what_is_otherwise_is_said() -> None:
    changed = [
        {},
        {"schedule.lr": 0.2},
        {"data.pad": 2},
        {"schedule.clip": 1},
        {"schedule.batch_size": 8},
    ]
    found = labels(*(change | {"seed": seed} for change in changed for seed in (0, 1)))
    assert found[::2] == [
        "seed 0",
        "lr 0.2, seed 0",
        "pad 2, seed 0",
        "clip 1, seed 0",
        "batch size 8, seed 0",
    ]


def test_the_trials_of_a_search_are_called_by_what_is_searched_over() -> None:
    assert labels({"seed": 3}, keys=("reg.alpha", "schedule.lr")) == ["α 5e-4, lr 0.01"]


def test_one_is_no_plural() -> None:
    assert [quantity(number, "run") for number in (0, 1, 2, 1000)] == [
        "0 runs",
        "1 run",
        "2 runs",
        "1,000 runs",
    ]


def test_what_is_limited_of_a_text_is_sequences() -> None:
    text = {"data.name": "kjv", "data.builder": "text", "data.args": {"length": 16}}
    text |= {"data.root": "words", "model.name": "gpt", "model.builder": "gpt"}
    limited = [text | {"data.train_limit": limit} for limit in (20, 30)]
    assert labels(*limited) == ["training sequences 20", "training sequences 30"]
    limited = [{"data.train_limit": limit} for limit in (20, 30)]
    assert labels(*limited) == ["training images 20", "training images 30"]
