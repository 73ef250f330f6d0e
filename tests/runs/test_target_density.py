"""What a target density does to floor, guard and freeze: in use, in the hash, and on a rerun."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import yaml

from dstrun.config.check import check
from dstrun.config.options import Config
from dstrun.config.sections import DEFAULT_THRESHOLD_CLIP
from dstrun.methods.dst.with_target import BOUND_WITH_TARGET
from dstrun.runs.identity import run_hash, settings
from dstrun.runs.target_density import as_asked, as_used, released
from tests.helpers.commands import Command
from tests.helpers.runs import only_run


def reg(config: Config) -> tuple[float, float, float]:
    return config.reg.floor, config.reg.guard, config.reg.freeze


def config(**options: Any) -> Config:
    return check({f"reg.{name}": value for name, value in options.items()})


@pytest.mark.parametrize(
    ("options", "used", "asked"),
    [
        ({}, (0.01, 0.0, 1.0), (0.01, 0.0, 1.0)),
        ({"floor": 0.2}, (0.2, 0.0, 1.0), (0.2, 0.0, 1.0)),
        ({"target_density": 0.02}, (0.005, 0.9, 0.8), (0.01, 0.0, 1.0)),
        ({"target_density": 0.2, "floor": 0.03}, (0.03, 0.9, 0.8), (0.03, 0.0, 1.0)),
        ({"target_density": 0.2, "floor": 0.9}, (0.05, 0.9, 0.8), (0.05, 0.0, 1.0)),
        ({"target_density": 0.2, "floor": 0.0}, (0.0, 0.9, 0.8), (0.0, 0.0, 1.0)),
        ({"target_density": 0.2, "guard": 0.5, "freeze": 0.9}, (0.01, 0.9, 0.8), (0.01, 0.0, 1.0)),
        (
            {"target_density": 0.2, "guard": 0.95, "freeze": 0.5},
            (0.01, 0.95, 0.5),
            (0.01, 0.95, 0.5),
        ),
    ],
)
def test_what_is_used_and_what_was_asked_for(
    options: dict[str, float], used: tuple[float, ...], asked: tuple[float, ...]
) -> None:
    """Both stay as they are when they are taken again, and lead to each other."""
    given = config(**options)
    assert reg(as_used(given)) == used
    assert reg(as_asked(given)) == asked
    assert as_used(as_used(given)) == as_used(given) == as_used(as_asked(given))
    assert as_asked(as_used(given)) == as_asked(given) == as_asked(as_asked(given))


def test_configs_of_the_same_run_have_one_hash() -> None:
    plain = config(target_density=0.3)
    for options in ({"freeze": 0.9}, {"guard": 0.5}, {"freeze": 0.8, "guard": 0.9}):
        assert run_hash(config(target_density=0.3, **options)) == run_hash(plain)
    assert run_hash(config(target_density=0.3, freeze=0.7)) != run_hash(plain)
    assert settings(plain) == {"reg.target_density": 0.3}


def test_a_rerun_has_what_its_own_target_leads_to() -> None:
    before = as_used(config(target_density=0.02, guard=0.95))
    changed = check(
        {f"reg.{name}": value for name, value in asdict(before.reg).items()}
        | {"reg.target_density": 0.0}
    )
    assert reg(released(changed, before)) == (0.01, 0.95, 1.0)


def test_what_a_rerun_changes_stays_changed() -> None:
    before = as_used(config(target_density=0.02))
    changed = replace(before, reg=replace(before.reg, target_density=0.0, freeze=0.5))
    assert reg(released(changed, before)) == (0.01, 0.0, 0.5)


def test_the_config_of_a_run_has_the_values_in_use(command: Command) -> None:
    """And its rerun to another target those of that target."""
    quick = ["schedule.epochs=0", "data.train_limit=50"]
    assert command(*quick, "reg.target_density=0.02").code == 0
    run = only_run()
    saved = yaml.safe_load((run / "config.yaml").read_text())["reg"]
    assert (saved["floor"], saved["guard"], saved["freeze"]) == (0.005, 0.9, 0.8)
    assert command(*quick, "reg.target_density=0.02", "reg.freeze=0.95").out.startswith(
        f"{run}: finished already"
    )
    assert command("rerun", str(run), "reg.target_density=0.04", "group=again").code == 0
    saved = yaml.safe_load((only_run("outputs/again") / "config.yaml").read_text())["reg"]
    assert (saved["floor"], saved["guard"], saved["freeze"]) == (0.01, 0.9, 0.8)


def test_the_bound_that_help_names_is_the_one_in_use() -> None:
    assert DEFAULT_THRESHOLD_CLIP == BOUND_WITH_TARGET


@pytest.mark.usefixtures("made_up_data")
def test_what_a_target_leads_to_is_no_change_of_the_recipe(command: Command) -> None:
    """The recipe's floor of 0.01 is 0.005 in use; only the epochs were changed."""
    outcome = command("data=mnist", "schedule.epochs=0", "reg.target_density=0.02")
    assert outcome.code == 0
    assert "recipe lenet_300_100-mnist but for schedule.epochs\n" in outcome.out
