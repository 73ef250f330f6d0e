"""Recipes and experiments: their settings, and that networks, data and settings fit together."""

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dstrun import data, models
from dstrun.config.check import check
from dstrun.config.compose import compose_single, load_saved_config
from dstrun.config.groups import packaged_folder
from dstrun.config.options import OPTIONS, Config, value_of
from dstrun.config.sources import register_plugins
from dstrun.config.yaml_files import Loader
from dstrun.training.config_notes import given_keys, notes
from dstrun.training.prepare import prepare
from dstrun.training.trainer import Trainer
from tests.helpers.commands import Command
from tests.helpers.data import made_up
from tests.helpers.runs import rows

CONF = packaged_folder("conf")


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def compose(*overrides: str) -> Config:
    register_plugins()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("config", overrides=list(overrides))
    assert isinstance(composed, DictConfig)
    return check(OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]))


def settings(config: Config) -> dict[str, Any]:
    """Return method, schedule and augmentation where they differ from the base values."""
    keys = [
        key
        for key in OPTIONS
        if key.startswith(("reg.", "schedule.")) or key in ("data.pad", "data.flip")
    ]
    found = {key: value_of(config, key) for key in keys}
    return {key: value for key, value in found.items() if value != OPTIONS[key].metadata["default"]}


def content_of(group: str, name: str) -> dict[str, Any]:
    return yaml.load((CONF / group / f"{name}.yaml").read_text(), Loader)


def pair(name: str) -> str:
    return "model={} data={}".format(*name.split("-"))


LSTM = {
    "reg.alpha": 1e-3,
    "reg.floor": 0.0,
    "reg.exclude": ["classifier"],
    "schedule.batch_size": 100,
    "schedule.optimiser": "adam",
    "schedule.lr": 0.001,
}
CIFAR = {
    "data.pad": 4,
    "data.flip": True,
    "reg.alpha": 5e-6,
    "schedule.epochs": 160,
    "schedule.lr": 0.1,
    "schedule.weight_decay": 1e-4,
    "schedule.rate": "multistep",
    "schedule.milestones": [80, 120],
}
RIGL = CIFAR | {
    "schedule.epochs": 250,
    "schedule.batch_size": 128,
    "schedule.nesterov": True,
    "schedule.weight_decay": 5e-4,
    "schedule.milestones": [77, 154, 230],
    "schedule.gamma": 0.2,
}
IMAGENET = {
    "data.flip": True,
    "reg.alpha": 5e-6,
    "schedule.epochs": 90,
    "schedule.batch_size": 1024,
    "schedule.lr": 0.1,
    "schedule.weight_decay": 1e-4,
    "schedule.rate": "multistep",
    "schedule.milestones": [30, 60, 80],
}
COSINE = IMAGENET | {  # the milestones stay, without effect
    "schedule.epochs": 100,
    "schedule.lr": 0.256,
    "schedule.lr_per": 256,
    "schedule.momentum": 0.875,
    "schedule.weight_decay": 2**-15,
    "schedule.decay_norm_and_bias": False,
    "schedule.rate": "cosine",
    "schedule.warmup": 5.0,
    "schedule.label_smoothing": 0.1,
    "schedule.precision": "bf16",
    "schedule.channels_last": True,
}
HE = CIFAR | {
    "schedule.epochs": 164,
    "schedule.batch_size": 128,
    "schedule.milestones": [82, 123],
}
USUAL = {
    "data.pad": 4,
    "data.flip": True,
    "reg.alpha": 5e-6,
    "schedule.epochs": 200,
    "schedule.batch_size": 128,
    "schedule.lr": 0.1,
    "schedule.weight_decay": 5e-4,
    "schedule.rate": "cosine",
}
ADAMW = {
    "data.flip": True,
    "reg.target_density": 0.1,
    "schedule.optimiser": "adamw",
    "schedule.weight_decay": 0.05,
    "schedule.decay_norm_and_bias": False,
    "schedule.rate": "cosine",
    "schedule.label_smoothing": 0.1,
    "schedule.mixup": 0.8,
}
VIT = ADAMW | {
    "data.pad": 4,
    "schedule.epochs": 100,
    "schedule.batch_size": 128,
    "schedule.lr": 1e-3,
    "schedule.warmup": 10.0,
}
DEIT = ADAMW | {
    "schedule.epochs": 300,
    "schedule.batch_size": 1024,
    "schedule.lr": 5e-4,
    "schedule.lr_per": 512,
    "schedule.warmup": 5.0,
    "schedule.precision": "bf16",
}
MLP = {
    "data.pad": 4,
    "data.flip": True,
    "reg.alpha": 5e-5,
    "schedule.epochs": 40,
    "schedule.batch_size": 128,
    "schedule.lr": 0.05,
    "schedule.weight_decay": 5e-4,
    "schedule.rate": "onecycle",
}
DIGITS = {"reg.alpha": 2e-3, "schedule.lr": 0.05, "schedule.rate": "onecycle"}
TEXT = {
    "schedule.epochs": 1,
    "schedule.batch_size": 32,
    "schedule.optimiser": "adamw",
    "schedule.lr": 1e-3,
    "schedule.betas": [0.9, 0.99],
    "schedule.weight_decay": 0.1,
    "schedule.decay_norm_and_bias": False,
    "schedule.rate": "cosine",
    "schedule.warmup": 0.05,
    "schedule.clip": 1.0,
}
SHIFTED = {"data.pad": 1, "schedule.rate": "onecycle"}
DECAYED = SHIFTED | {"schedule.weight_decay": 1e-4, "schedule.threshold_decay": 0.0}
FASTER = CIFAR | {
    "schedule.rate": "onecycle",
    "schedule.lr": 0.05,
    "schedule.nesterov": True,
    "schedule.weight_decay": 5e-4,
    "schedule.threshold_decay": 0.0,
}
RECIPES: dict[str, dict[str, Any]] = {
    "lenet_300_100-mnist": {},
    "lenet5-mnist": {},
    "lenet_300_100-fashion_mnist": {},
    "lenet5-fashion_mnist": {},
    "lstm_a-mnist": LSTM,
    "lstm_b-mnist": LSTM,
    "lstm_a-fashion_mnist": LSTM,
    "lstm_b-fashion_mnist": LSTM,
    "vgg16-cifar10": CIFAR,
    "wrn_22_2-cifar10": RIGL,
    "wrn_16_8-cifar10": CIFAR,
    "wrn_28_8-cifar10": CIFAR,
    "vgg16-cifar100": CIFAR,
    "wrn_16_8-cifar100": CIFAR,
    "wrn_28_8-cifar100": CIFAR,
    "resnet50-imagenet": IMAGENET,
    "resnet20-cifar10": HE,
    "resnet32-cifar10": HE,
    "resnet56-cifar10": HE,
    "resnet18-cifar10": USUAL,
    "mobilenet_v2-cifar10": USUAL,
    "vgg19-cifar10": CIFAR | {"schedule.batch_size": 128, "schedule.weight_decay": 5e-4},
    "vit_tiny-cifar10": VIT,
    "deit_small-imagenet": DEIT,
    "mlp-mnist": {},
    "mlp-cifar10": MLP,
    "mlp-digits": DIGITS,
    "lenet_300_100-digits": DIGITS,
    "lenet5-digits": DIGITS,
    "gpt-text": TEXT,
}
EXPERIMENTS = {
    "lenet_300_100-mnist": DECAYED | {"schedule.lr": 0.1, "reg.target_density": 0.02},
    "lenet5-mnist": DECAYED | {"schedule.lr": 0.05, "reg.target_density": 0.0125},
    "lstm_a-mnist": LSTM | SHIFTED | {"schedule.lr": 0.005, "reg.target_density": 0.0185},
    "lstm_b-mnist": LSTM | SHIFTED | {"schedule.lr": 0.005, "reg.target_density": 0.0095},
    "vgg16-cifar10": FASTER | {"reg.target_density": 0.035},
    "wrn_16_8-cifar10": FASTER | {"reg.target_density": 0.045},
    "resnet50-imagenet": COSINE | {"schedule.threshold_decay": 0.0, "reg.target_density": 0.1},
}
SPARSE_MOMENTUM: dict[str, Any] = {
    "reg.method": "snfs",
    "reg.distribution": "uniform",
    "reg.drop": 0.5,
    "reg.density": 0.05,
    "schedule.epochs": 100,
    "schedule.batch_size": 100,
    "schedule.lr": 0.1,
    "schedule.nesterov": True,
    "schedule.weight_decay": 5e-4,
    "schedule.rate": "multistep",
    "schedule.milestones": [46, 93],
}
AUTHORS = {
    f"experiment=snfs_{name} data=mnist reg.density=0.05": SPARSE_MOMENTUM
    for name in ("lenet_300_100", "lenet5")
}
TWINS = ("fashion_mnist", "cifar100")  # whose recipe is that of another set, by name
SETTINGS = {pair(name): expected for name, expected in RECIPES.items()} | {
    f"{pair(name)} experiment=best_{name.split('-')[0]}": expected
    for name, expected in EXPERIMENTS.items()
}


def test_the_papers_schedule_for_the_lenets_is_the_base_value() -> None:
    config = Config()
    assert (config.reg.alpha, config.reg.floor, config.reg.granularity) == (5e-4, 0.01, "neuron")
    schedule = config.schedule
    assert (schedule.epochs, schedule.batch_size, schedule.optimiser, schedule.momentum) == (
        20,
        64,
        "sgd",
        0.9,
    )
    assert (schedule.lr, schedule.rate, schedule.weight_decay, schedule.threshold_decay) == (
        0.01,
        "constant",
        0,
        1,
    )
    assert schedule.gamma == 0.1


def test_a_schedule_for_imagenet_takes_the_place_of_the_papers() -> None:
    words = pair("resnet50-imagenet").split()
    config = compose(*words, "schedule=imagenet_cosine")
    assert settings(config) == COSINE
    assert config.schedule.base_lr == 1.024
    assert compose(*words).schedule.base_lr == 0.1


def test_every_recipe_and_every_experiment_is_in_the_tables_here() -> None:
    assert choices("recipe") == sorted(RECIPES)
    ours = [f"best_{name.split('-')[0]}" for name in EXPERIMENTS]
    authors = [words.split()[0].removeprefix("experiment=") for words in AUTHORS]
    assert choices("experiment") == sorted(ours + authors)
    launched = [
        (CONF / "experiment" / f"{name}.yaml").read_text() for name in choices("experiment")
    ]
    commands = [words for words in {**SETTINGS, **AUTHORS} if "experiment=" in words]
    assert all(any(f"dstrun {words}" in text for text in launched) for words in commands)


def _slow_twin(words: str) -> Any:
    return pytest.param(words, marks=[pytest.mark.slow] * words.endswith(TWINS))


@pytest.mark.parametrize("words", [_slow_twin(words) for words in SETTINGS])
def test_settings_follow_from_model_and_data_and_an_experiment_changes_some(words: str) -> None:
    assert settings(compose(*words.split())) == SETTINGS[words]


@pytest.mark.parametrize("words", AUTHORS)
def test_the_settings_of_another_methods_authors(words: str) -> None:
    config = compose(*words.split())
    assert settings(config) == AUTHORS[words]
    assert config.model.name in words
    assert (config.data.mean, config.data.std, config.data.validation) == ([0.1307], [0.3081], 0.1)


class Narrow(nn.Module):
    """A network with what recipes name: convolution, batch norm, hidden layer, classifier."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(shape[0], 2, 3), nn.BatchNorm2d(2)
        self.hidden, self.classifier = (
            nn.Linear(2 * (shape[1] - 2) * (shape[2] - 2), 4),
            nn.Linear(4, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.hidden(self.norm(self.conv(images)).relu().flatten(1)).relu())


@pytest.mark.parametrize("words", [words for words in SETTINGS if not words.endswith(TWINS)])
def test_a_narrow_network_learns_by_those_settings(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Train two updates: each changes weights and thresholds; excluded layers have no threshold."""
    monkeypatch.setitem(models.BUILDERS, "narrow", Narrow)
    monkeypatch.setitem(
        data.BUILDERS, "few", lambda root, **_: made_up((1, 8, 8), train=16, test=4)
    )
    few = {"schedule.epochs": 1, "schedule.batch_size": 8, "device": "cpu"}
    names = {
        "model.name": "narrow",
        "model.builder": "narrow",
        "data.name": "few",
        "data.builder": "few",
    }
    config = check(SETTINGS[words] | few | names)
    run = Trainer(config, prepare(config))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    (record,) = run.records(lambda _: False)
    assert (record.step, run.progress.epoch) == (2, 1)
    after = run.model.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    masked = {"conv", "hidden", "classifier"} - set(config.reg.exclude)
    assert {f"{name}.mask.threshold" for name in masked} | {
        "conv.weight",
        "classifier.weight",
    } <= changed
    assert not any(
        name.startswith(f"{layer}.mask") for name in before for layer in config.reg.exclude
    )


SHAPES = {
    "mnist": ((1, 28, 28), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "digits": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "imagenet": ((3, 224, 224), 1000),
    "text": ((128,), 256),
}


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.endswith(TWINS)])
def test_the_network_of_a_recipe_takes_its_images(name: str) -> None:
    """Build network and images on the meta device, which needs no memory."""
    model, _, images = name.partition("-")
    chosen, (shape, classes) = content_of("model", model), SHAPES[images]
    with torch.device("meta"):
        network = models.BUILDERS[chosen["builder"]](shape, classes, **chosen.get("args", {}))
        example = torch.zeros(2, *shape, dtype=torch.int64 if len(shape) == 1 else None)
        predictions = example.shape if name == "gpt-text" else (2,)
        assert network(example).shape == (*predictions, classes)


def test_a_recipe_trains_from_dense_to_frozen_masks(command: Command, made_up_data: None) -> None:
    """Train six epochs of ten updates; masks are frozen after 48 of them."""
    words = ["model=lenet_300_100", "data=mnist", "experiment=best_lenet_300_100"]
    outcome = command(*words, "schedule.epochs=6", "schedule.batch_size=2", "outputs=o", "group=g")
    assert (outcome.code, outcome.complaints) == (0, "")
    (run,) = Path("o/g").iterdir()
    churn = {(row["epoch"], row["layer"]): float(row["churn"]) for row in rows(run / "layers.csv")}
    assert min(churn[epoch, layer] for epoch in "12345" for layer in ("fc1", "fc2")) > 0
    assert [churn["6", layer] for layer in ("fc1", "fc2", "fc3")] == [0, 0, 0]
    epochs = rows(run / "metrics.csv")
    assert [int(row["step"]) for row in epochs] == [10, 20, 30, 40, 50, 60]
    assert float(epochs[0]["density"]) > 0.1
    assert [round(266_200 * float(row["density"])) for row in epochs[-2:]] == [5324, 5324], (
        "2 %, to the weight"
    )


TWO_STEPS = [
    "schedule.epochs=1",
    "data.train_limit=8",
    "data.test_limit=8",
    "schedule.batch_size=4",
]


ON_IMAGES = [words for words in SETTINGS if "data=text" not in words]  # test_text_runs has text


@pytest.mark.slow
@pytest.mark.parametrize("words", [*ON_IMAGES, *AUTHORS])
def test_every_recipe_and_experiment_runs_two_steps(
    command: Command, made_up_data: None, words: str
) -> None:
    words = f"{words} data.validation=0"  # of 8 images
    outcome = command(*words.split(), *TWO_STEPS, "outputs=o", "group=g")
    assert (outcome.code, outcome.complaints) == (0, "")
    (run,) = Path("o/g").iterdir()
    assert [row["step"] for row in rows(run / "metrics.csv")] == ["2"]


def test_command_line_beats_experiment_beats_recipe() -> None:
    words = ["model=vgg16", "data=cifar10", "experiment=best_vgg16"]
    chosen = compose(*words, "schedule=cosine", "schedule.lr=0.2").schedule
    assert (chosen.rate, chosen.lr, chosen.epochs) == ("onecycle", 0.2, 160)
    assert compose(*words[:2], "schedule=cosine").schedule.rate == "cosine"


def test_a_density_that_is_given_replaces_that_of_a_recipe(tmp_path: Path) -> None:
    """Whichever word each says: reg.density and reg.target_density are one for the method dst."""
    words = ["model=vit_tiny", "data=cifar10", "reg.density=0.05"]
    config = check(compose_single(words))
    assert (config.reg.target_density, config.reg.density) == (0.05, 0)
    assert not any("target_density" in line for line in notes(config, given_keys(words)))
    other = check(compose_single([*words, "reg=rigl"]))
    given = given_keys([*words, "reg.target_density=0"])  # as Hydra tells what was given
    assert other.reg.density == 0.05
    assert not any("target_density" in line for line in notes(other, given))
    assert check(compose_single([*words[:2], "++reg.density=0.05"])).reg.target_density == 0.05
    assert check(compose_single([*words[:2], "reg.density=0.0"])).reg.target_density == 0.1
    saved = tmp_path / "config.yaml"
    saved.write_text("reg: {method: dst, density: 0.0, target_density: 0.1}")
    again = check(load_saved_config(saved, ["reg.density=0.05"]))
    assert (again.reg.target_density, again.reg.density) == (0.05, 0)


@pytest.mark.parametrize("group", ["model", "data"])
def test_a_choice_of_model_or_data_is_called_by_its_name_and_has_a_builder(group: str) -> None:
    for name in choices(group):
        content = content_of(group, name)
        assert content["name"] == name or name in ("folder", "text")
        assert content["builder"] in {"model": models.BUILDERS, "data": data.BUILDERS}[group]
        check({f"{group}.{key}": value for key, value in content.items()})


PAIRS = [(model, "digits") for model in choices("model")] + [
    ("lstm_b", data) for data in choices("data")
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "data"), PAIRS)
def test_every_model_and_every_data_set_composes_with_a_recipe_or_without(
    model: str, data: str
) -> None:
    config = compose(f"model={model}", f"data={data}", "data.root=somewhere/images")
    assert config.model.name == model
    assert config.data.name == ("images" if data in ("folder", "text") else data)


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
    Path("conf/recipe/wrn_10_1-cifar10.yaml").write_text(
        "# @package _global_\nreg:\n  alpha: 3e-5\n"
    )
    assert compose("model=wrn_10_1", "data=cifar10").reg.alpha == 3e-5
