"""Who may know whom: the table of CONTRIBUTING.md, held against the imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dstrun"

MAY_KNOW: dict[str, set[str]] = {
    "system": set(),
    "models": set(),
    "data": {"system"},
    "config": {"system"},
    "methods": {"models", "system"},
    "runs": {"config", "methods", "system"},
    "training": {"methods", "models", "data", "runs", "config", "system"},
    "compare": {"runs", "config", "system"},
    "sweep": {"training", "runs", "config", "system"},
    "callbacks": {"runs", "methods", "config", "system"},
    "hydra_plugins": {"sweep", "training", "system"},
    "export": {"training", "runs", "methods", "models", "config", "system"},
    "cli": {
        "export",
        "sweep",
        "compare",
        "training",
        "runs",
        "methods",
        "models",
        "data",
        "config",
        "system",
    },
}
WITHOUT_TORCH = {"cli", "compare", "config", "hydra_plugins", "runs", "sweep", "system"}
WITH_TORCH = {
    "config/registry.py",
    "runs/checkpoint.py",
    "system/gpu.py",
    "system/machine.py",
}
WITHOUT_TORCH_TOO = {
    "training/console.py",
    "training/describe.py",
    "training/layer_table.py",
    "training/config_notes.py",
    "training/recipes.py",
}


def wing(file: Path) -> str:
    inside = file.relative_to(SOURCE.parent).parts
    return inside[1] if inside[0] == "dstrun" else inside[0]


def files(name: str) -> list[Path]:
    return sorted(
        (SOURCE.parent if name == "hydra_plugins" else SOURCE).joinpath(name).rglob("*.py")
    )


def imports(file: Path) -> set[str]:
    """Every module that a file imports, as `dstrun.wing` or by its own name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            package = node.module == "dstrun"
            found |= {f"dstrun.{alias.name}" for alias in node.names} if package else {node.module}
    return found


def test_every_wing_has_its_row() -> None:
    there = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert there | {"hydra_plugins"} == set(MAY_KNOW)
    assert {path.name for path in SOURCE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", MAY_KNOW)
def test_a_wing_knows_only_what_its_row_allows(name: str) -> None:
    for file in files(name):
        known = {word.split(".")[1] for word in imports(file) if word.startswith("dstrun.")} - {
            name
        }
        assert known <= MAY_KNOW[name] | {"__version__"}, file.name


def test_no_arrow_points_back_up() -> None:
    """Each wing stands after all that it knows."""
    order = list(MAY_KNOW)
    assert all(order.index(known) < order.index(name) for name in order for known in MAY_KNOW[name])


def test_what_answers_at_once_does_not_import_torch() -> None:
    for name in WITHOUT_TORCH | {"training"}:
        for file in files(name):
            place = str(file.relative_to(SOURCE)) if file.is_relative_to(SOURCE) else file.name
            if place in WITH_TORCH or (name == "training" and place not in WITHOUT_TORCH_TOO):
                continue
            assert not {word for word in imports(file) if word.split(".")[0] == "torch"}, place


def test_matplotlib_is_imported_by_what_draws_on_paper_alone() -> None:
    for file in SOURCE.rglob("*.py"):
        place = str(file.relative_to(SOURCE))
        if not place.startswith("compare/drawing/"):
            known = {word.split(".")[0] for word in imports(file)}
            assert "matplotlib" not in known, place
            if place != "cli/views.py":  # in a function
                assert not any("compare.drawing" in word for word in imports(file)), place


def test_the_table_that_people_read_is_this_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    written = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1]))
        for row in re.findall(r"^\| (`\w+`) \| [^|]* \|([^|]*)\|$", text, re.MULTILINE)
    }
    assert written == MAY_KNOW


def test_the_formula_stands_once() -> None:
    """|W| > t in masking.py and nowhere else."""
    holding = [
        file.name
        for file in SOURCE.rglob("*.py")
        if re.search(r"abs\(\) [>-] ?threshold", file.read_text())
    ]
    assert holding == ["masking.py"]


PRIVATE_TORCH = re.compile(
    r"\btorch\.(\w+\.)*_[a-z]|_foreach_|\bops\.aten\.|\b_conv_forward\b|torch[\w.]* import _[a-z]"
)
KERNELS = {
    "methods/compiler.py",
    "methods/dst/masking.py",
    "methods/fixed/mask.py",
    "methods/flops.py",
    "training/compiled_step.py",
}


def test_torchs_private_names_stand_in_few_files() -> None:
    """In the kernels of masks, calls of the compiler, and the counter's names of operators."""
    using = set()
    for file in SOURCE.rglob("*.py"):
        text = re.sub(r'"torch\._dynamo"', "", file.read_text())  # a name that a sweep preloads
        if PRIVATE_TORCH.search(text):
            using.add(str(file.relative_to(SOURCE)))
    assert using == KERNELS


def test_files_and_functions_stay_short() -> None:
    """At most 4 files of more than 250 lines, no function of more than 45, 15 names at the top."""
    long_files, long_functions = [], []
    for file in SOURCE.parent.rglob("*.py"):
        text = file.read_text()
        if text.count("\n") > 250:
            long_files.append(file.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 45:
                long_functions.append(f"{file.name}:{node.name}")
    assert len(long_files) <= 4, long_files
    assert not long_functions
    assert len([path for path in SOURCE.iterdir() if path.name != "__pycache__"]) <= 15


def test_dynamic_sparse_training_is_one_method_among_others() -> None:
    """Outside `methods/dst` nothing but the default mask of `sparsify` and the public names "
    "know it.
    """
    users = set()
    for file in SOURCE.rglob("*.py"):
        inside = str(file.relative_to(SOURCE))
        if not inside.startswith("methods/dst/") and any(
            word.startswith("dstrun.methods.dst") for word in imports(file)
        ):
            users.add(inside)
    assert users == {"methods/masked_layers.py", "runs/target_density.py"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--cfg", "job"],
        ["rerun", "--help"],
        ["seed=x"],
        ["report", "--help"],
        ["dashboard", "--help"],
    ],
)
def test_torch_is_not_imported_before_it_is_needed(words: list[str]) -> None:
    script = f"""
import sys
sys.argv = ["dstrun", *{words!r}]
from dstrun.cli.main import main
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "torchvision", "sklearn", "wandb", "pandas", "plotly", "dash", "matplotlib"}}
assert not heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_other_packages_trainers_are_not_imported_before_they_are_needed() -> None:
    """And one that is not installed is named with what installs it."""
    script = """
import sys
import dstrun
import dstrun.callbacks
heavy = {"torch", "transformers", "lightning", "accelerate"}
assert not heavy & set(sys.modules)
sys.modules.update(transformers=None, lightning=None)
for name, extra in (("HuggingFaceCallback", "huggingface"), ("LightningCallback", "lightning")):
    try:
        getattr(dstrun.callbacks, name)
    except ImportError as error:
        assert str(error).endswith(f": pip install 'dstrun[{extra}]'"), error
        assert "\\n" not in str(error)
    else:
        raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT / "tests")))
def test_what_tests_share_lies_in_helpers_and_they_use_public_names(file: Path) -> None:
    """No test module or conftest is imported; no private name is patched, or taken from a module or
    class of ours.
    """
    tree = ast.parse(file.read_text())
    modules = {name.rpartition(".")[2] for name in imports(file)}
    assert not {name for name in modules if name.startswith("test_") or name == "conftest"}
    ours = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module if isinstance(node, ast.ImportFrom) else alias.name or "").startswith(
            "dstrun"
        )
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            assert ast.unparse(node.value).partition(".")[0] not in ours, ast.unparse(node)
        if isinstance(node, ast.Call) and name_of(node.func).endswith("setattr"):
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            dotted = words[0] if len(words) == 1 and "." in str(words[0]) else ""
            foreign = dotted and not str(dotted).startswith("dstrun")
            assert foreign or not any(private(str(word).rpartition(".")[2]) for word in words), (
                ast.unparse(node)
            )


def name_of(function: ast.expr) -> str:
    """Return the last part of a dotted name; `ast.unparse` would take a second for all tests."""
    return getattr(function, "attr", getattr(function, "id", ""))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
