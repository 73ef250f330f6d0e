"""Plan of a sweep: combinations, the configs that Hydra composes of them, each run once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf

from dstrun.config.check import check
from dstrun.config.groups import packaged_folder
from dstrun.config.sources import register_plugins
from dstrun.config.sparsity_options import METHODS, WITH_DENSITY
from dstrun.runs.target_density import as_used
from dstrun.sweep.plan import Planner, combinations
from dstrun.system.errors import InputError
from tests.helpers.sweeps import RUNS


def test_axes_are_combined_and_the_last_one_runs_fastest() -> None:
    found = combinations({"reg.alpha": [1e-4, 0.5], "seed": "0,1"}, [], ["model=lenet5"])
    assert found == [
        ("reg.alpha=0.0001", "seed=0", "model=lenet5"),
        ("reg.alpha=0.0001", "seed=1", "model=lenet5"),
        ("reg.alpha=0.5", "seed=0", "model=lenet5"),
        ("reg.alpha=0.5", "seed=1", "model=lenet5"),
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("range(3)", ["seed=0", "seed=1", "seed=2"]),
        ("choice(4,5)", ["seed=4", "seed=5"]),
        (7, ["seed=7"]),
        ([7], ["seed=7"]),
    ],
)
def test_values_of_an_axis_are_a_list_or_hydras_grammar(values: Any, words: list[str]) -> None:
    assert combinations({"seed": values}, [], []) == [(word,) for word in words]


@pytest.mark.parametrize("made", [dict, OmegaConf.create])
def test_an_axis_of_lists(made: Callable[[dict], Any]) -> None:
    found = combinations(made({"schedule.milestones": [[1, 2], [3]]}), [], [])
    assert found == [("schedule.milestones=[1,2]",), ("schedule.milestones=[3]",)]


def test_nothing_is_a_value_where_an_option_takes_it() -> None:
    assert combinations({"init": None}, [], []) == [("init=null",)]


def test_a_word_of_the_command_line_replaces_an_axis() -> None:
    assert combinations(
        {"seed": "0,1"}, [{"reg": "dense"}, {"reg.alpha": [1, 2]}], ["seed=5,6", "reg.alpha=3"]
    ) == [
        ("reg=dense", "seed=5", "reg.alpha=3"),
        ("reg=dense", "seed=6", "reg.alpha=3"),
        ("seed=5", "reg.alpha=3"),
        ("seed=6", "reg.alpha=3"),
    ]


@pytest.mark.parametrize(
    ("params", "words", "message"),
    [
        ({"seed": []}, [], "seed: got an empty axis, expected at least one value"),
        ({"seed": None}, [], "seed: got an empty axis"),
        ({"seed": ""}, [], "seed: got an empty axis"),
        ({}, ["seed=range(0,0)"], "seed: got an empty axis"),
        ({"reg.alhpa": [1]}, [], "reg.alhpa: there is no such option; did you mean reg.alpha?"),
        (
            {},
            ["reg.alpha=interval(0,1)"],
            "reg.alpha: got interval.0,1.; only a search takes intervals",
        ),
    ],
)
def test_an_axis_that_is_none(params: dict, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        combinations(params, [], words)


@pytest.fixture
def planner() -> Callable[..., Planner]:
    """Return a function that makes a planner for a command line without axes."""
    register_plugins()

    def make(*words: str) -> Planner:
        with hydra.initialize_config_dir(str(packaged_folder("conf")), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            return Planner(
                loader, loader.load_configuration("config", list(words), RunMode.MULTIRUN)
            )

    return make


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["reg.alpha=1e-3", "seed=3"],
        ["seed=3", "model=lenet5", "data=mnist", "reg.alpha=1"],
        ["reg=dense", "schedule=cosine", "schedule.milestones=[3,4]"],
        ["experiment=best_lenet_300_100", "data=mnist", "reg.alpha=7"],
        ["++model.args.width=3", "model=wrn_16_8", "data=cifar10"],
        ["data.root=/x/${seed}", "seed=4"],
        ["sweep=table2", "model=vgg16", "schedule.compile=off", "wandb.tags=[a,b]"],
        ["name='1e-4'", "init=null", "schedule.lr=1", "data.flip=yes"],
    ],
)
def test_configs_are_those_that_hydra_composes(
    planner: Callable[..., Planner], words: list[str]
) -> None:
    ours = planner().jobs([["seed=9"], words])[-1].config
    with hydra.initialize_config_dir(str(packaged_folder("conf")), version_base="1.3"):
        theirs = check(hydra.compose("config", words))
    assert ours == as_used(theirs)


def test_a_value_made_from_an_axis_follows_it(planner: Callable[..., Planner]) -> None:
    jobs = planner().jobs([["data.root=/x/${seed}", f"seed={seed}"] for seed in (1, 2)])
    assert [job.config.data.root for job in jobs] == ["/x/1", "/x/2"]


def test_combinations_that_come_to_the_same_run_are_one(planner: Callable[..., Planner]) -> None:
    combined = combinations({"reg": ["dense", "dst"], "reg.alpha": [1, 2], "seed": [0, 1]}, [], [])
    jobs = planner().jobs(combined)
    assert [job.folder.name.rsplit("-", 1)[0] for job in jobs] == [
        "lenet_300_100-digits-dense-s0",
        "lenet_300_100-digits-dense-s1",
        "lenet_300_100-digits-a1-s0",
        "lenet_300_100-digits-a1-s1",
        "lenet_300_100-digits-a2-s0",
        "lenet_300_100-digits-a2-s1",
    ]
    assert {job.folder.parent for job in jobs} == {Path("outputs/grid")}


def test_the_group_is_the_sweeps_name(planner: Callable[..., Planner]) -> None:
    assert planner("sweep=quick").jobs([["sweep=quick"]])[0].folder.parent == Path("outputs/quick")
    assert planner("sweep=quick").jobs([["sweep=quick", "group=mine"]])[0].folder.parent == Path(
        "outputs/mine"
    )


COMPOSED_SOON = (
    "quick",
    "granularity",
    "threshold_clip",
)  # the others choose files by the dozen, 0.1 s each


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(file.stem, marks=[] if file.stem in COMPOSED_SOON else pytest.mark.slow)
        for file in packaged_folder("sweeps").glob("*.yaml")
    ],
)
def test_a_sweep_says_how_to_start_it_and_comes_to_its_runs(
    planner: Callable[..., Planner], name: str
) -> None:
    text = (packaged_folder("sweeps") / f"{name}.yaml").read_text()
    first, comment, *_ = text.splitlines()
    assert first == "# @package _global_"
    assert f"dstrun sweep={name}" in comment
    sweeper = OmegaConf.create(text).hydra.sweeper
    combined = combinations(sweeper.get("params", {}), sweeper.get("grids", []), [f"sweep={name}"])
    jobs = planner(f"sweep={name}").jobs(combined)
    assert len(jobs) == RUNS[name]
    assert any(job.config.reg.method == "dense" for job in jobs)


def test_the_sweep_of_methods_has_every_method_with_a_density() -> None:
    sweep = OmegaConf.load(packaged_folder("sweeps") / "methods.yaml")
    named: set[str] = set()
    for grid in sweep.hydra.sweeper.grids:
        named.update([grid.reg] if isinstance(grid.reg, str) else grid.reg)
    assert named == {method for method in METHODS if method in WITH_DENSITY} | {"dense"}


def test_hydra_knows_our_plugins() -> None:
    register_plugins()
    known = Plugins.instance().class_name_to_class
    assert {"hydra_plugins.dstrun_launcher.local.LocalLauncher"} <= set(known)
    assert {
        f"hydra_plugins.dstrun_sweeper.{name}"
        for name in ("grid.GridSweeper", "pareto.ParetoSweeper")
    } <= set(known)
