"""The figures of a comparison, each a function from tables to a plotly figure.

Tables are those of `compare.labelled` (runs: label, hover, series, repeat), `compare.by_setting`,
and the store's epochs and layers. Fractions stay fractions; axes say %. A run has one look in every
figure, by its series and repeat. Figures carry no theme, for which there is `drawing.template`.
Knows compare, for the words, and drawing."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dstrun.compare.aggregate import by_layer, differing, finished, front, shown, value_shown
from dstrun.compare.figures.panels import (
    COLOURS,
    DECADES,
    GREY,
    PERCENT,
    ROW,
    Figure,
    Panels,
    Trace,
    by_depth,
    course,
    hover,
    line,
    look,
    packed,
    spread,
    stroke,
    text,
)

ACCURACY = "test accuracy (%)"
TICKS = 12  # labels of an axis, or names in a legend of settings, at the most
LETTER = 6  # pixels of one, in the names along an axis
LEAST = 1e-5  # where a logarithmic scale shows nothing at all
QUANTITIES = {"density": "density", "threshold_mean": "mean threshold", "churn": "churn"}
Pair = tuple[str, str]


def accuracy_density(runs: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """Every run by what remains and its accuracy; the Pareto front, the dense line, the paper's
    rows.

    Front and dense line are those of the finished runs, as is the range of the axis at first.
    """
    pairs = list(_pairs(runs[runs["test_accuracy"].notna()]))
    panels = Panels([_name(pair) for pair, _ in pairs], columns=2)
    for panel, (pair, some) in enumerate(pairs):
        done = finished(some)
        best = done[front(done, "test_accuracy", "density")].sort_values("density")
        style = {"color": GREY, "width": 1.5, "shape": "hv"}
        panels.add(panel, line(best["density"], best["test_accuracy"], "Pareto front", style))
        reach = [min(_drawable(some["density"]).min(), 0.01), 1]
        for label, dense in _dense(done):
            said = text(f"{label}: {spread(dense.mean(), dense.std(), len(dense))}")
            panels.add(
                panel,
                line(
                    reach, [dense.mean()] * 2, "dense, mean", {"color": GREY, "dash": "dash"}, said
                ),
            )
        for trace in _marks(some, "density"):
            panels.add(panel, trace)
        if (
            published is not None
            and (rows := published[_is(published, pair) & (published["density"] < 1)]).size
        ):
            panels.add(panel, _published(rows))
            done = pd.concat([done["test_accuracy"], rows["accuracy"]]).to_frame("test_accuracy")
        panels.y(panel, range=_around(done["test_accuracy"]))
    panels.x(
        type="log", tickvals=DECADES, tickformat=PERCENT, title="remaining weights (%, log scale)"
    )
    panels.y(tickformat=PERCENT, title=ACCURACY)
    return panels.drawn()


def against_alpha(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """Accuracy, above, and density over α, mean and standard deviation over seeds: the paper's
    figure 3."""
    usable = settings[settings["accuracy"].notna()]
    sparse = usable[usable["reg.alpha"] > 0]
    pairs = list(_pairs(sparse))
    panels = Panels([*(_name(pair) for pair, _ in pairs), *[""] * len(pairs)], columns=len(pairs))
    for column, (pair, some) in enumerate(pairs):
        below = len(pairs) + column
        for number, (words, rows) in enumerate(_lines_over_alpha(some)):
            panels.add(column, _with_spread(rows, "accuracy", words, number))
            panels.add(below, _with_spread(rows, "density", words, number))
        dense = usable.loc[
            (usable["reg.method"] == "dense") & _is(usable, pair) & (usable["finished"] > 0),
            "accuracy",
        ]
        for accuracy in dense:
            reach = [some["reg.alpha"].min() / 1.5, some["reg.alpha"].max() * 1.5]
            panels.add(
                column, line(reach, [accuracy] * 2, "dense, mean", {"color": GREY, "dash": "dash"})
            )
        if published is not None and (points := published[_is(published, pair)]).size:
            name = "the paper, read off figure 3"
            marker = {"symbol": "diamond-open", "size": 10, "color": GREY}
            trace = {
                "type": "scatter",
                "x": points["reg.alpha"],
                "y": points["density"],
                "mode": "markers",
            }
            panels.add(below, trace | {"name": name, "marker": marker})
        panels.y(column, title=ACCURACY, range=_around(pd.concat([some["accuracy"], dense])))
        panels.y(below, title="remaining weights (%)", rangemode="tozero")
    alphas = sorted(set(sparse["reg.alpha"]))
    if len(alphas) <= TICKS:
        panels.x(tickvals=alphas, ticktext=[value_shown(alpha, "reg.alpha") for alpha in alphas])
    panels.x(type="log", title="α (log scale)", exponentformat="power")
    panels.y(tickformat=PERCENT)
    return panels.drawn()


def _lines_over_alpha(settings: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """The rows that differ in α alone, with the words for what they share."""
    settings = settings.sort_values("reg.alpha")
    other = [
        key
        for key in ("group", *differing(settings))
        if key != "reg.alpha" and settings[key].nunique() > 1
    ]
    for values, rows in (
        settings.groupby(other, dropna=False, sort=False) if other else [((), settings)]
    ):
        yield (
            [
                f"{shown(key)} {value_shown(value, key)}"
                for key, value in zip(other, values, strict=True)
            ],
            rows,
        )


def _with_spread(rows: pd.DataFrame, quantity: str, words: Sequence[str], number: int) -> Trace:
    mean, std = rows[quantity], rows[f"{quantity}_std"]
    told = zip(rows["reg.alpha"], mean, std, rows["count"], strict=True)
    said = [
        hover([*words, f"α {value_shown(alpha, 'reg.alpha')}", spread(at, off, count)])
        for alpha, at, off, count in told
    ]
    name = ", ".join(words) or "mean over seeds"
    bars = {"array": std.fillna(0), "thickness": 1}
    return line(
        rows["reg.alpha"], mean, name, stroke(number, 0), said, mode="lines+markers", error_y=bars
    )


def layer_density(layers: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Density of every layer over epochs: of one run in one panel, of several in a panel a layer
    (figures 4 to 6)."""
    names = list(dict.fromkeys(layers["layer"]))
    sums = (
        layers.groupby(["run", "at"], observed=True, sort=False)[["kept", "total"]]
        .sum()
        .reset_index()
    )
    model = sums.assign(density=sums["kept"] / sums["total"])
    by_name = [("model", model), *layers.groupby("layer", observed=True, sort=False)]
    if len(runs) == 1:
        panels = Panels([""])
        styles: list[dict[str, Any]] = [{"color": GREY, "dash": "dash"}]
        styles += [{"color": colour, "width": 2} for colour in by_depth(len(names))]
        for (name, rows), style in zip(by_name, styles, strict=True):
            panels.add(0, course(rows["at"], rows["density"], name, style, percent=True))
    else:
        panels = Panels([name for name, _ in by_name], columns=2 if len(by_name) == 4 else 3)
        for panel, (_, rows) in enumerate(by_name):
            by_run = dict(list(rows.groupby("run", observed=True, sort=False)))
            for name, label, style in _strokes(runs):
                if (mine := by_run.get(name)) is not None:
                    panels.add(
                        panel, course(mine["at"], mine["density"], label, style, percent=True)
                    )
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    panels.switchable()
    return panels.drawn()


def final_density(layers: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Density of every layer at the end as bars, a panel a setting, mean and deviation over its
    runs (figure 7)."""
    rows = by_layer(layers, runs)
    names = [name for name in dict.fromkeys(rows["layer"]) if name]
    titles, traces = [], []
    for _, some in rows.groupby("series", sort=False):
        bars = some.set_index("layer")[["mean", "std", "count"]]
        titles.append(f"{some['setting_label'].iloc[0]}: {bars.loc['', 'mean']:.2%} remaining")
        bars = bars.reindex(names)
        said = [
            hover([name, spread(*bar)]) for name, bar in zip(names, bars.to_numpy(), strict=True)
        ]
        trace = {
            "type": "bar",
            "x": [text(name) for name in names],
            "y": bars["mean"],
            "name": "density",
        }
        error = {"array": bars["std"].fillna(0), "thickness": 1, "color": GREY}
        marker = {"color": COLOURS[0]}
        trace |= {"hovertext": said, "hoverinfo": "text", "error_y": error, "marker": marker}
        traces.append(trace | {"showlegend": False})
    panels = Panels(titles, columns=2, below=LETTER * max(map(len, names)))
    for panel, trace in enumerate(traces):
        panels.add(panel, trace)
    panels.x(title="layer, from the first to the last", type="category")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    return panels.drawn()


def heat_map(layers: pd.DataFrame, quantity: str) -> Figure:
    """One run's layers × epochs of density, mean threshold or churn; density and churn on a
    logarithmic scale."""
    names = list(dict.fromkeys(layers["layer"]))
    cells = layers.astype({"layer": str}).pivot_table(
        index="layer", columns="at", values=quantity, dropna=False
    )
    values = cells.reindex(names).to_numpy(dtype=float)
    logarithmic = quantity != "threshold_mean"
    bar: dict[str, Any] = {
        "title": {
            "text": f"{QUANTITIES[quantity]} ({'%' if logarithmic else '|w|'})",
            "side": "right",
        }
    }
    if logarithmic:
        ticks = [10.0**exponent for exponent in range(-5, 1)]
        bar |= {"tickvals": np.log10(ticks), "ticktext": [f"{tick * 100:g}%" for tick in ticks]}
    scale = (
        {"colorscale": "Cividis", "zmax": 0} if logarithmic else {"colorscale": "RdBu", "zmid": 0}
    )
    form = PERCENT if logarithmic else ".4~g"
    told = (
        f"%{{y}}, epoch %{{x:.4~g}}<br>{QUANTITIES[quantity]} %{{customdata:{form}}}<extra></extra>"
    )
    panels = Panels([""], height=max(200, 120 + 24 * len(names)))
    trace = {"type": "heatmap", "x": cells.columns.to_list(), "y": [text(name) for name in names]}
    trace["z"] = packed(np.log10(np.maximum(values, LEAST)) if logarithmic else values)
    trace |= {
        "customdata": packed(values),
        "hovertemplate": told,
        "colorbar": bar,
        "name": quantity,
    }
    panels.add(0, trace | scale)
    panels.y(autorange="reversed", title="layer", type="category", automargin=True)
    panels.x(title="epoch")
    return panels.drawn()


def learning_curves(epochs: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Loss and accuracy in training and on held-out images, by epoch."""
    kinds = {"train_loss": "loss in training (nats)", "test_loss": "test loss (nats)"}
    kinds |= {"train_accuracy": "accuracy in training (%)", "test_accuracy": ACCURACY}
    if epochs["validation_accuracy"].notna().any():
        kinds |= {
            "validation_loss": "validation loss (nats)",
            "validation_accuracy": "validation accuracy (%)",
        }
    if epochs["alpha"].notna().any():
        kinds |= {"alpha": "α, where it is steered (log scale)"}
    panels = Panels([""] * len(kinds), columns=2)
    for panel, (column, title) in enumerate(kinds.items()):
        percent = column.endswith("accuracy")
        for run in runs.itertuples():
            mine = epochs[epochs["run"] == run.run]
            if column == "alpha":
                mine = mine[mine[column] > 0]  # 0 once masks are frozen
            options = {"percent": percent, "showlegend": panel == 0}
            panels.add(
                panel,
                course(
                    mine["epoch"],
                    mine[column],
                    run.label,
                    stroke(run.series, run.repeat),
                    **options,
                ),
            )
        panels.y(panel, title=title, tickformat=PERCENT if percent else None)
    if "alpha" in kinds:
        panels.y(len(kinds) - 1, type="log", exponentformat="power")
    panels.x(title="epoch")
    return panels.drawn()


def density_and_accuracy(epochs: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """The model's density, on the left axis and dashed, and its test accuracy, on the right one, by
    epoch."""
    panels = Panels([""])
    for name, label, style in _strokes(runs):
        mine = epochs[epochs["run"] == name]
        for column, right in (("density", False), ("test_accuracy", True)):
            look = style | {"dash": "solid" if right else "dash"}
            trace = course(mine["epoch"], mine[column], label, look, percent=True, showlegend=right)
            panels.add(0, trace | ({"yaxis": "y2"} if right else {}))
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%), dashed", rangemode="tozero")
    right_axis: dict[str, Any] = {
        "overlaying": "y",
        "side": "right",
        "tickformat": PERCENT,
        "showgrid": False,
        "anchor": "x",
    }
    right_axis |= {"tickmode": "auto"}  # not at the heights of the left one's
    panels.layout |= {
        "yaxis2": {**right_axis, "title": {"text": f"{ACCURACY}, solid"}},
        "legend": {"x": 1.08},
    }
    return panels.drawn()


def kept_against_accuracy(runs: pd.DataFrame) -> Figure:
    """Accuracy against the parameters, and against the multiply-adds, that are kept; a row a model
    and data."""
    pairs = list(_pairs(runs[runs["test_accuracy"].notna()]))
    panels = Panels([_name(pair) for pair, _ in pairs for _ in range(2)], columns=2)
    for row, (_, some) in enumerate(pairs):
        for panel, column in ((2 * row, "parameters_kept"), (2 * row + 1, "flops_fraction")):
            for trace in _marks(some[some[column].notna()], column):
                panels.add(panel, trace)
            panels.y(panel, range=_around(finished(some)["test_accuracy"]))
        title = "multiply-adds kept (% of dense, log scale)"
        panels.x(
            2 * row,
            type="log",
            title="parameters kept (number, log scale)",
            dtick="D2",
            exponentformat="SI",
        )
        panels.x(2 * row + 1, type="log", title=title, tickvals=DECADES, tickformat=PERCENT)
    panels.y(tickformat=PERCENT, title=ACCURACY)
    return panels.drawn()


def parallel_coordinates(runs: pd.DataFrame) -> Figure:
    """A line a run, through the settings in which runs differ to its density and accuracy; axes
    fill the height."""
    usable = runs[runs["test_accuracy"].notna()]
    keys = [*differing(usable), "density", "test_accuracy"]
    panels = Panels([""], height=ROW + 90)
    heights = []
    for at, key in enumerate(keys):
        height, ticks = _height(key, usable[key])
        heights.append([*height, None])
        words = [text(tick) for tick in ticks.values()]
        labels: Trace = {
            "type": "scatter",
            "x": [at] * len(ticks),
            "y": list(ticks),
            "text": words,
            "name": text(shown(key)),
        }
        labels |= {
            "mode": "text",
            "textposition": "middle left",
            "hoverinfo": "skip",
            "showlegend": False,
        }
        panels.add(0, labels)
        foot = {
            "type": "line",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1,
            "line": {"color": GREY, "width": 1},
        }
        panels.layout.setdefault("shapes", []).append(foot)
    said = [text(label) for label in usable["label"]]
    colours = [look(series, 0)["color"] for series in usable["series"]]
    for color in dict.fromkeys(colours):
        mine = [place for place, own in enumerate(colours) if own == color]
        xs = [x for _ in mine for x in (*range(len(keys)), None)]
        ys = [y for place in mine for y in (*(height[place] for height in heights), None)]
        style = {"color": color, "width": 1.5}
        whose = [usable["run"].iloc[place] for place in mine for _ in range(len(keys) + 1)]
        told = [said[place] for place in mine for _ in range(len(keys) + 1)]
        panels.add(
            0, line(xs, ys, "runs", style, told, customdata=whose, showlegend=False, opacity=0.75)
        )
    panels.x(
        tickvals=list(range(len(keys))), ticktext=[text(_titled(key)) for key in keys], side="top"
    )
    panels.x(showgrid=False, zeroline=False, range=[-0.6, len(keys) - 0.5], tickangle=0)
    panels.y(visible=False)
    return panels.drawn()


def _titled(key: str) -> str:
    return f"{shown(key)} (%)" if key in ("density", "test_accuracy") else shown(key)


def _height(key: str, cells: pd.Series) -> tuple[list[float], dict[float, str]]:
    """Where values stand on an axis from 0 to 1, and its ticks: figures as they are, settings in
    their order.

    What a run does not have stands at the foot.
    """
    if key in ("density", "test_accuracy"):
        low, high = cells.min(), cells.max()
        reach = (high - low) or 1
        ticks = {step / 4: f"{100 * (low + reach * step / 4):.2f}" for step in range(5)}
        return ((cells - low) / reach).tolist(), ticks
    words = [value_shown(cell, key) for cell in cells]
    numbers = dict(zip(words, pd.to_numeric(cells, errors="coerce"), strict=True))
    order = sorted(numbers, key=lambda word: (word != "", np.nan_to_num(numbers[word]), word))
    places = {word: at / max(len(order) - 1, 1) for at, word in enumerate(order)}
    some = order[:: -(-len(order) // TICKS)]
    return [places[word] for word in words], {places[word]: word or "–" for word in some}


def _strokes(runs: pd.DataFrame) -> list[tuple[str, str, dict[str, Any]]]:
    """Of every run its name, its label, and how its line is drawn."""
    columns = (runs[key] for key in ("run", "label", "series", "repeat"))
    return [
        (name, label, stroke(series, repeat))
        for name, label, series, repeat in zip(*columns, strict=True)
    ]


def _pairs(table: pd.DataFrame) -> Iterator[tuple[Pair, pd.DataFrame]]:
    """The rows of each model and data."""
    yield from table.groupby(["model.name", "data.name"], sort=False)


def _is(table: pd.DataFrame, pair: Pair) -> pd.Series:
    return (table["model.name"] == pair[0]) & (table["data.name"] == pair[1])


def _name(pair: Pair) -> str:
    return f"{pair[0]} on {pair[1]}"


def _dense(runs: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """The accuracies of each dense setting, with its label."""
    for _, some in runs[runs["reg.method"] == "dense"].groupby("series", sort=False):
        yield some["setting_label"].iloc[0], some["test_accuracy"]


def _drawable(values: pd.Series) -> pd.Series:
    """What a logarithmic axis can show: nothing at all stands at its least."""
    return values.clip(lower=LEAST)


def _around(values: pd.Series) -> list[float]:
    """A range of an axis with some room about the values, of which there is one at least.

    What lies far below the others, by five times the distance between the quartiles, is left
    outside."""
    low, high = values.min(), values.max()
    first, third = values.quantile(0.25), values.quantile(0.75)
    if third > first:
        low = max(low, first - 5 * (third - first))
    room = max(0.08 * (high - low), 0.002)
    return [float(low - room), float(high + room)]


def _marks(runs: pd.DataFrame, x: str) -> Iterator[Trace]:
    """A mark a run by its accuracy, open while it is not finished; a trace a setting, which the
    legend names."""
    for _, some in runs.groupby("series", sort=False):
        looks = [
            look(series, repeat)
            for series, repeat in zip(some["series"], some["repeat"], strict=True)
        ]
        ends = ["" if state == "finished" else "-open" for state in some["state"]]
        marker = {
            "size": 10,
            "color": looks[0]["color"],
            "symbol": [one["symbol"] + end for one, end in zip(looks, ends, strict=True)],
        }
        trace = {
            "type": "scatter",
            "x": _drawable(some[x]),
            "y": some["test_accuracy"],
            "mode": "markers",
            "marker": marker,
        }
        trace |= {"hovertext": [hover(words) for words in some["hover"]], "hoverinfo": "text"}
        named = {
            "name": text(some["setting_label"].iloc[0]),
            "showlegend": runs["series"].nunique() <= TICKS,
        }
        yield trace | {"customdata": some["run"], **named}


def _published(rows: pd.DataFrame) -> Trace:
    """Rows of the paper's tables, with their spreads."""
    said = [
        hover(
            [
                f"the paper, table {row.table}: {row.method}",
                f"remaining {row.density:.2%}",
                f"accuracy {row.accuracy:.2%}",
            ]
        )
        for row in rows.itertuples()
    ]
    trace = {
        "type": "scatter",
        "x": rows["density"],
        "y": rows["accuracy"],
        "text": "paper: " + rows["method"],
    }
    trace |= {
        "mode": "markers+text",
        "textposition": "bottom center",
        "hovertext": said,
        "hoverinfo": "text",
    }
    trace |= {"name": "the paper", "textfont": {"color": GREY}}
    for axis, column in (("error_x", "density_std"), ("error_y", "accuracy_std")):
        trace[axis] = {"array": rows[column].astype(float).fillna(0), "thickness": 1, "color": GREY}
    return trace | {
        "marker": {"symbol": "diamond-open", "size": 11, "color": GREY, "line": {"width": 2}}
    }
