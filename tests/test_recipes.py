"""What composes: the paper's settings by pair, and every recipe, experiment, sweep, model and data set."""

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from dstrun.config import Config, check
from dstrun.sources import packaged, register_plugins
from tests.conftest import Command

CONF = packaged("conf")


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def compose(*overrides: str) -> Config:
    register_plugins()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", overrides=list(overrides))
    assert isinstance(composed, DictConfig)
    return check(OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]))


MNIST = {
    "epochs": 20,
    "batch_size": 64,
    "optimiser": "sgd",
    "momentum": 0.9,
    "weight_decay": 0,
    "lr": 0.01,
    "rate": "constant",
}
LSTM = {"epochs": 20, "batch_size": 100, "optimiser": "adam", "lr": 0.001, "rate": "constant", "weight_decay": 0}
CIFAR = {
    "epochs": 160, "batch_size": 64, "optimiser": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "threshold_decay": 1,
    "lr": 0.1, "rate": "multistep", "milestones": [80, 120], "gamma": 0.1,
}  # fmt: skip
PAPER = [
    ("lenet_300_100", "mnist", MNIST, 5e-4, 0.01),
    ("lenet5", "mnist", MNIST, 5e-4, 0.01),
    ("lstm_a", "mnist", LSTM, 1e-3, 0),
    ("lstm_b", "mnist", LSTM, 1e-3, 0),
    ("vgg16", "cifar10", CIFAR, 5e-6, 0.01),
    ("wrn_16_8", "cifar10", CIFAR, 5e-6, 0.01),
    ("wrn_28_8", "cifar10", CIFAR, 5e-6, 0.01),
    ("resnet50", "imagenet", {"epochs": 90, "batch_size": 1024, "momentum": 0.9, "lr": 0.1}, 5e-6, 0.01),
]


@pytest.mark.parametrize(("model", "data", "schedule", "alpha", "floor"), PAPER)
def test_the_papers_settings_follow_from_the_pair(
    model: str, data: str, schedule: dict[str, object], alpha: float, floor: float
) -> None:
    config = compose(f"model={model}", f"data={data}")
    assert {key: getattr(config.schedule, key) for key in schedule} == schedule
    assert (config.reg.alpha, config.reg.floor, config.reg.granularity) == (alpha, floor, "neuron")
    augmented = (config.data.pad, config.data.flip)
    assert augmented == {"mnist": (0, False), "cifar10": (4, True), "imagenet": (0, True)}[data]


def test_command_line_beats_experiment_beats_recipe() -> None:
    pair = ["model=lenet_300_100", "data=mnist"]
    assert compose(*pair).schedule.rate == "constant"
    assert compose(*pair, "experiment=best_lenet_300_100").schedule.rate == "onecycle"
    assert compose(*pair, "experiment=best_lenet_300_100", "schedule.rate=cosine").schedule.rate == "cosine"
    chosen = compose("model=vgg16", "data=cifar10", "schedule=cosine").schedule
    assert (chosen.rate, chosen.epochs) == ("cosine", 160)


PAIRS = [(model, "digits") for model in choices("model")] + [("lstm_b", data) for data in choices("data")]


@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_every_model_and_every_data_set_composes_with_a_recipe_or_without(model: str, data: str) -> None:
    config = compose(f"model={model}", f"data={data}", "data.root=somewhere/images")
    assert config.model.name == model
    assert config.data.name == ("images" if data == "folder" else data)


def test_a_users_own_conf_wins_and_needs_no_recipe_but_may_have_one() -> None:
    for group, name, text in (
        ("model", "wrn_10_1", "name: wrn_10_1\nbuilder: wide_resnet\nargs: {depth: 10, width: 1}"),
        ("data", "cifar10", "name: cifar10\nbuilder: cifar10\npad: 2"),
    ):
        Path("conf", group).mkdir(parents=True)
        Path("conf", group, f"{name}.yaml").write_text(text)
    config = compose("model=wrn_10_1", "data=cifar10")
    assert config.model.args == {"depth": 10, "width": 1}
    assert config.data.pad == 2
    assert config.schedule == Config().schedule
    Path("conf/recipe").mkdir()
    Path("conf/recipe/wrn_10_1-cifar10.yaml").write_text("# @package _global_\nreg:\n  alpha: 3e-5\n")
    assert compose("model=wrn_10_1", "data=cifar10").reg.alpha == 3e-5


def _experiments() -> list[list[str]]:
    """Each with the overrides of its launch line, which stands in its first comment."""
    found = []
    for name in choices("experiment"):
        lines = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
        launch = next(line for line in lines if "dstrun " in line)
        found.append(launch.split("dstrun ", 1)[1].split())
        assert f"experiment={name}" in found[-1]
    return found


def _pair(model: str, data: str) -> Any:
    twin = model == "wrn_28_8" or data in ("cifar100", "fashion_mnist")  # of one that is tried in any case
    return pytest.param([f"model={model}", f"data={data}"], marks=[pytest.mark.slow] * twin)


TWO_STEPS = ["schedule.epochs=1", "data.train_limit=8", "data.test_limit=8", "schedule.batch_size=4"]


@pytest.mark.parametrize(
    "overrides",
    [_pair(*name.split("-")) for name in choices("recipe")] + _experiments(),
    ids=lambda words: " ".join(words),
)
@pytest.mark.usefixtures("made_up_data")
def test_every_recipe_and_experiment_runs_two_steps(command: Command, overrides: list[str]) -> None:
    outcome = command(*overrides, *TWO_STEPS, "outputs=o", "group=g")
    assert (outcome.code, outcome.complaints) == (0, "")
    (metrics,) = Path("o", "g").glob("*/metrics.csv")
    header, row = (line.split(",") for line in metrics.read_text().splitlines())
    assert row[header.index("step")] == "2"
