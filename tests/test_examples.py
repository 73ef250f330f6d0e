"""The examples run as they begin to say, and leave runs that reports show beside dstrun's own."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dstrun.compare.run_tables import Store
from dstrun.system.files import read_csv
from tests.helpers.commands import Command
from tests.helpers.runs import QUICK

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEEDS = {"huggingface_trainer": "transformers", "lightning_digits": "lightning"}
DENSITY = {"huggingface_trainer": 0.2, "lightning_digits": 0.1, "own_loop": 0.1}
CHANCE = 0.1


def test_every_example_says_how_to_run_it_and_is_short() -> None:
    assert [file.stem for file in EXAMPLES] == sorted(DENSITY)
    for file in EXAMPLES:
        assert f": python examples/{file.name}\n" in file.read_text()
        assert len(file.read_text().splitlines()) < 80


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_leaves_a_run_that_a_report_shows(file: Path, command: Command) -> None:
    needed = NEEDS.get(file.stem)
    if needed and not importlib.util.find_spec(needed):
        pytest.skip(f"needs {needed}")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True)
    assert command(*QUICK, "wandb.mode=disabled").code == 0
    folder = Path(done.stdout.splitlines()[-1])
    (row,) = Store([folder]).runs.to_dict("records")
    assert (row["state"], row["loop"]) == ("finished", needed or "own")
    assert row["density"] == pytest.approx(DENSITY[file.stem], abs=0.01)
    assert row["test_accuracy"] > 5 * CHANCE
    found = [float(one["density"]) for one in read_csv(folder / "metrics.csv")]
    assert found[-1] <= found[0]
    table = command("report", "outputs")
    assert (table.code, table.err) == (0, "")
    for name in ("lenet_300_100", str(row["model.name"])):
        assert re.search(rf"^ .*{name} .*\d", table.out, re.MULTILINE), table.out
    assert "nan" not in table.out
    page = command("report", "outputs", "--html", "page.html")
    assert page.code == 0
    assert str(row["model.name"]) in Path("page.html").read_text()
