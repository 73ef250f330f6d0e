"""Figures: their traces, compared with tables made by hand."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dstrun.compare import aggregate
from dstrun.compare.figures import catalogue, style
from dstrun.compare.figures.alpha import against_alpha
from dstrun.compare.figures.curves import density_and_accuracy, learning_curves
from dstrun.compare.figures.layers import final_density, heat_map, layer_density
from dstrun.compare.figures.methods import against
from dstrun.compare.figures.parallel import parallel_coordinates
from dstrun.compare.figures.pareto import accuracy_density, kept_against_accuracy
from dstrun.compare.figures.view import Source
from dstrun.compare.labels import HUES, METHOD_HUES, OTHER_HUES, method_hue, with_labels
from dstrun.compare.paper import published_densities, published_rows
from dstrun.compare.run_tables import Store
from dstrun.config.sparsity_options import METHODS
from dstrun.runs.metrics import LAYERS
from tests.helpers.figures import marks, named, numbers, on, titles
from tests.helpers.folders import layer_row, leave, leave_methods, rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store of six runs, the last of them interrupted.

    Accuracies: dense 0.97 and 0.99; α 1e-3 0.96 and 0.98, with 0.2 and 0.3 of the weights; α 1e-2
    0.9, with 0.05.
    """
    folder = tmp_path_factory.mktemp("outputs") / "made"
    for seed, accuracy in enumerate((0.97, 0.99)):
        leave(folder, [0.5, accuracy], [1.0, 1.0], seed=seed, reg__method="dense", created=seed)
    for seed, (accuracy, density) in enumerate(((0.96, 0.2), (0.98, 0.3))):
        leave(folder, [0.6, accuracy], [0.5, density], seed=seed, reg__alpha=1e-3, created=2 + seed)
    leave(folder, [0.7, 0.9], [0.4, 0.05], reg__alpha=1e-2, created=4)
    leave(folder, [0.2], [0.9], reg__alpha=1e-4, state="interrupted", created=5)
    return Store([folder.parent])


@pytest.fixture(scope="module")
def runs(store: Store) -> pd.DataFrame:
    return with_labels(store.runs)


def test_accuracy_against_density(runs: pd.DataFrame) -> None:
    figure = accuracy_density(runs, published_rows([("lenet_300_100", "mnist")]))
    found = marks(figure)
    assert found["x"] == [1, 1, 0.2, 0.3, 0.05, 0.9]
    assert found["y"] == [0.97, 0.99, 0.96, 0.98, 0.9, 0.2]
    assert found["runs"] == list(runs.index)
    assert found["symbol"][:3] == ["circle", "square", "circle"]
    assert found["symbol"][5] == "circle-open", "a run that is not finished is open"
    assert found["color"][:3] == [style.GREY, style.GREY, style.COLOURS[0]]
    assert "α 1e-3, seed 0" in found["hovertext"][2]
    legend = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert legend == [
        "Pareto front",
        "dense, mean",
        "dense",
        "α 1e-3",
        "α 1e-2",
        "α 1e-4",
        "the paper",
    ]
    front = named(figure, "Pareto front")
    assert (numbers(front["x"]), numbers(front["y"])) == (
        [0.05, 0.2, 0.3, 1],
        [0.9, 0.96, 0.98, 0.99],
    )
    dense = named(figure, "dense, mean")
    assert numbers(dense["y"]) == [0.98, 0.98]
    assert dense["hovertext"] == "dense: 98.00% ± 1.41 (2)"
    paper = named(figure, "the paper")
    assert (numbers(paper["x"]), numbers(paper["y"])) == ([0.0248], [0.9769])
    assert (numbers(paper["error_x"]["array"]), numbers(paper["error_y"]["array"])) == (
        [0.0021],
        [0.0014],
    )
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert titles(figure) == {"remaining weights (%, log scale)", "test accuracy (%)"}
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.85 < low < 0.9 < 0.99 < high, "the run under way does not spoil the scale"


def test_a_panel_for_each_model_and_data() -> None:
    leave()
    leave(model__name="lenet5", model__builder="lenet5", created=9)
    leave(accuracies=[0.5], densities=[1], data__name="digits", data__builder="digits", created=10)
    figure = accuracy_density(with_labels(Store([Path("outputs")]).runs))
    names = ["lenet_300_100 on mnist", "lenet5 on mnist", "lenet_300_100 on digits"]
    assert [one["text"] for one in figure["layout"]["annotations"]] == names
    assert len(marks(figure, "y2")["runs"]) == 1
    fronts = [
        trace
        for axis in ("y", "y2", "y3")
        for trace in on(figure, axis)
        if trace["name"] == "Pareto front"
    ]
    assert [(*numbers(front["x"]), *numbers(front["y"])) for front in fronts] == [
        (0.25, 0.95),
        (0.25, 0.95),
        (1, 0.5),
    ]
    legend = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert len(legend) == len(set(legend)), "what is in both panels stands in the legend once"


def test_accuracy_and_density_against_alpha(runs: pd.DataFrame) -> None:
    settings = aggregate.by_setting(runs[runs["state"] == "finished"])
    figure = against_alpha(settings)
    (accuracy,) = [trace for trace in on(figure, "y") if trace["name"] == "mean over seeds"]
    (density,) = on(figure, "y2")
    assert numbers(accuracy["x"]) == numbers(density["x"]) == [0.001, 0.01]
    assert numbers(accuracy["y"]) == [0.97, 0.9]
    assert numbers(accuracy["error_y"]["array"]) == [round(0.02 / 2**0.5, 6), 0]
    assert numbers(density["y"]) == [0.25, 0.05]
    assert accuracy["hovertext"][0] == "α 1e-3<br>97.00% ± 1.41 (2)"
    assert numbers(named(figure, "dense, mean")["y"]) == [0.98, 0.98]
    assert figure["layout"]["xaxis"]["ticktext"] == ["1e-3", "1e-2"]
    assert figure["layout"]["xaxis"]["type"] == figure["layout"]["xaxis2"]["type"] == "log"


def test_the_papers_figure_3_beside_ours() -> None:
    for alpha, density in ((1e-6, 0.2), (1e-5, 0.1)):
        leave(model__name="vgg16", data__name="cifar10", reg__alpha=alpha, densities=(1, density))
    settings = aggregate.by_setting(with_labels(Store([Path("outputs")]).runs))
    figure = against_alpha(settings, published_densities([("vgg16", "cifar10")]))
    points = named(figure, "the paper, read off figure 3")
    assert dict(zip(points["x"], points["y"], strict=True))[1e-6] == 0.155


def test_lines_of_their_own_for_what_else_differs() -> None:
    for granularity in ("neuron", "layer"):
        for alpha in (1e-3, 1e-2):
            leave(reg__granularity=granularity, reg__alpha=alpha)
    settings = aggregate.by_setting(with_labels(Store([Path("outputs")]).runs))
    figure = against_alpha(settings)
    assert {trace["name"] for trace in on(figure, "y")} == {
        "granularity neuron",
        "granularity layer",
    }


def test_density_of_every_layer_of_one_run(store: Store, runs: pd.DataFrame) -> None:
    one = runs.iloc[[2]]
    figure = layer_density(store.layers(one.index), one)
    assert [trace["name"] for trace in figure["data"]] == ["model", "fc1", "fc2"]
    assert numbers(named(figure, "fc1")["x"]) == [1, 2]
    assert numbers(named(figure, "fc1")["y"]) == [0.5, 0.2]
    assert numbers(named(figure, "model")["y"]) == [0.5, 0.2]
    assert titles(figure) == {"epoch", "density (%)"}
    switch = figure["layout"]["updatemenus"][0]["buttons"]
    assert [button["args"][0] for button in switch] == [
        {"yaxis.type": "linear"},
        {"yaxis.type": "log"},
    ]


def test_only_finished_dense_runs_are_baselines() -> None:
    """Check that each dense setting with finished runs has a line, and that density 0 is drawn."""
    for lr, accuracy, state in (
        (0.01, 0.98, "finished"),
        (0.5, 0.1, "finished"),
        (0.1, 0.3, "failed"),
    ):
        leave(
            accuracies=[accuracy], densities=[1], reg__method="dense", schedule__lr=lr, state=state
        )
    leave(accuracies=[0.9], densities=[0.0])
    there = with_labels(Store([Path("outputs")]).runs)
    found = [trace for trace in accuracy_density(there)["data"] if trace["name"] == "dense, mean"]
    assert sorted(numbers(trace["y"])[0] for trace in found) == [0.1, 0.98]
    assert [trace["x"][0] for trace in found] == [1e-5] * 2
    lines = against_alpha(aggregate.by_setting(there))["data"]
    found = [trace for trace in lines if trace["name"] == "dense, mean"]
    assert sorted(numbers(trace["y"])[0] for trace in found) == [0.1, 0.98]
    assert found[0]["x"][0] < 5e-4 < found[0]["x"][1], (
        "one α is no reason for a line without length"
    )


def test_a_run_without_layers_has_no_line_beside_those_that_have_some(
    store: Store, runs: pd.DataFrame
) -> None:
    figure = layer_density(store.layers(runs.index[2:3]), runs.iloc[2:5])
    assert [trace["name"] for trace in on(figure, "y2")] == ["α 1e-3, seed 0"]


def test_what_a_run_has_explored_is_a_map_unless_it_is_all() -> None:
    run = leave(reg__method="rigl", reg__density=0.5)

    def maps() -> list[str]:
        there = Store([Path("outputs")])
        return [view.title for view in catalogue.one_run(Source(there, with_labels(there.runs)))]

    assert "Explored, layer × epoch" not in maps()
    content = [layer_row(1, 10, layer, 0.5) | {"explored": 0.6} for layer in ("fc1", "fc2")]
    rows(run / "layers.csv", LAYERS, content)
    assert "Explored, layer × epoch" in maps()


def test_a_line_per_method() -> None:
    """RigL from 91.5 % at a density of 5 % to 95.5 % at 10 %, with a band of ± 0.71."""
    leave_methods(seeds=2)
    there = Store([Path("outputs")])
    runs = with_labels(there.runs)
    figure = against(aggregate.by_setting(runs))
    named = {trace["name"]: trace for trace in figure["data"] if trace["showlegend"]}
    assert list(named) == ["dense, mean", "dst", "rigl", "set"]
    rigl, colour = named["rigl"], style.look(method_hue("rigl"), 0)["color"]
    assert rigl["line"]["color"] == colour
    assert list(rigl["x"]) == [0.05, 0.1]
    assert np.round(rigl["y"], 6).tolist() == [0.915, 0.955]
    (band,) = [one for one in figure["data"] if one.get("fill") and one["fillcolor"] == colour]
    assert band["x"] == [0.05, 0.1, 0.1, 0.05]
    assert np.round(named["set"]["x"], 6).tolist() == [0.0515, 0.103], "beside it"
    assert named["set"]["hovertext"][0] == "set<br>remaining 5.00%<br>89.50% ± 0.71 (2)"
    assert np.round(band["y"], 4).tolist() == [0.9221, 0.9621, 0.9479, 0.9079]
    assert set(named["dense, mean"]["y"]) == {0.975}
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_several_methods_are_told_apart_by_colour() -> None:
    """In the figure of all runs, each with the Pareto front of its own; DST's is its own too."""
    leave_methods(seeds=2)
    there = Store([Path("outputs")])
    runs = with_labels(there.runs)
    views = list(catalogue.overview(Source(there, runs)))
    assert views[1].title == "Accuracy against density, by method"
    marked = [trace for trace in views[0].figure["data"] if "customdata" in trace]
    assert [trace["name"] for trace in marked] == ["dense", "rigl", "set", "dst"]
    assert [len(trace["x"]) for trace in marked] == [2, 4, 4, 4]
    fronts = {one["name"]: one for one in views[0].figure["data"] if one["mode"] == "lines"}
    assert list(fronts["rigl"]["y"]) == [0.92, 0.96]
    assert fronts["rigl"]["line"]["color"] == marked[1]["marker"]["color"]
    colours = [trace["marker"]["color"] for trace in marked]
    assert colours[0] == style.GREY
    assert len(set(colours)) == 4


@pytest.mark.parametrize("count", [12, 13])
def test_axis_and_legend_of_more_than_twelve_settings(runs: pd.DataFrame, count: int) -> None:
    """Check that the legend names up to twelve settings, or none."""
    some = pd.concat(
        [
            runs.iloc[2:3].assign(**{"reg.alpha": 1e-4 * (1 + k), "series": k, "hue": k})
            for k in range(count)
        ]
    )
    settings = aggregate.by_setting(some.assign(setting=[f'{{"k": {k}}}' for k in range(count)]))
    assert ("tickvals" in against_alpha(settings)["layout"]["xaxis"]) == (count == 12)
    marked = [trace for trace in accuracy_density(some)["data"] if "customdata" in trace]
    assert [trace["showlegend"] for trace in marked] == [count == 12] + [False] * (count - 1)


def test_a_layer_may_be_called_model(store: Store, runs: pd.DataFrame) -> None:
    one = runs.iloc[[2]]
    layers = store.layers(one.index)
    layers["layer"] = layers["layer"].astype(str).replace("fc1", "model")
    assert [trace["name"] for trace in layer_density(layers, one)["data"]] == [
        "model",
        "model",
        "fc2",
    ]


def test_update_by_update() -> None:
    """Check that rows within an epoch are at their fraction of it, as in the paper's figure 4."""
    run = leave(Path("outputs/steps"), seed=3)
    content = [
        layer_row(1, step, layer, 1 / step) for step in (1, 5, 10) for layer in ("fc1", "fc2")
    ]
    rows(run / "layers.csv", LAYERS, content)
    there = Store([run])
    figure = layer_density(there.layers(), with_labels(there.runs))
    assert numbers(named(figure, "fc2")["x"]) == [0.1, 0.5, 1]


def test_density_of_every_layer_of_several_runs(store: Store, runs: pd.DataFrame) -> None:
    some = runs.iloc[[2, 4]]
    figure = layer_density(store.layers(some.index), some)
    assert [one["text"] for one in figure["layout"]["annotations"]] == ["model", "fc1", "fc2"]
    for axis in ("y", "y2", "y3"):
        assert [trace["name"] for trace in on(figure, axis)] == ["α 1e-3, seed 0", "α 1e-2, seed 0"]
    assert numbers(on(figure, "y2")[1]["y"]) == [0.4, 0.05]


def test_a_run_looks_the_same_in_every_figure(store: Store, runs: pd.DataFrame) -> None:
    """Check that α 1e-2 has the colour and dash of its series, whatever else is shown."""
    wanted = style.look(runs["series"].iloc[4], 0)
    for some in (runs.iloc[[4]], runs.iloc[[2, 4]], runs):
        lines = learning_curves(store.epochs(some.index), some)["data"]
        lines += layer_density(store.layers(runs.index), runs)["data"]
        mine = [trace["line"] for trace in lines if trace["name"] == "α 1e-2, seed 0"]
        assert {line["color"] for line in mine} == {wanted["color"]}
        assert {line["dash"] for line in mine} == {wanted["dash"]}
        found = marks(accuracy_density(some))
        assert found["color"][found["runs"].index(runs.index[4])] == wanted["color"]


def test_looks_differ() -> None:
    """Check sixteen settings of five seeds, dense ones, and methods whatever their settings are."""
    looks = [style.look(series, seed) for series in range(16) for seed in range(5)]
    assert len({(look["color"], look["dash"]) for look in looks}) == 80
    assert len({(look["color"], look["symbol"]) for look in looks}) == 80
    assert style.look(-1, 0)["dash"] != style.look(-2, 0)["dash"], "of two dense settings"
    sparse = [name for name in METHODS if name != "dense"]
    kinds = [[style.look(method_hue(name), kind) for kind in range(5)] for name in sparse]
    of_methods = [look for own in kinds for look in own]
    assert len({(look["color"], look["dash"]) for look in of_methods}) == len(of_methods)
    assert len({(own[0]["color"], own[0]["symbol"]) for own in kinds}) == len(sparse)
    every = range(METHOD_HUES, METHOD_HUES + len(HUES) + OTHER_HUES)
    one_each = [style.look(hue, 0) for hue in every]
    for part in ("symbol", "dash"):
        assert len({(look["color"], look[part]) for look in one_each}) == len(every)
    others = {method_hue(f"mine{number}") for number in range(1000)}
    assert others == {*every} - {*HUES.values()}, "none looks like one of ours"


def test_final_density_by_layer(store: Store, runs: pd.DataFrame) -> None:
    """Check a panel per setting; 0.2 and 0.3 make 0.25 ± 0.0707."""
    some = runs.iloc[2:5]
    layers = store.layers(some.index)
    layers.loc[
        (layers["layer"] == "fc2") & (layers["run"] == some.index[0]) & (layers["epoch"] == 2),
        "density",
    ] = 0.5
    figure = final_density(layers, some)
    first, second = figure["data"]
    assert first["x"] == ["fc1", "fc2"]
    assert numbers(first["y"]) == [0.25, 0.4]
    assert numbers(first["error_y"]["array"]) == [0.070711, 0.141421]
    assert numbers(second["y"]) == [0.05, 0.05]
    names = [one["text"] for one in figure["layout"]["annotations"]]
    assert names == ["α 1e-3: 25.00% remaining", "α 1e-2: 5.00% remaining"]


def test_heat_maps(store: Store, runs: pd.DataFrame) -> None:
    layers = store.layers([runs.index[2]])
    layers.loc[layers.index[-1], "density"] = 0
    (density,) = heat_map(layers, "density")["data"]
    assert (density["x"], density["y"]) == ([1, 2], ["fc1", "fc2"])
    assert numbers(density["customdata"]) == [0.5, 0.2, 0.5, 0]
    assert numbers(density["z"]) == [round(np.log10(z), 6) for z in (0.5, 0.2, 0.5, 1e-5)]
    assert density["z"]["shape"] == "2, 2"
    (threshold,) = heat_map(layers, "threshold_mean")["data"]
    assert numbers(threshold["z"]) == [0.1, 0.2, 0.1, 0.2]
    assert threshold["zmid"] == 0
    (churn,) = heat_map(layers, "churn")["data"]
    assert numbers(churn["z"]) == [-2] * 4


def test_learning_curves(store: Store, runs: pd.DataFrame) -> None:
    figure = learning_curves(store.epochs(runs.index[2:3]), runs.iloc[2:3])
    losses, test_losses, accuracies, test_accuracies = (
        on(figure, axis)[0] for axis in ("y", "y2", "y3", "y4")
    )
    assert numbers(losses["y"]) == [1, 0.5]
    assert numbers(test_losses["y"]) == [2, 1]
    assert (numbers(accuracies["y"]), numbers(test_accuracies["y"])) == ([0.3, 0.48], [0.6, 0.96])
    assert {"loss in training (nats)", "test accuracy (%)"} < titles(figure)


def test_learning_curves_of_a_validation_split_where_there_is_one(
    store: Store, runs: pd.DataFrame
) -> None:
    epochs = store.epochs(runs.index[2:3]).assign(
        validation_loss=[3.0, 2.0], validation_accuracy=[0.1, 0.2]
    )
    figure = learning_curves(epochs, runs.iloc[2:3])
    assert {"validation loss (nats)", "validation accuracy (%)"} < titles(figure)
    assert [numbers(on(figure, axis)[0]["y"]) for axis in ("y5", "y6")] == [[3, 2], [0.1, 0.2]]


def test_density_and_accuracy_on_two_axes(store: Store, runs: pd.DataFrame) -> None:
    figure = density_and_accuracy(store.epochs(runs.index[2:3]), runs.iloc[2:3])
    left, right = figure["data"]
    assert (numbers(left["y"]), left["line"]["dash"]) == ([0.5, 0.2], "dash")
    assert (numbers(right["y"]), right["yaxis"]) == ([0.6, 0.96], "y2")
    assert titles(figure) == {"epoch", "density (%), dashed", "test accuracy (%), solid"}
    assert figure["layout"]["yaxis"]["rangemode"] == "tozero"


def test_parameters_and_multiply_adds_against_accuracy(runs: pd.DataFrame) -> None:
    figure = kept_against_accuracy(runs)
    kept = [round(410 * share, 3) for share in marks(figure, "y")["x"]]
    assert kept == [410, 410, 90, 130, 30], "known of finished runs"
    assert marks(figure, "y2")["x"] == [0.5, 0.5, 0.1, 0.15, 0.025, 0.45]
    assert marks(figure, "y2")["y"] == [0.97, 0.99, 0.96, 0.98, 0.9, 0.2]


def test_parallel_coordinates(runs: pd.DataFrame) -> None:
    """Check the axes method, α, seed, density and accuracy, and the heights of runs on them."""
    figure = parallel_coordinates(runs)
    assert figure["layout"]["xaxis"]["ticktext"] == [
        "method",
        "α",
        "seed",
        "density (%)",
        "test accuracy (%)",
    ]
    found = {}
    for trace in figure["data"]:
        if trace.get("name") == "runs":  # a colour, its runs one after the other with gaps
            for at in range(0, len(trace["y"]), 6):
                found[trace["customdata"][at]] = trace["y"][at : at + 5]
    assert set(found) == set(runs.index)
    assert found[runs.index[0]] == [0, 0, 0, 1, pytest.approx((0.97 - 0.2) / 0.79)], (
        "a dense run has no α"
    )
    assert found[runs.index[3]] == pytest.approx([1, 2 / 3, 1, 0.25 / 0.95, 0.78 / 0.79])
    labels = [trace for trace in figure["data"] if trace["mode"] == "text"]
    assert labels[1]["text"] == ["–", "1e-4", "1e-3", "1e-2"]


def test_names_are_shown_as_text() -> None:
    leave()
    leave(model__name="<b>x</b> & %{y}", created=7)
    there = Store([Path("outputs")])
    runs = with_labels(there.runs)
    for view in [
        *catalogue.overview(Source(there, runs)),
        *catalogue.layers(Source(there, runs)),
        *catalogue.curves(Source(there, runs)),
    ]:
        words = repr(view.figure)
        assert "<b>" not in words
    said = [
        word for axis in ("y", "y2") for word in marks(accuracy_density(runs), axis)["hovertext"]
    ]
    assert any("&lt;b&gt;x&lt;/b&gt; &amp; %{y}" in word for word in said)


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.slow
def test_plotly_accepts_every_figure(
    store: Store, runs: pd.DataFrame, count: int, dark: bool
) -> None:
    some = runs.iloc[-count:]
    shown = [
        *catalogue.overview(Source(store, some)),
        *catalogue.layers(Source(store, some)),
        *catalogue.curves(Source(store, some)),
    ]
    shown += catalogue.one_run(Source(store, some.iloc[:1]))
    assert len(shown) >= 9
    for view in shown:
        layout = view.figure["layout"] | {"template": style.template(dark)}
        go.Figure(view.figure | {"layout": layout})
        assert view.title
        assert view.caption
        axes = [value for name, value in layout.items() if name.startswith(("xaxis", "yaxis"))]
        assert any("title" in axis for axis in axes) or "tickvals" in layout["xaxis"]


def plain(value: Any, names: dict[str, str]) -> Any:
    """Return a figure as JSON has it: numbers to six digits, and places for the names of runs."""
    if isinstance(value, dict):
        return {key: plain(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple | pd.Series | pd.Index | np.ndarray):
        return [plain(part, names) for part in value]
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(f"{value:.6g}")
    if isinstance(value, np.integer):
        return int(value)
    return (
        re.sub("|".join(names), lambda name: names[name[0]], value)
        if isinstance(value, str)
        else value
    )


def test_every_figure_is_as_in_the_golden_file(store: Store, runs: pd.DataFrame) -> None:
    """Compare layout and traces with figures.json.

    After an intended change: look at the figures, then copy the file that this test leaves.
    """
    settings = aggregate.by_setting(runs)
    source = Source(store, runs)
    views = [*catalogue.overview(source), *catalogue.layers(source), *catalogue.curves(source)]
    views += catalogue.one_run(source.of(runs.iloc[2:3]))
    shown = {view.title: view.figure for view in views}
    two = settings.assign(**{"model.name": ["a", "b"] * 2})
    shown["α of two networks"] = against_alpha(two)
    names = {name: f"run {place}" for place, name in enumerate(runs.index)}
    drawn = {title: plain(figure, names) for title, figure in shown.items()}
    now = json.dumps(drawn, indent=0, ensure_ascii=False, sort_keys=True) + "\n"
    kept = Path(__file__).with_name("figures.json")
    if now != kept.read_text():
        left = kept.parents[2] / "build" / "figures.json"
        left.parent.mkdir(exist_ok=True)
        left.write_text(now)
        before = json.loads(kept.read_text())
        other = [title for title in drawn if drawn[title] != before.get(title)] or "their number"
        pytest.fail(f"figures have changed: {other}; compare {kept} with {left}")


def test_runs_without_epochs_beside_one_that_has_some() -> None:
    leave(accuracies=(), densities=(), schedule__epochs=0)
    leave(state="interrupted")
    there = Store([Path("outputs")])
    runs = with_labels(there.runs)
    for view in [
        *catalogue.overview(Source(there, runs)),
        *catalogue.layers(Source(there, runs)),
        *catalogue.curves(Source(there, runs)),
    ]:
        go.Figure(view.figure)


def test_a_run_without_layers_has_no_figures_of_its_own() -> None:
    leave(accuracies=(), densities=(), state="interrupted")
    there = Store([Path("outputs")])
    assert list(catalogue.one_run(Source(there, with_labels(there.runs)))) == []


def test_captions_say_how_many_runs_are_shown() -> None:
    for number in range(30):
        leave(reg__alpha=1e-4 * (number + 1), densities=(0.9, 1 / (number + 2)), created=number)
    there = Store([Path("outputs")])
    runs = with_labels(there.runs)
    by_layer, bars, thresholds = catalogue.layers(Source(there, runs))
    assert by_layer.caption.startswith("4 of 30 runs, one per setting, spread over density. ")
    assert len(on(by_layer.figure, "y")) == 4
    assert len(bars.figure["data"]) == 4
    assert thresholds.caption.startswith("4 of 30 runs, one per setting, spread over density. ")
    curves = next(catalogue.curves(Source(there, runs)))
    assert curves.caption.startswith("24 of 30 runs, the first to start. ")


def test_the_course_of_a_steered_alpha(store: Store, runs: pd.DataFrame) -> None:
    """Check that an adjusted α has a panel, without the zeros of frozen masks."""
    epochs = store.epochs(runs.index[2:3])
    assert "yaxis5" not in learning_curves(epochs, runs.iloc[2:3])["layout"]
    steered = epochs.assign(alpha=[1e-3, 0.0])
    figure = learning_curves(steered, runs.iloc[2:3])
    (course,) = on(figure, "y5")
    assert (numbers(course["x"]), numbers(course["y"])) == ([1], [0.001])
    assert figure["layout"]["yaxis5"]["type"] == "log"
    frozen = learning_curves(epochs.assign(alpha=0.0), runs.iloc[2:3])
    assert "yaxis5" not in frozen["layout"], "there is nothing to show"


def test_every_figure_is_made_by_its_name(store: Store, runs: pd.DataFrame) -> None:
    """Check that views bear the name they are found by, and differ in their titles."""
    for name, entry in catalogue.FIGURES.items():
        views = list(entry.make(Source(store, runs)))
        assert {view.name for view in views} <= {name}
        assert len({view.title for view in views}) == len(views)
        assert entry.about
        assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    maps = [view.title for view in catalogue.FIGURES["density-map"].make(Source(store, runs))]
    assert maps[1] == "Density, layer × epoch, α 1e-3, seed 0"
