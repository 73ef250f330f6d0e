"""Options, their checks, and the identity of a run."""

import dataclasses
from typing import Any

import pytest
from omegaconf import OmegaConf

from dstrun import data, models
from dstrun.config.check import check
from dstrun.config.groups import PACKAGES
from dstrun.config.options import OPTIONS, Config
from dstrun.config.sections import (
    DATA_BUILDERS,
    MODEL_BUILDERS,
    DataConfig,
    ModelConfig,
)
from dstrun.config.sparsity_options import RegConfig
from dstrun.methods.dst.masking import GRANULARITIES
from dstrun.methods.dst.with_target import (
    FREEZE_WITH_TARGET,
    GUARD_WITH_TARGET,
)
from dstrun.methods.layer_selection import TIED
from dstrun.runs import identity
from dstrun.runs.identity import run_hash, run_name, settings
from dstrun.system.errors import InputError
from dstrun.system.numbers import short
from dstrun.training.learning_rate import RATES
from dstrun.training.optim import OPTIMISERS


def config(**sections: Any) -> Config:
    base: dict[str, Any] = {
        "model": ModelConfig("lenet5", "lenet5"),
        "data": DataConfig("mnist", "mnist", root="x"),
    }
    return Config(**(base | sections))


def test_packages_are_looked_at_for_a_choice_of_none_of_ours_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes 6 ms, and reading a run, which checks its config, 2."""
    looked: list[str] = []
    monkeypatch.setattr(
        "dstrun.config.check.entry_names", lambda group: looked.append(group) or ["theirs"]
    )
    plain = dataclasses.asdict(config())
    check(plain)
    assert looked == []
    check(plain | {"reg": {"method": "theirs"}})
    assert looked == ["reg"]


def test_defaults_pass_their_own_check() -> None:
    assert check(OmegaConf.structured(config())) == config()


def test_every_option_says_what_it_means() -> None:
    assert all(entry.metadata["doc"] for entry in OPTIONS.values())


def test_choices_and_builders_in_the_help_are_those_of_the_code() -> None:
    assert tuple(models.BUILDERS) == MODEL_BUILDERS
    assert tuple(data.BUILDERS) == DATA_BUILDERS
    assert tuple(models.PACKAGES) == PACKAGES
    for key, choices in {
        "reg.granularity": GRANULARITIES,
        "reg.tied": TIED,
        "schedule.optimiser": OPTIMISERS,
        "schedule.rate": RATES,
    }.items():
        assert OPTIONS[key].metadata["choices"] == choices


def test_values_with_a_target_density_in_the_help_are_those_of_the_code() -> None:
    for key, end in {
        "reg.guard": f"With reg.target_density: at least {GUARD_WITH_TARGET:g}",
        "reg.freeze": f"With reg.target_density: at most {FREEZE_WITH_TARGET:g}",
    }.items():
        assert OPTIONS[key].metadata["doc"].endswith(end)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reg.alpha", -1, "reg.alpha: got -1.0, expected a number ≥ 0"),
        ("reg.alpha", float("nan"), "reg.alpha: got nan, expected a number ≥ 0"),
        ("reg.alpha", float("inf"), "reg.alpha: got inf, expected a number ≥ 0"),
        ("reg.floor", 1, "reg.floor: got 1.0, expected a number ≥ 0 and < 1"),
        (
            "reg.granularity",
            "neurons",
            "expected one of neuron, layer, weight; did you mean neuron",
        ),
        ("schedule.epochs", -1, "schedule.epochs: got -1, expected a whole number ≥ 0"),
        ("schedule.epochs", "ten", "schedule.epochs: got 'ten', expected a whole number ≥ 0"),
        ("schedule.epochs", None, "schedule.epochs: got null, expected a whole number"),
        ("schedule.lr", 0, "schedule.lr: got 0.0, expected a number > 0"),
        (
            "schedule.milestones",
            ["a"],
            "schedule.milestones: got 'a', expected a list of whole numbers",
        ),
        (
            "schedule.milestones",
            [80, 0],
            r"schedule.milestones: got \[80, 0\], expected a list of whole numbers ≥ 1",
        ),
        ("schedule.betas", [0.9], "schedule.betas: got .*, expected two numbers"),
        (
            "schedule.milestones",
            [120, 80],
            "schedule.milestones: got .*, expected epochs in ascending order",
        ),
        (
            "schedule.rate",
            "multistep",
            "schedule.milestones: got .. with schedule.rate=multistep, expected at least one",
        ),
        ("data.std", [0.0], "data.std: got .*, expected a list of numbers > 0"),
        ("data.flip", "maybe", "data.flip: got 'maybe', expected true or false"),
        ("seed", 2**32, "seed: got 4294967296, expected a whole number ≥ 0 and ≤ 4294967295"),
        ("group", "../elsewhere", "group: got '../elsewhere', expected one word"),
        (
            "wandb.mode",
            "of",
            "wandb.mode: got 'of', expected one of auto, online, offline, disabled",
        ),
        (
            "wandb.project",
            "50%",
            r"wandb.project: got '50%', expected at most 128 characters, none of / \\ # \? % :",
        ),
        ("wandb.project", 129 * "x", "wandb.project: got 'x+', expected at most 128 characters"),
        ("wandb.project", "", "wandb.project: got '', expected"),
        (
            "wandb.entity",
            "me/mine",
            "wandb.entity: got 'me/mine', expected the name of a user or team",
        ),
        (
            "wandb.tags",
            ["a", 65 * "x"],
            "wandb.tags: got 'x+', expected tags of 1 to 64 characters",
        ),
        ("wandb.tags", [""], "wandb.tags: got '', expected tags of 1 to 64 characters"),
        ("wandb.tags", ["a", "a"], "wandb.tags: got .*, expected each tag once"),
        (
            "tracker",
            ["mlflow", "tensorbord"],
            "tracker: got 'tensorbord', expected one of wandb, .* did you mean tensorboard?",
        ),
        ("tracker", ["mlflow", "mlflow"], "tracker: got .*, expected each tracker once"),
        ("tracker", "mlflow", "tracker: got 'mlflow', expected some of wandb, tensorboard"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_what_was_expected(
    key: str, value: Any, message: str
) -> None:
    raw = OmegaConf.to_container(OmegaConf.structured(config()))
    OmegaConf.update(given := OmegaConf.create(raw), key, value)
    with pytest.raises(InputError, match=message):
        check(given)


@pytest.mark.parametrize(
    ("key", "near"),
    [("reg.alhpa", "reg.alpha"), ("schedule.epoch", "schedule.epochs"), ("alpha", "reg.alpha")],
)
def test_an_unknown_key_is_refused_with_the_near_ones(key: str, near: str) -> None:
    given = OmegaConf.create({})
    OmegaConf.update(given, key, 1)
    with pytest.raises(InputError, match=f"{key}: there is no such option; did you mean .*{near}"):
        check(given)


def test_a_mapping_is_used_without_interpolation() -> None:
    assert check({"name": "${seed}"}).name == "${seed}"
    with pytest.raises(InputError, match=r"seed: got '\$\{seed\}', expected a whole number"):
        check({"seed": "${seed}"})


def test_a_models_own_arguments_may_have_any_name() -> None:
    checked = check(
        OmegaConf.create({"model": {"name": "x", "builder": "x", "args": {"width": {"of": 3}}}})
    )
    assert checked.model.args == {"width": {"of": 3}}


def test_identity_is_what_differs_from_the_defaults() -> None:
    assert settings(config(seed=3)) == {
        "model.name": "lenet5",
        "model.builder": "lenet5",
        "data.name": "mnist",
        "data.builder": "mnist",
        "seed": 3,
    }


def test_the_hash_of_a_known_run_never_changes() -> None:
    assert run_hash(config()) == "d713ad73"
    assert run_name(config(reg=RegConfig(alpha=1.5e-5), seed=2)).startswith(
        "lenet5-mnist-a1.5e-5-s2-"
    )


def test_however_its_folder_is_spelled_an_initial_run_is_the_same() -> None:
    spellings = (
        "outputs/single/x",
        "outputs/single/x/",
        "./outputs/../outputs/single/x",
        "/elsewhere/x",
    )
    assert len({run_hash(config(init=spelling)) for spelling in spellings}) == 1


def test_a_dense_run_has_no_alpha() -> None:
    one, two = (config(reg=RegConfig(method="dense", alpha=alpha)) for alpha in (1e-3, 1e-4))
    assert run_hash(one) == run_hash(two)
    assert run_name(one).startswith("lenet5-mnist-dense-s0-")


def test_a_dense_run_has_no_density() -> None:
    """In a grid over methods and densities it is one run."""
    one, two = (config(reg=RegConfig(method="dense", density=density)) for density in (0.1, 0.05))
    assert run_name(one) == run_name(two)
    assert run_name(one).startswith("lenet5-mnist-dense-s0-")
    rigl = run_name(config(reg=RegConfig(method="rigl", density=0.05)))
    assert rigl.startswith("lenet5-mnist-rigl-d5e-2-s0-")


def test_an_option_added_with_its_old_behaviour_as_default_changes_no_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = run_hash(config(seed=7))
    entry = dataclasses.field(default=0, metadata=dict(OPTIONS["seed"].metadata) | {"default": 0})
    for options in (identity.OPTIONS, identity.SETTINGS):
        monkeypatch.setitem(options, "seed_of_the_future", entry)
    monkeypatch.setattr(Config, "seed_of_the_future", 0, raising=False)
    assert run_hash(config(seed=7)) == before
    monkeypatch.setattr(Config, "seed_of_the_future", 1)
    assert run_hash(config(seed=7)) != before


@pytest.mark.parametrize(
    ("number", "text"),
    [(5e-4, "5e-4"), (1.5e-5, "1.5e-5"), (0, "0"), (1, "1"), (0.02, "2e-2"), (1e-12, "1e-12")],
)
def test_numbers_in_names_are_short(number: float, text: str) -> None:
    assert short(number) == text


def test_names_of_runs_are_one_plain_word() -> None:
    name = run_name(config(data=DataConfig("my=data set/ü", "folder")))
    assert name.startswith("lenet5-my_data_set_")
    assert not set("= /") & set(name)
