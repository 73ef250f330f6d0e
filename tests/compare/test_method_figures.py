"""Figures of methods, or settings, at equal density, and of thresholds: traces by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dstrun.compare.figures import catalogue, method_views
from dstrun.compare.figures.method_curves import Course, of_network, over_epochs
from dstrun.compare.figures.view import Source, View
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.runs.metrics import LAYERS, QUANTILES
from tests.helpers.figures import numbers, on, titles
from tests.helpers.folders import layer_row, leave, leave_methods, rows, status

LOOK = {"color": "#0072b2", "dash": "dot"}


def made(name: str) -> tuple[list[View], Source]:
    there = Store([Path("outputs")])
    source = Source(there, with_labels(there.runs))
    return list(catalogue.FIGURES[name].make(source)), source


def test_accuracy_against_multiply_adds_by_method() -> None:
    """RigL, the second of three lines, is at its own place: half its density."""
    leave_methods(seeds=2)
    ((view,), _) = made("methods-flops")
    (rigl,) = [one for one in view.figure["data"] if one["name"] == "rigl" and "fill" not in one]
    assert np.round(rigl["x"], 6).tolist() == [0.025, 0.05]
    assert rigl["hovertext"][0] == "rigl<br>multiply-adds 2.50%<br>91.50% ± 0.71 (2)"
    assert "multiply-adds (% of dense, log scale)" in titles(view.figure)
    assert view.title == "Accuracy against multiply-adds, by method"


def test_settings_without_finished_runs_are_on_no_line() -> None:
    """RigL at 20 % and GMP are running, still nearly dense; one more seed of SET is as well."""
    leave_methods()
    running = {"accuracies": [0.5], "densities": [0.9], "state": "running", "created": 50}
    leave(reg__method="rigl", reg__density=0.2, reg__every=100, **running)
    for method in ("gmp", "set"):
        leave(reg__method=method, reg__density=0.1, reg__every=0, seed=7, **running)
    ((view,), _) = made("methods")
    lines = {one["name"]: one["x"] for one in view.figure["data"] if one["mode"] != "none"}
    marks = {name: len(x) for name, x in lines.items()}
    assert marks == {"dense, mean": 2, "rigl": 2, "set": 2, "dst": 2}
    ((view,), _) = made("layers-methods")
    ten = view.figure["data"][1]
    assert ten["y"] == ["dst", "rigl", "set"]
    assert [row[0] for row in ten["customdata"]] == pytest.approx([0.1] * 3)
    for folder in Path("outputs/made").glob("*-d*"):
        status(folder, state="failed")
    ((view,), _) = made("methods")
    assert "gmp" in {one["name"] for one in view.figure["data"]}, "as none is finished"
    ((view,), _) = made("layers-methods")
    assert "gmp" in view.figure["data"][1]["y"]


def test_density_of_layers_by_method() -> None:
    """RigL at 10 %: fc1 and fc2 0.05 and 0.25 in one run, 0.1 in the other."""
    leave_methods(seeds=2)
    (folder,) = Path("outputs/made").glob("*rigl-d1e-1-s0*")
    content = [layer_row(2, 20, "fc1", 0.05), layer_row(2, 20, "fc2", 0.25)]
    rows(folder / "layers.csv", LAYERS, content)
    ((view,), source) = made("layers-methods")
    five, ten = view.figure["data"]
    assert ten["y"] == ["dst", "rigl", "set"]
    assert ten["x"] == ["all layers", "fc1", "fc2"]
    assert ten["customdata"][1] == pytest.approx([0.1, 0.075, 0.175])
    assert ten["z"][1] == pytest.approx(np.log10([0.1, 0.075, 0.175]))
    assert ten["text"][1] == ["10.0", "7.50", "17.5"]
    names = [one.name for one in catalogue.layers(source)]
    assert names == ["layers", "layers-methods"], "in the place of a panel of bars a method"
    assert five["zmin"] == ten["zmin"] == pytest.approx(np.log10(0.05))
    panels = [one["text"] for one in view.figure["layout"]["annotations"]]
    assert panels == ["5 % asked for", "10 % asked for"]


def test_methods_at_one_density() -> None:
    """Tables of settings have no column of what all runs have in common."""
    for method in ("rigl", "set"):
        folder = leave(reg__method=method, reg__density=0.1)
        content = [layer_row(at, 10 * at, "fc1", 0.5) | {"explored": at / 4} for at in (1, 2, 3)]
        rows(folder / "layers.csv", LAYERS, content)
    for name in ("layers-methods", "explored", "gradient-flow", "churn"):
        ((view,), _) = made(name)
        panels = [one["text"] for one in view.figure["layout"]["annotations"]]
        assert panels == ["10 % asked for"], name


def table(run: str, explored: float, norms: tuple[float, float]) -> pd.DataFrame:
    """Return two epochs of two layers of 300 and 100 weights."""
    content = [
        layer_row(epoch, epoch, layer, 0.5) | {"explored": share, "gradient_norm": norm}
        for epoch in (1, 2)
        for layer, share, norm in zip(("fc1", "fc2"), (explored, 1.0), norms, strict=True)
    ]
    return pd.DataFrame(content).assign(run=run, at=[1.0, 1.0, 2.0, 2.0])


def test_layers_together() -> None:
    """Explored: 150 + 100 of 400 weights. Norm: 5 of 3 and 4; unknown where a layer's is."""
    network = of_network(table("a", 0.5, (3, 4)))
    assert network["explored"].tolist() == [0.625, 0.625]
    assert network["gradient_norm"].tolist() == [5, 5]
    assert np.isnan(network["churn"][0]), "of the first row, since there was no mask before"
    assert network["churn"][1] == pytest.approx(0.01)
    assert of_network(table("a", 0.5, (3, np.nan)))["gradient_norm"].isna().all()


def test_churn_of_an_epoch_with_several_rows() -> None:
    """Epochs of two rows, 1 % each: the first has no mask before, and the fourth is not over."""
    steps = range(1, 8)
    content = [layer_row(1 + (step - 1) // 2, step, "fc1", 0.5) for step in steps]
    network = of_network(pd.DataFrame(content).assign(run="a", at=[step / 2 for step in steps]))
    nan = np.nan
    expected = [nan, nan, nan, 0.02, nan, 0.02, nan]
    assert network["churn"].tolist() == pytest.approx(expected, nan_ok=True)
    assert network["gradient_norm"].notna().all()


def test_a_line_and_a_band_over_seeds() -> None:
    """Norms 10 and 40: on a logarithmic axis the mean is 20, the deviation a factor of 2.665."""
    network = of_network(pd.concat([table("a", 0.5, (6, 8)), table("b", 1, (24, 32))]))
    courses = {"": [Course("rigl", LOOK, ["a", "b"]), Course("set", LOOK, ["b"])]}
    figure = over_epochs(network, courses, "gradient_norm", "norm")
    band, line, other = figure["data"]
    factor = np.exp(np.log(4) / np.sqrt(2))
    assert numbers(line["y"]) == pytest.approx([20, 20], rel=1e-5)
    assert numbers(band["y"]) == pytest.approx([20 * factor] * 2 + [20 / factor] * 2, rel=1e-5)
    assert numbers(band["x"]) == [1, 2, 2, 1]
    assert numbers(other["y"]) == pytest.approx([40, 40], rel=1e-5)
    assert line["line"]["dash"] == "dot"
    assert figure["layout"]["yaxis"]["type"] == "log"
    churn = over_epochs(network, courses, "churn", "churn")
    assert numbers(churn["data"][0]["x"]) == [2]
    assert "type" not in churn["layout"]["yaxis"]


def test_methods_over_epochs_at_each_density(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_methods(seeds=2)
    assert made("gradient-flow")[0] == [], "one epoch is no course"
    for folder in Path("outputs/made").iterdir():
        rows(folder / "layers.csv", LAYERS, [layer_row(at, at, "fc1", 0.5) for at in (1, 2)])
    ((view,), _) = made("gradient-flow")
    assert [one["name"] for one in on(view.figure, "y2")] == ["dst", "rigl", "set"]
    panels = [one["text"] for one in view.figure["layout"]["annotations"]]
    assert panels == ["5 % asked for", "10 % asked for"]
    assert made("explored")[0] == [], "all of it, from the start on"
    monkeypatch.setattr(method_views, "DENSITIES", 1)
    assert len(made("gradient-flow")[0][0].figure["layout"]["annotations"]) == 1


def test_settings_of_one_method_over_epochs() -> None:
    for alpha in (1e-3, 1e-2):
        for seed in range(7):
            leave(reg__alpha=alpha, seed=seed, created=seed)
    ((view,), source) = made("gradient-flow")
    assert [one["name"] for one in view.figure["data"]] == ["α 1e-3", "α 1e-2"]
    (lines,) = method_views.courses_of(source).values()
    assert [len(course.runs) for course in lines] == [5, 5]


def test_thresholds_over_epochs() -> None:
    """Three bands and the median of one run; of two one band each; of earlier ones the mean."""
    quantiles = dict(zip(QUANTILES, (0.0, 0.1, 0.15, 0.18, 0.19), strict=True))
    folder = leave(reg__alpha=1e-3)
    ((earlier,), _) = made("thresholds")
    band, line = on(earlier.figure, "y")
    assert numbers(band["y"]) == [0.2, 0.2, -0.1, -0.1]
    assert numbers(line["y"]) == [0.1, 0.2], "means"
    assert "Quantiles were not recorded." in earlier.caption
    content = [layer_row(epoch, epoch, "fc1", 0.5) | quantiles for epoch in (1, 2)]
    rows(folder / "layers.csv", LAYERS, content)
    ((view,), _) = made("thresholds")
    *bands, line = on(view.figure, "y")
    assert [numbers(band["y"]) for band in bands] == [
        [0.2, 0.2, -0.1, -0.1],
        [0.19, 0.19, 0, 0],
        [0.18, 0.18, 0.1, 0.1],
    ]
    assert numbers(line["y"]) == [0.15, 0.15]
    leave(reg__alpha=1e-2, created=1)
    leave(reg__method="dense", created=2)
    ((both,), _) = made("thresholds")
    names = [one["name"] for one in on(both.figure, "y") if "fill" not in one]
    assert names == ["α 1e-3, seed 0", "α 1e-2, seed 0"]


def test_thresholds_of_a_few_layers() -> None:
    folder = leave(reg__alpha=1e-3)
    content = [
        layer_row(at, at, "fc1", 0.5) | {"layer": f"fc{layer}"}
        for at in (1, 2)
        for layer in range(23)
    ]
    rows(folder / "layers.csv", LAYERS, content)
    ((view,), _) = made("thresholds")
    panels = [one["text"] for one in view.figure["layout"]["annotations"]]
    assert panels == [f"fc{layer}" for layer in range(0, 23, 2)]
    assert view.caption.endswith(" 12 of 23 layers.")
