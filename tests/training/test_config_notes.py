"""Notes on a run's config: options without effect or replaced, long schedules, recipes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dstrun.config.options import Config, WandbConfig
from dstrun.config.sections import DataConfig, ModelConfig, ScheduleConfig
from dstrun.config.sparsity_options import RegConfig
from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.sweep import pool
from dstrun.training.config_notes import gpu_notes, notes, sweep_notes
from dstrun.training.recipes import changed_from_recipe, nearest_recipes, recipe_of
from tests.helpers.commands import Command


def config(model: str = "lenet5", data: str = "mnist", **sections: Any) -> Config:
    return Config(
        model=ModelConfig(model, model),
        data=sections.pop("data_section", DataConfig(data, data)),
        **sections,
    )


@pytest.mark.parametrize(
    ("key", "sections", "reason"),
    [
        (
            "reg.alpha",
            {"reg": RegConfig("dense")},
            "it is for reg.method=dst, and reg.method is dense",
        ),
        ("reg.exclude", {"reg": RegConfig("dense", exclude=["fc1"])}, "a dense run has no masks"),
        (
            "schedule.momentum",
            {"schedule": ScheduleConfig(optimiser="adam")},
            "it is for schedule.optimiser=sgd, and schedule.optimiser is adam",
        ),
        (
            "schedule.betas",
            {},
            "it is for schedule.optimiser=adam or adamw, and schedule.optimiser is sgd",
        ),
        ("schedule.gamma", {}, "it is for schedule.rate=multistep, and schedule.rate is constant"),
        ("schedule.threshold_decay", {}, "schedule.weight_decay is 0"),
        (
            "data.stream",
            {"data_section": DataConfig("m", "mnist", stream=True)},
            "its images are always in memory",
        ),
        ("data.workers", {}, "data.stream is false"),
        (
            "data.pad",
            {"data_section": DataConfig("f", "folder", stream=True)},
            "the images of a stream are cropped at random anyway",
        ),
        (
            "schedule.compile",
            {"reg": RegConfig("dense"), "schedule": ScheduleConfig(compile="mask")},
            "dense has no masks to compile; schedule.compile=step compiles its step",
        ),
        (
            "schedule.compile",
            {"reg": RegConfig("rigl", 0.1), "schedule": ScheduleConfig(compile="mask")},
            "rigl has no masks to compile",
        ),
        ("reg.guard", {"reg": RegConfig(floor=0)}, "reg.floor is 0, so thresholds are never reset"),
        ("n_jobs", {}, "it is for sweeps, and this is one run"),
        ("retry", {}, "it is for sweeps, and this is one run"),
        ("data.size", {}, "the images of mnist have a fixed size"),
        (
            "data.download",
            {"data_section": DataConfig("digits", "digits", download=True)},
            "come with scikit-learn",
        ),
        ("data.root", {"data_section": DataConfig("digits", "digits")}, "come with scikit-learn"),
        ("wandb.tags", {"wandb": WandbConfig(mode="disabled")}, "W&B is turned off by wandb.mode"),
        ("wandb.mode", {"tracker": ["mlflow"]}, "wandb is not in tracker"),
        ("wandb.tags", {"tracker": []}, "wandb is not in tracker"),
        ("tracker", {"wandb": WandbConfig(mode="disabled")}, "W&B is turned off by wandb.mode"),
        ("schedule.sync_bn", {"schedule": ScheduleConfig(sync_bn=True)}, "devices is 1"),
        (
            "deterministic",
            {"deterministic": True, "device": "cpu"},
            "it is for GPUs, and device is cpu",
        ),
    ],
)
def test_an_option_of_the_command_line_without_effect(
    key: str, sections: dict[str, Any], reason: str
) -> None:
    made = config(**sections)
    (line,) = [line for line in notes(made, {key}) if line.startswith(key)]
    assert line.startswith(f"{key} has no effect: ")
    assert reason in line
    assert not any("has no effect" in line for line in notes(made)), (
        "where a recipe sets it, nobody has asked for it"
    )


def test_an_option_with_effect_has_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"reg.alpha", "schedule.momentum", "seed", "data.root", "wandb.tags", "schedule.lr"}
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert notes(config(), given) == []
    assert notes(config(tracker=["mlflow"]), {"tracker", "wandb.project"}) == []
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert notes(config(), given) == [
        "wandb.tags has no effect: W&B is turned off by WANDB_MODE or WANDB_DISABLED"
    ]


@pytest.mark.parametrize(
    ("schedule", "line"),
    [
        (
            {"rate": "multistep", "milestones": [80, 120], "epochs": 20, "lr": 0.1},
            "schedule.milestones: 80, 120 lie after the last epoch, 20: the rate stays 0.1",
        ),
        (
            {"rate": "multistep", "milestones": [10, 20], "epochs": 20},
            "schedule.milestones: 20 lies after the last epoch, 20",
        ),
        (
            {"warmup": 50, "epochs": 3},
            "schedule.warmup: the rate rises over 50 epochs, and the run has 3: it never falls "
            "and does not reach 0.01",
        ),
    ],
)
def test_a_schedule_that_is_longer_than_the_run(schedule: dict[str, Any], line: str) -> None:
    assert notes(config(schedule=ScheduleConfig(**schedule))) == [line]


def test_the_schedule_of_a_run_in_rounds_is_that_of_a_round() -> None:
    reg = RegConfig(method="imp", density=0.1, rounds=2)
    schedule = ScheduleConfig(warmup=3, epochs=3, rate="multistep", milestones=[3])
    assert notes(config(reg=reg, schedule=schedule)) == [
        "schedule.milestones: 3 lies after the last epoch, 3: the rate stays 0.01",
        "schedule.warmup: the rate rises over 3 epochs, and a round has 3: it never falls",
    ]


def test_a_schedule_that_ends_in_time_has_no_note() -> None:
    fitting = ScheduleConfig(rate="multistep", milestones=[10, 19], epochs=20, warmup=5)
    assert (
        notes(config(schedule=fitting))
        == notes(config(schedule=ScheduleConfig(milestones=[90])))
        == []
    )


def test_masks_that_are_frozen_at_once() -> None:
    (line,) = notes(config(reg=RegConfig(freeze=0.01), schedule=ScheduleConfig(epochs=3)))
    assert line == "reg.freeze: masks are frozen after 0.03 of an epoch"


def test_what_a_target_density_replaces_is_what_the_method_uses() -> None:
    reg = RegConfig(target_density=0.04, floor=0.2, guard=0.5, freeze=0.9)
    given = {"reg.floor", "reg.guard", "reg.freeze"}
    assert notes(config(reg=reg), given) == [
        "reg.floor: 0.01 is used instead of 0.2, since there is a reg.target_density",
        "reg.guard: 0.9 is used instead of 0.5, since there is a reg.target_density",
        "reg.freeze: 0.8 is used instead of 0.9, since there is a reg.target_density",
    ]
    method = DynamicSparseTraining(5e-4, floor=0.2, guard=0.5, target_density=0.04, freeze=0.9)
    assert (method._floor, method._guard, method._freeze) == (0.01, 0.9, 0.8)
    kept = RegConfig(target_density=0.04, floor=0.005, guard=0.95, freeze=0.7)
    assert notes(config(reg=kept), given) == []


def test_a_pair_without_a_recipe_is_told_the_nearest_ones() -> None:
    assert recipe_of(config("vgg16", "cifar10")) == "vgg16-cifar10"
    assert recipe_of(config("resnet50", "cifar10")) is None
    assert notes(config("resnet50", "cifar10")) == [
        "no recipe for resnet50 on cifar10: base values are used (lr 0.01, alpha 5e-4, 20 epochs); "
        "the nearest recipes are resnet18-cifar10 (lr 0.1, alpha 5e-6, 200 epochs) and "
        "resnet50-imagenet (lr 0.1, alpha 5e-6, 90 epochs)"
    ]
    assert notes(config("vgg16", "mnist"))[0].endswith(
        "the nearest recipe is vgg16-cifar10 (lr 0.1, alpha 5e-6, 160 epochs)"
    ), "a recipe of the base values says nothing"
    assert notes(config("mine", "mine")) == [
        "no recipe for mine on mine: base values are used (lr 0.01, alpha 5e-4, 20 epochs)"
    ]
    own = config("mine", "mine", reg=RegConfig(alpha=1e-5), schedule=ScheduleConfig(lr=0.1))
    assert notes(own) == []


@pytest.mark.parametrize(
    ("model", "data", "nearest"),
    [
        ("timm:vit_tiny_patch16_224", "cifar10", "vit_tiny-cifar10"),
        ("torchvision:vit_b_16", "cifar10", "vit_tiny-cifar10"),
        ("torchvision:mobilenet_v3_small", "cifar10", "mobilenet_v2-cifar10"),
        ("torchvision:resnet50", "cifar10", "resnet18-cifar10"),
        ("torchvision:swin_t", "cifar10", ""),
        ("timm:vit_tiny_patch16_224", "digits", ""),
        ("vit", "digits", ""),
    ],
)
def test_a_model_is_told_the_recipe_of_one_of_its_kind(model: str, data: str, nearest: str) -> None:
    found = nearest_recipes(config(model, data))
    assert [name.partition(" ")[0] for name in found] == [nearest] * bool(nearest)


def test_a_model_of_the_users_is_told_a_recipe_for_the_same_data() -> None:
    own = config("mine", "cifar10")
    assert len(nearest_recipes(own)) == 1


def test_what_differs_from_the_recipe() -> None:
    assert changed_from_recipe(config("resnet50", "cifar10")) == []
    changed = changed_from_recipe(config("vgg16", "cifar10", reg=RegConfig(alpha=5e-6)))
    assert "schedule.epochs" in changed
    assert "reg.alpha" not in changed


def test_a_recipe_of_the_users_is_one() -> None:
    Path("conf/recipe").mkdir(parents=True)
    Path("conf/recipe/mine-mnist.yaml").write_text("# @package _global_\nreg:\n  alpha: 1e-7\n")
    assert recipe_of(config("mine", "mnist")) == "mine-mnist"
    assert "mine-mnist (alpha 1e-7)" in notes(config("mine", "cifar100"))[0]


def test_a_sweep_has_each_note_once_and_none_on_what_some_run_uses() -> None:
    dense, sparse = config(reg=RegConfig("dense")), config()
    assert sweep_notes([dense, sparse], {"reg.alpha", "n_jobs"}) == []
    assert sweep_notes([dense, dense], {"reg.alpha"}) == [
        "reg.alpha has no effect: it is for reg.method=dst, and reg.method is dense"
    ]
    trained = [config(reg=RegConfig(name, 0.1)) for name in ("str", "str", "set")]
    assert sweep_notes(trained, {"reg.density"}) == [
        "reg.density has no effect in 2 of 3 runs: str has no density to ask for"
    ]
    pairs = [config("vgg16", "mnist", seed=seed) for seed in range(3)]
    assert len(sweep_notes(pairs)) == 1
    assert sweep_notes([sparse]) == [
        "this sweep is one run: no option that tells runs apart has several values"
    ]
    many = [config(schedule=ScheduleConfig(warmup=50, epochs=epochs)) for epochs in range(1, 20)]
    assert (len(sweep_notes(many)), sweep_notes(many)[-1]) == (9, "11 more notes")


@pytest.mark.slow
def test_notes_are_said_at_the_start_and_before_a_dry_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Sequence[str]] = []
    monkeypatch.setattr(pool, "run_jobs", lambda jobs, group, notes: handed.append(notes))
    short = (
        "schedule.epochs=1",
        "schedule.warmup=2",
        "data.train_limit=10",
        "data.test_limit=10",
        "threads=1",
    )
    note = "schedule.warmup: the rate rises over 2 epochs, and the run has 1"
    for words in ([*short, "dry_run=true"], short, ["-m", "seed=1,2", *short, "dry_run=true"]):
        (said,) = command(*words).err.splitlines()
        assert said.startswith(f"dstrun: note: {note}")
    assert command(*short).err == "", "the run is finished"
    assert command("-m", "seed=1,2", *short, "n_jobs=1").err == "", (
        "our launcher says them, when all runs are possible"
    )
    ((handed_on,),) = handed
    assert handed_on.startswith(note)
    (only,) = command("hydra/launcher=submitit_local", "dry_run=true").err.splitlines()
    assert only == (
        "dstrun: note: hydra/launcher=submitit_local has no effect: "
        "it is for sweeps, and this is one run"
    )


def test_bad_input_is_one_line_without_notes(command: Command) -> None:
    outcome = command("data=folder", "data.root=nowhere")
    assert (outcome.code, outcome.err) == (2, "dstrun: data.root: there is no folder nowhere\n")


def test_on_a_gpu_compiling_is_advised_where_a_step_has_many_kernels() -> None:
    """Masks that are given take a kernel for each layer; those of dst about 24."""
    (line,) = gpu_notes([config(), config(reg=RegConfig("dense"))])
    assert line.startswith("on a GPU schedule.compile=step (or mask) is faster: a step of dst")
    given = [config(reg=RegConfig(name, 0.1)) for name in ("dense", "static", "rigl", "gmp")]
    assert gpu_notes(given) == []
    assert gpu_notes([config(schedule=ScheduleConfig(compile="step"))]) == []
