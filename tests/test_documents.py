"""What the documents have people run, as far as it runs here."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package's own, of pydantic
def test_the_workspace_for_wandb_has_the_dashboards_views() -> None:
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
    workspace = runpy.run_path(str(DOCS / "wandb_workspace.py"))["workspace"]("me", "mine")
    assert {section.name: len(section.panels) for section in workspace.sections} == {
        "Compare": 4, "Layers": 3, "Training": 3,
    }  # fmt: skip
    assert workspace.sections[1].panels[0].metric_regex == r"density/\d+\..*"


def test_what_the_page_on_comparing_shows_of_python() -> None:
    from .made_up import leave

    leave()
    text = (DOCS / "compare.md").read_text()
    start = text.index("```python") + len("```python")
    found: dict = {}
    exec(text[start : text.index("```", start)], found)
    assert len(found["store"].epochs()) == 2
