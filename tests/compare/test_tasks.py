"""Reports, figures and the dashboard of runs of several tasks: each is shown by its own figure."""

import csv
from pathlib import Path

import pytest

from dstrun.compare.aggregate import by_setting, front
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.view import Source
from dstrun.compare.labels import with_labels
from dstrun.compare.report import table
from dstrun.compare.report.sheet import markdown
from dstrun.compare.run_tables import Store
from dstrun.training.run import run
from tests.helpers.commands import Command
from tests.helpers.folders import leave
from tests.helpers.runs import rows
from tests.helpers.texts import config, tokens  # noqa: F401

pytestmark = pytest.mark.usefixtures("tokens")
METRICS_CSV = "metrics.csv"


@pytest.fixture
def mixed() -> Store:
    """Leave two runs of images and three of text, of which the densest is the best."""
    leave(accuracies=[0.9], densities=[1.0], reg__method="dense")
    leave(accuracies=[0.8], densities=[0.5], reg__alpha=1e-3)
    run(config(schedule__epochs=1, group="made"), "made")
    for alpha in (1e-3, 1e-2):
        run(config(schedule__epochs=1, group="made", reg__method="dst", reg__alpha=alpha), "made")
    for path in sorted(Path("outputs/made").glob("tokens*")):
        lines = rows(path / METRICS_CSV)
        bits, density = ((2.0, 1.0), (2.5, 0.5), (3.0, 0.6))[_place(path)]
        changed = {"test_bits_per_byte": bits, "test_perplexity": 2**bits, "density": density}
        changed |= {"density_model": density, "flops_fraction": density}
        with (path / METRICS_CSV).open("w", newline="") as file:
            writer = csv.DictWriter(file, [*lines[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerow(lines[0] | changed)
    return Store([Path("outputs")])


def _place(path: Path) -> int:
    return next(n for n, word in enumerate(("dense", "-a1e-3", "-a1e-2")) if word in path.name)


def test_a_report_shows_both_kinds_each_by_its_own_figure(mixed: Store, command: Command) -> None:
    rows_of = by_setting(mixed.runs)
    assert rows_of["bits_per_byte"].tolist()[-3:] == [2.0, 2.5, 3.0]
    assert rows_of["accuracy"].tolist()[:2] == [0.9, 0.8]
    assert rows_of["difference"].round(6).tolist()[1::2] == [-0.1, 0.5]
    assert rows_of["count"].tolist() == [1] * 5
    assert front(rows_of.iloc[2:]).tolist() == [True, True, False]
    text = markdown(table.sheet(rows_of))
    assert "| accuracy % | validation bits per byte | bits per byte | perplexity |" in text
    assert "**2.0000**" in text
    assert "**2.5000**" in text
    assert "3.0000" in text
    assert "**3.0000**" not in text
    assert "+0.5000" in text
    assert "-10.00" in text
    out = command("report", "outputs", "--filter", "bits_per_byte<2.6", "--csv").out
    (head, first, second) = csv.reader(out.splitlines())
    assert "accuracy" not in head
    assert {first[head.index("bits_per_byte")], second[head.index("bits_per_byte")]} == {
        *("2.0", "2.5")
    }
    out = command("report", "outputs", "--filter", "model=lenet_300_100", "--csv").out
    assert not [word for word in out.splitlines()[0].split(",") if "bits" in word]


def test_figures_show_the_headline_of_each_model_and_data(mixed: Store) -> None:
    runs = with_labels(mixed.runs)
    views = {view.title: view for view in catalogue.overview(Source(mixed, runs))}
    view = views["Accuracy or bits per byte against what remains"]
    axes = [view.figure["layout"][name]["title"]["text"] for name in ("yaxis", "yaxis2")]
    assert axes == ["test accuracy (%)", "test bits per byte"]
    fronts = [one for one in view.figure["data"] if one["name"] == "Pareto front"]
    assert [list(one["y"]) for one in fronts] == [[0.8, 0.9], [2.5, 2.0]]
    assert "better" in view.caption
    low, high = view.figure["layout"]["yaxis2"]["range"]
    assert low < 2 < 3 < high
    titles = [view.title for view in catalogue.curves(Source(mixed, runs))]
    assert titles == ["Density and accuracy", "Density and bits per byte", "Learning curves"]
    assert "bits per byte 2.5000" in [line for lines in runs["hover"] for line in lines]
    texts = with_labels(mixed.runs[mixed.runs["model.name"] == "tokens"])
    titles = [view.title for view in catalogue.overview(Source(mixed, texts))]
    assert titles[0] == "Bits per byte against what remains"


def test_the_dashboard_has_a_column_for_each_figure(mixed: Store) -> None:
    from dstrun.compare.dashboard.difference import facts_of
    from dstrun.compare.dashboard.grid import columns

    found = {one["field"]: one for one in columns(mixed.runs)}
    assert found["test_accuracy"]["sortingOrder"][0] == "desc"
    assert found["test_bits_per_byte"]["sortingOrder"][0] == "asc"
    assert found["test_bits_per_byte"]["headerName"] == "bits per byte"
    facts = facts_of(mixed.runs.iloc[-1], {})
    assert facts["bits per byte"] in ("2.0000", "2.5000", "3.0000")
    assert facts["accuracy"] == ""
