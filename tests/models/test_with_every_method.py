"""Every model with its recipe and every method: two steps on made-up images, from the command."""

from math import isfinite
from pathlib import Path

import pytest

from tests.helpers.commands import Command
from tests.helpers.methods import NAMES, words
from tests.helpers.runs import rows

# Arguments that make a model small. VGG-19 and ResNet-18 have none.
MODELS = {
    "mlp": ["model.args.widths=[6,5]"],
    "vit_tiny": ["model.args.depth=1", "model.args.width=8", "model.args.heads=2"],
    "resnet20": ["model.args.depth=8"],
    "mobilenet_v2": ["+model.args.width=0.1"],
    "resnet18": [],
    "vgg19": [],
}
GPT = ["model.args.depth=1", "model.args.width=8", "model.args.heads=2"]
TWO_STEPS = [
    "data=cifar10",
    "schedule.epochs=1",
    "data.train_limit=8",
    "data.test_limit=8",
    "schedule.batch_size=4",
    "wandb.mode=disabled",
    "outputs=o",
    "group=g",
]
FAST = [("mlp", "str"), ("vit_tiny", "dst"), ("vit_tiny", "grasp"), ("resnet20", "rigl")]


def _pair(model: str, method: str) -> object:
    slow = [] if (model, method) in FAST else [pytest.mark.slow]
    return pytest.param(model, method, marks=slow)


@pytest.mark.parametrize(
    ("model", "method"), [_pair(model, method) for model in MODELS for method in NAMES]
)
def test_a_model_makes_two_steps_with_its_recipe_and_any_method(
    command: Command, made_up_data: None, model: str, method: str
) -> None:
    few = ["reg.iterations=2"] * (method == "synflow")  # of 100, minutes for the largest
    outcome = command(f"model={model}", *MODELS[model], *TWO_STEPS, *words(method), *few)
    assert outcome.code == 0, outcome.out
    (run,) = Path("o/g").iterdir()
    epochs = rows(run / "metrics.csv")
    rounds = 3 if method == "imp" else 1  # dense, and two of pruning
    assert [int(row["step"]) for row in epochs] == [2, 4, 6][:rounds]
    assert all(isfinite(float(row["train_loss"])) for row in epochs)
    assert f"recipe {model}-cifar10" in outcome.out


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name == "dst" else pytest.mark.slow)
        for name in NAMES
        if name != "synflow"  # which is for images
    ],
)
def test_a_language_model_makes_two_steps_with_its_recipe_and_any_method(
    command: Command, method: str
) -> None:
    Path("text").mkdir()
    for part, lines in (("train", 40), ("test", 20)):
        (Path("text") / f"{part}.txt").write_text("all that is gold does not glitter\n" * lines)
    images = ["reg.images=4"] * (method in ("snip", "grasp"))
    words_of_text = ["data=text", "data.root=text", "data.args.length=16", *TWO_STEPS[1:]]
    outcome = command("model=gpt", *GPT, *words_of_text, *words(method), *images)
    assert outcome.code == 0, outcome.out + outcome.err
    (run,) = Path("o/g").iterdir()
    epochs = rows(run / "metrics.csv")
    assert [int(row["step"]) for row in epochs] == [2, 4, 6][: 3 if method == "imp" else 1]
    assert all(isfinite(float(row["train_loss"])) for row in epochs)
