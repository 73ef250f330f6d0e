"""Mistakes in a user's package: exit code 2, one line with entry point, file and line, no files."""

import json
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from dstrun.config.check import check
from dstrun.system.errors import InputError
from dstrun.training.prepare import prepare
from tests.helpers.commands import Command

HEAD = "import torch\nfrom dstrun import Split, Splits\n"
GOOD = """
def good(root, **options):
    labels = torch.arange(40) % 2
    return Splits(*[Split(torch.zeros(40, 1, 8, 8).to(torch.uint8), labels)] * 2, classes=2)
"""


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current folder importable, for the package that `offer` writes."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in ("stripes", "shades"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def offer(source: str, *entries: str, group: str = "dstrun.data") -> None:
    """Leave the module `stripes` as an installed package with entry points, as pip would."""
    Path("stripes.py").write_text(HEAD + source)
    metadata = Path("stripes-0.1.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stripes\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *entries]) + "\n")
    invalidate_caches()


CHOSEN = {"data": "stripes", "model": "lenet5"}
ENTRY = "the entry point `dstrun.data: stripes = "


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("source", "target", "line"),
    [
        (
            "",
            "shades:f",
            f"data.builder: {ENTRY}shades:f` cannot be loaded: "
            "ModuleNotFoundError (No module named 'sha",
        ),
        (
            "",
            "stripes:f",
            f"data.builder: {ENTRY}stripes:f` cannot be loaded: "
            "AttributeError (module 'stripes' has no",
        ),
        (
            "import shades",
            "stripes:f",
            f"data.builder: {ENTRY}stripes:f` cannot be loaded: ModuleNotFoundError in stri"
            "pes.py:3 (No module named 'shades')",
        ),
        (
            "f = = 1",
            "stripes:f",
            f"data.builder: {ENTRY}stripes:f` cannot be loaded: SyntaxError in stripes.py:3 (",
        ),
        (
            "f = 1 / 0",
            "stripes:f",
            f"data.builder: {ENTRY}stripes:f` cannot be loaded: ZeroDivisionError in stripes.p",
        ),
        (
            "",
            "stripes",
            f"data.builder: {ENTRY}stripes` is a module, expected a function (MODULE:FUNCTION)",
        ),
        (
            "def f(root): 1 + 'a'",
            "stripes:f",
            "data=stripes: TypeError in stripes.py:3 (unsupported operand type",
        ),
        (
            "def f(root): torch.zeros(2) @ torch.zeros(3)",
            "stripes:f",
            "data=stripes: RuntimeError in stripes.py:3",
        ),
        (
            "import json\ndef f(root): json.loads('{')",
            "stripes:f",
            "data=stripes: JSONDecodeError in stripes.py:4 (",
        ),
        (
            "def g(): 1 / 0\ndef f(root): g()",
            "stripes:f",
            "data=stripes: ZeroDivisionError in stripes.py:3 (",
        ),
        ("def f(root): raise KeyError", "stripes:f", "data=stripes: KeyError in stripes.py:3\n"),
        (
            "def f(root): open(root / 'x')",
            "stripes:f",
            "data=stripes: FileNotFoundError in stripes.py:3 (",
        ),
        (
            "def f(root): raise SystemExit('bye')",
            "stripes:f",
            "data=stripes: SystemExit in stripes.py:3 (bye)",
        ),
        (
            "raise SystemExit",
            "stripes:f",
            f"data.builder: {ENTRY}stripes:f` cannot be loaded: SystemExit in stripes.",
        ),
        (
            "def f(root, colour): pass",
            "stripes:f",
            "data.args: stripes() missing a required argument: 'colour'",
        ),
        ("def f(): pass", "stripes:f", "data.args: stripes() too many positional arguments"),
    ],
)
def test_a_mistake_in_a_users_data_set(source: str, target: str, line: str) -> None:
    offer(source, f"stripes = {target}")
    with pytest.raises(InputError) as refused:
        prepare(
            check(
                {
                    f"{part}.{key}": name
                    for part, name in CHOSEN.items()
                    for key in ("name", "builder")
                }
            )
        )
    said = f"{refused.value}\n"
    assert said.startswith(line)
    assert said.count("\n") == 1


@pytest.mark.usefixtures("package")
def test_a_mistake_in_a_users_data_set_is_one_line_of_the_command(command: Command) -> None:
    offer("def f(root): raise SystemExit('bye')", "stripes = stripes:f")
    outcome = command("data=stripes", "model=lenet5")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "dstrun: data=stripes: SystemExit in stripes.py:3 (bye)\n"
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("package")
def test_arguments_of_a_data_set_are_compared_with_its_parameters(command: Command) -> None:
    offer("def f(root, colour=0): pass", "stripes = stripes:f")
    said = [command("data=stripes", f"data.args.{word}=1").err for word in ("color", "size")]
    assert said[0].endswith(
        "data.args: stripes() got an unexpected keyword argument 'color'; did you mean colour?\n"
    )
    assert said[1].endswith("data.args.size: expected data.size=1, which is an option of its own\n")


METHOD = "from dstrun.methods.static import Static\nfrom dstrun.methods.base import Method\n"
OF_METHOD = "reg.method: the entry point `dstrun.methods: mine = "


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ("mine = 3", "", f"{OF_METHOD}stripes:mine` is a int, expected a class (MODULE:CLASS)"),
        ("", "", f"{OF_METHOD}stripes:mine` cannot be loaded: AttributeError (module 'stripes'"),
        (
            "def mine(density): return torch.zeros(2)",
            "",
            "reg.method: mine is a Tensor, expected a subclass of dstrun.methods.base.Method",
        ),
        (
            "class mine(Static): pass",
            "reg.args.powr=2",
            "reg.method=mine: TypeError (FixedMaskMethod.__init__() got an unexpected keyword "
            "argument 'powr')",
        ),
        (
            "class mine(Static):\n    def __init__(self, density, power=1, seed=0): 1 / 0",
            "reg.args.powr=2",
            "reg.args: mine() got an unexpected keyword argument 'powr'; did you mean power?",
        ),
        (
            "class mine(Method):\n    def __init__(self): super().__init__()",
            "",
            "reg.density: mine has no such option",
        ),
        (
            "class mine(Static):\n    def __init__(self, density): 1 / 0",
            "",
            "reg.method=mine: ZeroDivisionError in stripes.py:6 (division by zero)",
        ),
        (
            "class mine(Static): pass",
            "reg.distribution=uniform reg.density=0.001",
            "reg.density: got 0.001, which keeps 267 of 266,200 weights; expected",
        ),
    ],
)
def test_a_mistake_in_a_method_is_one_line(
    source: str, words: str, line: str, command: Command
) -> None:
    offer(METHOD + source, "mine = stripes:mine", group="dstrun.methods")
    outcome = command("reg=mine", "reg.density=0.1", *words.split())
    assert (outcome.code, outcome.err.count("\n"), outcome.out) == (2, 1, "")
    assert outcome.err.startswith(f"dstrun: {line}")
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("package")
def test_code_of_a_package_that_has_changed_since_is_told(command: Command) -> None:
    offer(METHOD + "class mine(Static): pass", "mine = stripes:mine", group="dstrun.methods")
    words = ("reg=mine", "reg.density=0.1", "schedule.epochs=0", "data.train_limit=64")
    assert command(*words).code == 0
    again = command(*words)
    assert ("finished already" in again.out, again.err) == (True, "")
    Path("stripes.py").write_text(METHOD + "class mine(Static): changed = True")
    again = command(*words)
    told = "the code of reg.method=mine has changed since\n"
    assert ("finished already" in again.out, again.err.endswith(told)) == (True, True)
    (folder,) = Path("outputs/single").iterdir()
    for damaged in ([], {"reg.method": None}, None):
        status = json.loads((folder / "status.json").read_text()) | {"code": damaged}
        (folder / "status.json").write_text(json.dumps(status))
        assert command(*words).code == 0
