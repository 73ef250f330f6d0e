"""Models of timm and torchvision by name: they fit the data, and nothing is fetched unasked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import yaml
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.config.registry import lookup
from dstrun.models import BUILDERS, PACKAGES
from dstrun.runs.code_record import changed_code, code_of
from dstrun.system.errors import InputError
from tests.helpers.commands import Command

TINY = ["schedule.epochs=1", "data.train_limit=8", "data.test_limit=8", "wandb.mode=disabled"]


def builder(name: str) -> Any:
    return lookup("model.builder", name, BUILDERS, "dstrun.models", PACKAGES)


def on_meta(name: str, shape: tuple[int, int, int], classes: int, **args: Any) -> nn.Module:
    """Return a model with shapes only; check that it takes images of that shape."""
    with torch.device("meta"):
        model = builder(name)(shape, classes, **args)
        assert model.eval()(torch.empty(2, *shape)).shape == (2, classes)
    return model


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("timm:resnet18", (3, 32, 32)),
        ("timm:vit_tiny_patch16_224", (3, 48, 32)),  # 6 patches
        ("timm:vit_tiny_patch16_224.augreg_in21k", (1, 32, 32)),
        ("timm:mixer_s16_224", (2, 32, 32)),
        ("torchvision:resnet18", (1, 32, 32)),
        ("torchvision:vit_b_16", (1, 32, 32)),
        ("torchvision:mobilenet_v3_small", (2, 40, 32)),
        ("torchvision:convnext_tiny", (1, 32, 32)),
        ("torchvision:densenet121", (1, 32, 32)),
    ],
)
def test_a_model_of_a_package_takes_the_channels_size_and_classes_of_the_data(
    name: str, shape: tuple[int, int, int]
) -> None:
    on_meta(name, shape, 7)


LARGE = ("regnet_x_3", "regnet_x_8gf", "regnet_x_1", "regnet_y")  # and read their weights


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES["torchvision"].names())
def test_every_classifier_of_torchvision_takes_gray_images(name: str) -> None:
    if name.startswith(LARGE):
        pytest.skip("like regnet_x_400mf, which is small enough to have memory")
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = builder(f"torchvision:{name}")((1, 224, 224), 7)
        assert model.train()(torch.empty(2, 1, 224, 224)).shape == (2, 7)


def test_for_the_usual_images_it_is_the_packages_own() -> None:
    with torch.device("meta"):
        theirs = timm.create_model("vit_tiny_patch16_224")
        ours = builder("timm:vit_tiny_patch16_224")((3, 224, 224), 1000)
        assert repr(ours) == repr(theirs)
        theirs = torchvision.models.mobilenet_v3_small()
        ours = builder("torchvision:mobilenet_v3_small")((3, 224, 224), 1000)
        assert repr(ours) == repr(theirs)
        gray = builder("torchvision:mobilenet_v3_small")((1, 224, 224), 1000)
        assert repr(gray) == repr(theirs).replace("Conv2d(3, ", "Conv2d(1, ", 1)


def test_arguments_reach_the_package_and_win_over_what_follows_from_the_data() -> None:
    model: Any = on_meta("timm:vit_tiny_patch16_224", (3, 32, 32), 7, depth=2, patch_size=4)
    assert (len(model.blocks), model.patch_embed.num_patches) == (2, 64)
    with torch.device("meta"):
        model = builder("timm:vit_tiny_patch16_224")((3, 32, 32), 7, img_size=64)
    assert model.patch_embed.num_patches == 16
    model = on_meta("torchvision:mobilenet_v3_small", (3, 32, 32), 7, dropout=0.7)
    assert model.classifier[2].p == 0.7


def test_the_same_seed_builds_the_same_model() -> None:
    for name in ("timm:resnet10t", "torchvision:squeezenet1_1"):
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(builder(name)((1, 32, 32), 5).state_dict())
        assert all(torch.equal(one, states[1][key]) for key, one in states[0].items())


# Weights of the package


def test_weights_of_timm_are_fetched_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(timm, "create_model", lambda name, **given: asked.append(given))
    builder("timm:resnet18")((1, 32, 32), 7)
    builder("timm:resnet18")((1, 32, 32), 7, pretrained=True)
    usual = {"num_classes": 7, "in_chans": 1}
    assert asked == [{"pretrained": False, **usual}, {"pretrained": True, **usual}]


class Fetched:
    """Weights of torchvision that lie here already, of a network for RGB and 1000 classes."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(9)
        self.state: dict[str, Tensor] = torchvision.models.get_model(name).state_dict()
        self.times = 0

    def get_state_dict(self, **options: Any) -> dict[str, Tensor]:
        self.times += 1
        assert options == {"progress": False, "check_hash": True}
        return self.state


def test_weights_of_torchvision_are_fetched_only_if_asked_for_and_loaded_where_they_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = Fetched("mobilenet_v3_small")
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: {"DEFAULT": fetched})
    build = builder("torchvision:mobilenet_v3_small")
    assert build((1, 32, 32), 7) is not None
    assert fetched.times == 0
    own = build((1, 32, 32), 7, pretrained=True).state_dict()
    differs = {key for key, one in own.items() if not torch.equal(one, fetched.state[key])}
    assert differs == {"features.0.0.weight", "classifier.3.weight", "classifier.3.bias"}
    whole = build((3, 32, 32), 1000, pretrained=True).state_dict()
    assert all(torch.equal(one, fetched.state[key]) for key, one in whole.items())
    assert fetched.times == 2


# What is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_tinny_patch16_224", "timm has no model 'vit_tinny_patch16_224'; did you mean "),
        ("torchvision:resnet19", "torchvision has no model 'resnet19'; did you mean resnet18 or "),
        ("torchvision:fcn_resnet50", "torchvision has no model 'fcn_resnet50'"),
        ("timm:no_such", "timm has no model 'no_such'; timm.list_models() lists its models"),
        (
            "torchvision:no_such",
            "torchvision has no model 'no_such'; "
            "torchvision.models.list_models(module=torchvision.models) lists its models",
        ),
        ("tim:resnet18", "there is no 'tim:resnet18'; did you mean timm:resnet18? (known: "),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(name: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        builder(name)
    assert str(refusal.value).startswith(f"model.builder: {message}")


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    outcome = command("model=timm:resnet18", *TINY)
    expected = "timm:resnet18 needs the package timm, which is not installed"
    line = f"dstrun: model.builder: {expected}: pip install 'dstrun[timm]'\n"
    assert (outcome.code, outcome.complaints) == (2, line)


def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def list_models() -> list[str]:
        raise ImportError("needs another torch")

    monkeypatch.setattr(timm, "list_models", list_models)
    with pytest.raises(InputError, match=r"timm cannot be imported: .*needs another torch"):
        builder("timm:resnet18")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=timm:resnet181", "dstrun: model.builder: timm has no model 'resnet181'; did "),
        ("model=timm:", "dstrun: model: there is no 'timm:'; did you mean timm:NAME? (choices: "),
        ("model=timm", "dstrun: model: there is no 'timm'; did you mean timm:NAME? (choices: "),
        (
            "model=torchvison:resnet18",
            "dstrun: model: there is no 'torchvison:resnet18'; did you mean torchvision:resnet18?",
        ),
        ("model=hf:bert", "dstrun: model: there is no 'hf:bert' (choices: deit_small, gpt, "),
        ("data=timm:resnet18", "dstrun: data: there is no 'timm:resnet18'"),
        (
            "model=timm:vit_tiny_patch16_224 +model.args.depht=3",
            "dstrun: model=timm:vit_tiny_patch16_224: TypeError in ",
        ),
        (
            "model=torchvision:vit_b_16 +model.args.patch_size=5",
            "dstrun: model=torchvision:vit_b_16: ",
        ),
    ],
)
def test_a_command_that_names_no_model_is_refused_in_a_line(
    command: Command, words: str, message: str
) -> None:
    outcome = command(*words.split(), *TINY)
    assert (outcome.code, outcome.complaints.count("\n")) == (2, 1)
    assert outcome.complaints.startswith(message)
    of_packages = ", timm:NAME, torchvision:NAME)\n"
    assert outcome.complaints.endswith(of_packages) is message.startswith("dstrun: model: ")


def test_images_that_are_not_square_are_refused_where_a_model_needs_square_ones() -> None:
    with pytest.raises(ValueError, match=r"^images are 32×48, vit_b_16 needs square ones$"):
        builder("torchvision:vit_b_16")((3, 32, 48), 7)


# As a choice


def test_a_models_name_is_a_choice_and_its_run_is_readable(command: Command) -> None:
    words = ["model=timm:resnet10t", "reg=dense", *TINY, "outputs=o", "group=g"]
    outcome = command(*words)
    assert outcome.code == 0
    folder = outcome.out.strip().splitlines()[-1]
    assert folder.startswith("o/g/timm_resnet10t-digits-dense-s0-")
    assert json.loads(Path(folder, "status.json").read_text())["code"] == {
        "model.builder": f"timm {timm.__version__}"
    }
    assert "recipe" not in outcome.out
    saved = yaml.safe_load(Path(folder, "config.yaml").read_text())["model"]
    assert saved == {"name": "timm:resnet10t", "builder": "timm:resnet10t", "args": {}}
    again = command("rerun", folder, "model=torchvision:squeezenet1_1", "dry_run=true")
    assert (again.code, again.complaints) == (0, "")


def test_another_version_of_a_package_is_told() -> None:
    config = check({"model.name": "any", "model.builder": "timm:resnet18"})
    assert code_of(config) == {"model.builder": f"timm {timm.__version__}"}
    lines = changed_code(config, {"model.builder": "timm 0.1"})
    assert lines == ["the code of model.builder=timm:resnet18 has changed since"]
