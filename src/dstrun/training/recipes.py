"""Recipes: config files for a pair of model and data set, named such as vgg16-cifar10."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from dstrun.config.groups import folders
from dstrun.config.options import OPTIONS, Config, flat, value_of
from dstrun.config.sections import MODEL_BUILDERS
from dstrun.config.yaml_files import read_yaml
from dstrun.runs.identity import applies
from dstrun.system.errors import InputError
from dstrun.system.numbers import short

Values = Mapping[str, Any]  # by dotted key, such as schedule.lr

# The values of a recipe that a line names, each in its form.
FORMS = {"schedule.lr": "lr {}", "reg.alpha": "alpha {}", "schedule.epochs": "{} epochs"}
BASE = {key: OPTIONS[key].metadata["default"] for key in FORMS}
LETTERS = 3  # that names of models of one kind have in common, such as vit or resnet
TUNED = ("schedule.lr", "reg.alpha")  # without a recipe these are the ones to choose


def recipe_of(config: Config) -> str | None:
    """Return the name of the recipe for the config's model and data; None if there is none.

    It goes by the labels model.name and data.name, of a folder of text by data=text. A user's model
    or data set whose label differs from the name of its file has no recipe.
    """
    data = "text" if config.data.builder == "text" else config.data.name
    name = f"{config.model.name}-{data}"
    return name if name in _recipe_files() else None


def changed_from_recipe(config: Config) -> list[str]:
    """Return the options with other values than in the config's recipe, if it has one."""
    name = recipe_of(config)
    if name is None:
        return []
    changed = []
    for key, value in _file_values(_recipe_files()[name]).items():
        if key in OPTIONS and applies(config, key) and value_of(config, key) != value:
            changed.append(key)
    return changed


def nearest_recipes(config: Config) -> list[str]:
    """Return, with its values, a recipe for the same data and one for the same model, if any.

    Of those for the same data it is the one whose model's name begins most alike; with LETTERS or
    more in common, unless the model is a user's. Left out are recipes whose learning rate and α are
    the base values, and one for the same data whose α differs by a factor of 10 from that for the
    same model: it is for other kinds of models.
    """
    recipes = _tuned_recipes()
    for_data = [name for name in recipes if name.endswith(f"-{config.data.name}")]
    for_model = [name for name in recipes if name.startswith(f"{config.model.name}-")]
    bare = config.model.name.rpartition(":")[2]  # of timm:NAME
    for_data.sort(key=lambda name: -_letters(bare, name))
    if config.model.builder in MODEL_BUILDERS or bare != config.model.name:
        for_data = [name for name in for_data if _letters(bare, name) >= LETTERS]
    if for_model:
        alpha = _alpha(recipes[for_model[0]])
        for_data = [name for name in for_data if alpha / 10 < _alpha(recipes[name]) < alpha * 10]
    chosen = (*for_data[:1], *for_model[:1])
    return [f"{name} ({value_words(recipes[name])})" for name in chosen]


def _letters(one: str, other: str) -> int:
    """Return with how many same letters two names begin, without the digits of a size behind."""
    count = 0
    while one[count : count + 1] == other[count : count + 1] != "":
        count += 1
    return len(one[:count].rstrip("0123456789"))


def _tuned_recipes() -> dict[str, Values]:
    """Return the values of each recipe that does not leave learning rate and α at their base."""
    recipes = {}
    for name, file in _recipe_files().items():
        values = _file_values(file)
        if any(values.get(key, BASE[key]) != BASE[key] for key in TUNED):
            recipes[name] = values
    return recipes


def value_words(values: Values) -> str:
    """Return 'lr 0.1, alpha 5e-6, 160 epochs', of these the values that are given."""
    words = []
    for key, form in FORMS.items():
        if key in values:
            value = values[key]
            words.append(form.format(f"{value:g}" if value >= 0.001 else short(value)))
    return ", ".join(words)


def _alpha(values: Values) -> float:
    return float(values.get("reg.alpha", BASE["reg.alpha"]))


def _recipe_files() -> dict[str, Path]:
    """Return the files of all recipes by name; a user's recipe replaces ours of the same name."""
    files = {}
    for folder in reversed(folders("recipe")):
        for file in sorted(folder.resolve().glob("*.yaml")):
            files[file.stem] = file
    return files


@cache
def _file_values(file: Path, package: str = "") -> Values:
    """Return the values in a recipe and the files it includes; {} if they cannot be read.

    package: prefix of the keys, such as schedule for a file that is included there.
    """
    with suppress(InputError, OSError):
        content = read_yaml(file, package)
        values: dict[str, Any] = {}
        for entry in content.pop("defaults", []):  # /schedule/cifar@schedule, or another recipe
            values |= _included_values(str(entry))
        for key, value in flat(content).items():
            values[f"{package}.{key}".lstrip(".")] = value
        return values
    return {}


def _included_values(entry: str) -> Values:
    """Return the values for an entry of a defaults list, from the first folder with its file."""
    path, _, package = entry.partition("@")
    group, name = Path(path).parent.name or "recipe", f"{Path(path).name}.yaml"
    for folder in folders(group):
        if (folder / name).is_file():
            return _file_values(folder.resolve() / name, package)
    return {}
