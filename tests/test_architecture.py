"""Who may know whom: the table of CONTRIBUTING.md, held against the imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dstrun"

# fmt: off
MAY_KNOW: dict[str, set[str]] = {
    "masking": set(),
    "steering": set(),
    "recurrent": set(),
    "density": set(),
    "flops": {"density"},
    "evaluate": set(),
    "optim": set(),
    "files": set(),
    "checkpoint": {"files"},
    "tracking": {"files"},
    "describe": {"config", "identity", "labels"},
    "console": {"describe"},
    "signals": set(),
    "cores": set(),
    "machine": {"cores"},
    "streams": set(),
    "errors": set(),
    "config": {"errors"},
    "image_tree": {"errors"},
    "data_record": {"errors"},
    "data": {"errors", "image_tree"},
    "models": {"recurrent"},
    "probe": set(),
    "layers": {"masking", "probe", "recurrent"},
    "fused": {"masking"},
    "loop_check": set(),
    "methods": {"layers", "loop_check", "masking", "steering", "density", "fused"},
    "update": {"evaluate", "methods", "optim"},
    "train": {"evaluate", "density", "methods", "update"},
    "identity": {"config"},
    "labels": {"config", "identity"},
    "literals": {"config"},
    "yaml_files": {"errors", "literals"},
    "sources": {"config", "errors", "literals", "yaml_files"},
    "hydra_errors": {"config", "errors"},
    "values": {"config", "errors", "literals", "sources", "hydra_errors"},
    "words": {"literals", "config", "errors", "sources"},
    "composition": {"config", "errors", "hydra_errors", "sources", "values"},
    "advice": {"wandb_run", "config", "errors", "identity", "sources", "yaml_files"},
    "status": {"tracking", "files", "errors"},
    "ledger": {
        "config", "errors", "identity", "composition", "tracking", "status", "image_tree", "data_record",
    },
    "registry": {"config", "errors"},
    "load_data": {"config", "errors", "data", "registry"},
    "trial": {"errors", "layers", "loop_check", "probe"},
    "build": {
        "config", "errors", "data", "models", "methods", "optim", "checkpoint", "machine", "update", "registry",
        "load_data", "layers", "trial",
    },
    "wandb_run": {"config", "errors", "identity"},
    "training": {"config", "build", "train", "evaluate", "checkpoint"},
    "session": {
        "advice", "config", "errors", "identity", "ledger", "build", "training", "train", "evaluate", "density",
        "flops", "checkpoint", "console", "describe", "machine", "signals", "tracking", "status", "files", "wandb_run",
    },
    "run": {
        "config", "errors", "ledger", "build", "session", "evaluate", "density", "describe", "checkpoint", "machine",
        "status", "tracking", "data_record", "wandb_run",
    },
    "pack": set(),
    "csr": {"masking", "recurrent"},
    "shrinking": {"masking"},
    "network": {"checkpoint", "composition", "config", "csr", "errors", "masking", "models", "pack", "registry"},
    "onnx_file": set(),
    "bench": {"csr", "onnx_file", "shrinking"},
    "export": {
        "config", "errors", "composition", "build", "checkpoint", "density", "flops", "machine", "cores", "files",
        "network", "shrinking", "onnx_file", "bench", "tracking", "console", "signals", "data_record",
    },
    "plan": {"literals", "sources", "values", "config", "errors", "composition", "ledger"},
    "summary": {"config", "identity", "ledger", "tracking", "status"},
    "board": {"describe", "errors", "labels", "plan", "ledger", "summary", "tracking", "status", "console"},
    "pool": {
        "config", "errors", "identity", "plan", "ledger", "tracking", "status", "streams", "signals", "cores",
        "machine", "build", "run", "wandb_run",
    },
    "sweep": {"errors", "plan", "board"},
    "search": {
        "sources", "values",
        "config", "errors", "composition", "labels", "plan", "board", "sweep", "ledger", "tracking", "status", "cores",
    },
    "hydra_plugins": {"advice", "errors", "plan", "pool", "sweep", "search"},
    "arguments": {"errors"},
    "paper": set(),
    "frames": {"files"},
    "store": {"config", "errors", "identity", "status", "tracking", "files", "frames"},
    "compare": {"config", "errors", "identity", "labels", "paper", "status"},
    "drawing": set(),
    "figures": {"compare", "drawing"},
    "views": {"store", "compare", "figures", "drawing"},
    "report": {"errors", "labels", "streams", "console", "tracking", "store", "compare", "page"},
    "page": {"store", "compare", "drawing", "views"},
    "panes": {"compare"},
    "contents": {"labels", "store", "compare", "drawing", "views", "report"},
    "live": {"errors", "labels", "store", "compare", "report", "panes", "contents"},
    "dashboard": {"errors", "report", "live", "signals"},
    "help": {"config", "sources"},
    "cli": {
        "advice", "sources", "words", "streams", "config", "errors", "composition", "help", "run", "arguments",
        "report", "dashboard", "export",
    },
}
WITHOUT_TORCH = {
    "advice", "hydra_errors", "literals", "sources", "values", "words", "yaml_files",
    "cli", "errors", "config", "composition", "identity", "tracking", "console", "help", "signals", "cores", "status",
    "ledger", "plan", "summary", "board", "sweep", "search", "hydra_plugins", "paper", "store", "compare", "drawing",
    "figures", "views", "report", "page", "panes", "contents", "live", "dashboard", "arguments", "frames",
    "files", "describe", "image_tree", "data_record", "streams",
}
# fmt: on


def rooms(imported: str) -> str:
    return imported.removeprefix("dstrun.").split(".")[0]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            package = node.module == "dstrun"
            found |= {f"dstrun.{alias.name}" for alias in node.names} if package else {node.module}
    return found


def files(room: str) -> list[Path]:
    if room == "hydra_plugins":
        return sorted((SOURCE.parent / room).rglob("*.py"))
    return sorted((SOURCE / room).glob("*.py")) if (SOURCE / room).is_dir() else [SOURCE / f"{room}.py"]


def test_every_module_has_its_row() -> None:
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} | {"hydra_plugins"} == set(MAY_KNOW)


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_module_knows_only_what_its_row_allows(room: str) -> None:
    for file in files(room):
        ours = {rooms(name) for name in imports(file) if name.startswith("dstrun.")} - {room}
        assert ours <= MAY_KNOW[room], file.name
        if room in WITHOUT_TORCH:
            assert not {name for name in imports(file) if name.split(".")[0] == "torch"}, file.name


def test_the_table_that_people_read_is_this_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    written = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1]))
        for row in re.findall(r"^\| (`\w+`) \| [^|]* \|([^|]*)\|$", text, re.MULTILINE)
    }
    assert written == MAY_KNOW


def test_a_network_is_loaded_without_training_code() -> None:
    """By the table: what `network` may know, what that may know, and so on."""
    reached = {"network"}
    while more := {other for room in reached for other in MAY_KNOW[room]} - reached:
        reached |= more
    assert not reached & {"train", "session", "methods", "layers", "build", "run", "optim"}


def test_the_formula_stands_once() -> None:
    """|W| > t in masking.py and nowhere else."""
    holding = [file.name for file in SOURCE.rglob("*.py") if re.search(r"abs\(\) [>-] ?threshold", file.read_text())]
    assert holding == ["masking.py"]


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--cfg", "job"], ["rerun", "--help"], ["seed=x"], ["report", "--help"], ["dashboard", "--help"]],
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
assert not {{"torch", "torchvision", "sklearn", "wandb", "pandas", "plotly", "dash"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT / "tests")))
def test_what_tests_share_lies_in_helpers_and_they_use_public_names(file: Path) -> None:
    """No test module or conftest is imported; no private name is patched, or taken from a module or class of ours."""
    tree = ast.parse(file.read_text())
    modules = {name.rpartition(".")[2] for name in imports(file)}
    assert not {name for name in modules if name.startswith("test_") or name == "conftest"}
    ours = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module if isinstance(node, ast.ImportFrom) else alias.name or "").startswith("dstrun")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            assert ast.unparse(node.value).partition(".")[0] not in ours, ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant)]
            dotted = words[0] if len(words) == 1 and "." in str(words[0]) else ""
            foreign = dotted and not str(dotted).startswith("dstrun")
            assert foreign or not any(private(str(word).rpartition(".")[2]) for word in words), ast.unparse(node)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
