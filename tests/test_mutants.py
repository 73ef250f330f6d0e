"""Mutation tests detect bad changes, in spite of stale bytecode and tests that always fail."""

import subprocess
from pathlib import Path

import pytest

from tests.covered import SOURCE, figure_modules
from tests.mutants import Copy, CoverageMap, Mutant, without_change
from tests.mutations import changes


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("(a) is not b in c", ["(a) is b in c", "(a) is not b not in c"]),
        ("(a + b) * c", ["(a + b) / c", "(a - b) * c"]),
        ("'é' + (a - b)", ["'é' + (a + b)"]),
        ("a | b", ["(a)", "(b)"]),
        ("a += b", ["a -= b", "pass"]),
        ("-a + (not b)", ["-a - (not b)", "(a) + (not b)", "-a + ((b))"]),
        ("a and b", ["a or b", "((b))", "((a))"]),
        ("a = [b, c]", ["a = [c, b]"]),
        (
            "a = 3; b = 0.5; c = 0.0; d = True",
            [
                "a = 4; b = 0.5; c = 0.0; d = True",
                "a = 2; b = 0.5; c = 0.0; d = True",
                "a = 3; b = (1.0); c = 0.0; d = True",
                "a = 3; b = (-0.5); c = 0.0; d = True",
                "a = 3; b = 0.5; c = (1.0); d = True",
                "a = 3; b = 0.5; c = 0.0; d = False",
            ],
        ),
        ("f(a, (b), k=c)", ["pass", "f(b, (a), k=c)", "f(a, (b))"]),
        (
            "x = f(a, 3.0); y = a.flatten(b), folder / a, min(a, b), a in (b, c)",
            [
                "x = f(a, (6.0)); y = a.flatten(b), folder / a, min(a, b), a in (b, c)",
                "x = f(a, (-3.0)); y = a.flatten(b), folder / a, min(a, b), a in (b, c)",
                "x = f(a, 3.0); y = a.flatten(), folder / a, min(a, b), a in (b, c)",
                "x = f(a, 3.0); y = a.flatten(b), folder / a, max(a, b), a in (b, c)",
                "x = f(a, 3.0); y = a.flatten(b), folder / a, min(a, b), a not in (b, c)",
            ],
        ),
        ("x = f(k=c, l=d)", ["x = f(l=d)", "x = f(k=c)"]),
        ("x = min(a.sum(b))", ["x = max(a.sum(b))", "x = min(a.mean(b))", "x = min(a.sum())"]),
        ("x if a else y", ["(x)", "(y)"]),
        ("if f(a): b.c = d", ["if not (f(a)): b.c = d", "if f(a): pass"]),
        ("a[b:c]", ["a[:c:]", "a[b::]"]),
        ("{'k': v, **w}", ["{**{}, **w}"]),
        ("[x for x in a if b]", ["[x for x in a if True]"]),
        ("while a:\n  break", ["while not (a):\n  break", "while a:\n  continue"]),
        (
            "try:\n  f()\nexcept (A, B):\n  a.b = c",
            [
                "try:\n  pass\nexcept (A, B):\n  a.b = c",
                "try:\n  f()\nexcept (A, B):\n  pass",
            ],
        ),
        (
            "def f(a, b):\n  raise E(1 + 2)\n  return a",
            [
                "def f(a, b):\n  pass\n  return a",
                "def f(a, b):\n  raise E(1 + 2)\n  return b",
            ],
        ),
        (
            "def f(a: int = 1) -> x[1, 2]:\n  '''2 + 3'''",
            [
                "def f(a: int = 2) -> x[1, 2]:\n  '''2 + 3'''",
                "def f(a: int = 0) -> x[1, 2]:\n  '''2 + 3'''",
            ],
        ),
        (
            "__all__ = [a, b]; Pair = x[1, 2]; say(f'{1 + 2}', 3); "
            "a = f(color=1 + 2, k={'width': 3})",
            [
                "__all__ = [a, b]; Pair = x[1, 2]; say(f'{1 + 2}', 3); a = f(color=1 + 2)",
            ],
        ),
    ],
)
def test_what_is_changed(source: str, mutated: list[str]) -> None:
    assert sorted(change.applied(source) for change in changes(source).values()) == sorted(mutated)


def test_names_of_changes_hold_while_their_lines_do() -> None:
    source = "def f(a):\n    return a + 1\n"
    named = changes(source)
    assert len(named) == 3
    moved = changes(f"x = 3\n\n{source}")
    assert {name: change.first + 2 for name, change in named.items()}.items() <= {
        name: change.first for name, change in moved.items()
    }.items()
    assert not named.keys() & changes(source.replace("f(", "g(")).keys()
    twice = changes("a = 1\na = 1\n")
    assert [change.first for change in twice.values()] == [1, 1, 2, 2], (
        "the same line twice has names of its own"
    )


def test_what_makes_figures_is_there() -> None:
    modules = {str(file.relative_to(SOURCE)) for file in figure_modules()}
    assert {
        "methods/dst/masking.py",
        "data/folder.py",
        "models/lstm.py",
        "compare/aggregate.py",
        "export/export.py",
    } <= modules


def test_a_modules_own_tests_run_first() -> None:
    coverage = CoverageMap(seconds={"tests/cli/test_a.py::test_b": 0.01})
    own = "tests/methods/test_masking.py::test_c"
    tests = {"tests/cli/test_a.py::test_b", own}
    assert coverage.ordered(SOURCE / "methods/dst/masking.py", tests)[0] == own


TESTS = """
from dstrun.methods.dst.masking import f

def test_red():
    assert f(1) == 3

def test_one():
    assert f(1) == 2

def test_two():
    assert f(2) == 3

def test_endless():
    while f(0) == 0:
        pass
"""


@pytest.mark.slow
def test_a_change_is_killed_by_a_test_that_passes_without_it() -> None:
    """Try changes of equal size within a second, tests that always fail, and an endless one."""
    source = "def f(x):\n    return x + 1\n"
    for name, text in {
        "src/dstrun/__init__.py": "",
        "src/dstrun/methods/dst/masking.py": source,
        "tests/test_f.py": TESTS,
    }.items():
        file = Path("checkout", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    root = Path("checkout").resolve()
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    copy = Copy(Path("copy").resolve(), root)
    tests = [
        f"tests/test_f.py::{name}" for name in ("test_red", "test_two", "test_one", "test_endless")
    ]
    assert without_change(copy, tests) == {tests[0]}
    outcomes = {}
    for change in changes(source).values():
        with copy.changed(
            mutant := Mutant("id", root / "src/dstrun/methods/dst/masking.py", change)
        ):
            outcomes[change.applied(source).split("return ")[1].strip()] = copy.run(
                tests[1:], cpu=2
            )
        assert mutant.difference(root).splitlines()[-2:] == [
            "-    return x + 1",
            "+" + change.applied(source).splitlines()[1],
        ]
    assert {words: (found["outcome"], found["failed"]) for words, found in outcomes.items()} == {
        "x - 1": ("failed", [tests[1]]),
        "x + 2": ("failed", [tests[1]]),
        "x + 0": ("failed", [tests[1]]),
    }
    assert copy.run(tests[1:], cpu=2)["outcome"] == "passed", "the change is taken back"
    with copy.changed(
        Mutant(
            "id",
            root / "src/dstrun/methods/dst/masking.py",
            next(c for c in changes(source).values() if c.text == "0"),
        )
    ):
        assert copy.run(tests[3:], cpu=1)["outcome"] == "time limit"
