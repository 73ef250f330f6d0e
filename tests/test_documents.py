"""What the documents have people run, as far as it runs here."""

import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from dstrun.store import Store

from .conftest import Command
from .made_up import leave, status

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = runpy.run_path(str(DOCS / "results.py"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package's own, of pydantic
def test_the_workspace_for_wandb_has_the_dashboards_views() -> None:
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
    workspace = runpy.run_path(str(DOCS / "wandb_workspace.py"))["workspace"]("me", "mine")
    assert {section.name: len(section.panels) for section in workspace.sections} == {
        "Compare": 4, "Layers": 3, "Training": 3,
    }  # fmt: skip
    assert workspace.sections[1].panels[0].metric_regex == r"density/\d+\..*"


def test_what_the_page_on_comparing_shows_of_python() -> None:
    leave()
    text = (DOCS / "compare.md").read_text()
    start = text.index("```python") + len("```python")
    found: dict = {}
    exec(text[start : text.index("```", start)], found)
    assert len(found["store"].epochs()) == 2


@pytest.mark.parametrize("page", RESULTS["PAGES"], ids=lambda page: page.name)
def test_tables_of_results_are_what_their_commands_print(command: Command, monkeypatch: Any, page: Path) -> None:
    monkeypatch.chdir(RESULTS["ROOT"])
    text = page.read_text()

    assert RESULTS["filled"](text, lambda words: command(*shlex.split(words)).out) == text


def test_what_is_taken_over_of_runs_tells_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(Path("outputs/mine"), data__root="/home/me/data", outputs="/home/me/outputs")
    leave(Path("outputs/mine"), seed=1, state="interrupted")
    (run,) = Path("outputs/mine").glob("*-s0-*")
    status(run, owner={"host": "mine", "pid": 1}, git_commit="abc")
    monkeypatch.setitem(RESULTS["take_over"].__globals__, "RUNS", Path("runs"))
    RESULTS["take_over"](Path("outputs/mine"))
    (taken,) = Path("runs/mine").iterdir()
    assert sorted(file.name for file in taken.iterdir()) == [
        "config.yaml", "layers.csv", "metrics.csv", "status.json", "summary.json",
    ]  # fmt: skip
    assert not any(word in file.read_text() for file in taken.iterdir() for word in ("/home/me", '"mine"', "abc"))
    assert Store([Path("runs")]).runs.loc[f"mine/{run.name}", "state"] == "finished"
