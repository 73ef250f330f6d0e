"""The figures of a comparison, each a function from tables to a plotly figure.

Tables are those of `compare.labelled` (runs: label, hover, series, repeat), `compare.by_setting`, and the store's
epochs and layers. Fractions stay fractions; axes say %. A run has one look in every figure, by its series and repeat.
Figures carry no theme, for which there is `drawing.template`. Knows compare, for the words, and drawing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dstrun.compare import differing, finished, front, shown, value_shown
from dstrun.drawing import (
    COLOURS,
    DECADES,
    GREY,
    PERCENT,
    ROW,
    Panels,
    by_depth,
    course,
    hover,
    line,
    look,
    spread,
    stroke,
    text,
)

ACCURACY = "test accuracy (%)"
LEAST = 1e-5  # what a logarithmic scale of colours shows of nothing
QUANTITIES = {"density": "density", "threshold_mean": "mean threshold", "churn": "churn"}
Pair = tuple[str, str]


def accuracy_density(runs: pd.DataFrame, published: pd.DataFrame | None = None) -> go.Figure:
    """Every run by what remains and its accuracy; the Pareto front, the dense line, the paper's rows.

    Front and dense line are those of the finished runs, as is the range of the axis at first.
    """
    pairs = list(_pairs(runs[runs["test_accuracy"].notna()]))
    panels = Panels([_name(pair) for pair, _ in pairs], columns=2)
    for panel, (pair, some) in enumerate(pairs):
        first: dict[str, Any] = {"showlegend": panel == 0}
        panels.add(panel, _marks(some, "density"))
        done = finished(some)
        best = done[front(done, "test_accuracy", "density")].sort_values("density")
        style = {"color": GREY, "width": 1.5, "shape": "hv"}
        panels.add(panel, line(best["density"], best["test_accuracy"], "Pareto front", style, **first))
        dense = done.loc[done["reg.method"] == "dense", "test_accuracy"]
        if len(dense):
            reach, said = (
                [min(some["density"].min(), 0.01), 1],
                f"dense: {spread(dense.mean(), dense.std(), len(dense))}",
            )
            panels.add(
                panel,
                line(reach, [dense.mean()] * 2, "dense, mean", {"color": GREY, "dash": "dash"}, said=said, **first),
            )
        if published is not None and (rows := published[_is(published, pair) & (published["density"] < 1)]).size:
            panels.add(panel, _published(rows).update(**first))
            done = pd.concat([done["test_accuracy"], rows["accuracy"]]).to_frame("test_accuracy")
        panels.y(panel, range=_around(done["test_accuracy"]))
    panels.x(type="log", tickvals=DECADES, tickformat=PERCENT, title="remaining weights (%, log scale)")
    panels.y(tickformat=PERCENT, title=ACCURACY)
    return panels.figure


def against_alpha(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> go.Figure:
    """Accuracy, above, and density over α, mean and standard deviation over seeds: the paper's figure 3."""
    usable = settings[settings["accuracy"].notna()]
    sparse = usable[usable["reg.alpha"] > 0]
    pairs = list(_pairs(sparse))
    panels = Panels([*(_name(pair) for pair, _ in pairs), *[""] * len(pairs)], columns=len(pairs))
    for column, (pair, some) in enumerate(pairs):
        below = len(pairs) + column
        for number, (words, rows) in enumerate(_lines_over_alpha(some)):
            panels.add(column, _with_spread(rows, "accuracy", words, number))
            panels.add(below, _with_spread(rows, "density", words, number))
        dense = usable.loc[(usable["reg.method"] == "dense") & _is(usable, pair), "accuracy"]
        if len(dense):
            reach = [some["reg.alpha"].min(), some["reg.alpha"].max()]
            style = {"color": GREY, "dash": "dash"}
            panels.add(column, line(reach, [dense.mean()] * 2, "dense, mean", style, showlegend=column == 0))
        if published is not None and (points := published[_is(published, pair)]).size:
            marker = {"symbol": "diamond-open", "size": 10, "color": GREY}
            name = "the paper, read off figure 3"
            panels.add(
                below,
                go.Scatter(
                    x=points["reg.alpha"], y=points["density"], mode="markers", name=name, marker=marker,
                    legendgroup=name, showlegend=column == 0,
                ),
            )  # fmt: skip
        panels.y(column, title=ACCURACY)
        panels.y(below, title="remaining weights (%)")
    alphas = sorted(set(sparse["reg.alpha"]))
    if len(alphas) <= 12:
        panels.x(tickvals=alphas, ticktext=[value_shown(alpha) for alpha in alphas])
    panels.x(type="log", title="α (log scale)", exponentformat="power")
    panels.y(tickformat=PERCENT)
    return panels.figure


def _lines_over_alpha(settings: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """The rows that differ in α alone, with the words for what they share."""
    settings = settings.sort_values("reg.alpha")
    other = [key for key in ("group", *differing(settings)) if key != "reg.alpha" and settings[key].nunique() > 1]
    for values, rows in settings.groupby(other, dropna=False, sort=False) if other else [((), settings)]:
        yield [f"{shown(key)} {value_shown(value)}" for key, value in zip(other, values, strict=True)], rows


def _with_spread(rows: pd.DataFrame, quantity: str, words: Sequence[str], number: int) -> go.Scatter:
    mean, std = rows[quantity], rows[f"{quantity}_std"]
    told = zip(rows["reg.alpha"], mean, std, rows["finished"], strict=True)
    said = [hover([*words, f"α {value_shown(alpha)}", spread(at, off, count)]) for alpha, at, off, count in told]
    name = ", ".join(words) or "mean over seeds"
    trace = line(rows["reg.alpha"], mean, name, stroke(number, 0), said=said, showlegend=quantity == "accuracy")
    return trace.update(mode="lines+markers", error_y={"array": std.fillna(0), "thickness": 1})


def layer_density(layers: pd.DataFrame, runs: pd.DataFrame) -> go.Figure:
    """Density of every layer over epochs: of one run in one panel, of several in a panel a layer (figures 4 to 6)."""
    names = list(dict.fromkeys(layers["layer"]))
    sums = layers.groupby(["run", "at"], observed=True, sort=False)[["kept", "total"]].sum().reset_index()
    model = sums.assign(density=sums["kept"] / sums["total"])
    by_name = {"model": model, **{name: layers[layers["layer"] == name] for name in names}}
    if len(runs) == 1:
        panels = Panels([""])
        styles: list[dict[str, Any]] = [{"color": GREY, "dash": "dash"}]
        styles += [{"color": colour, "width": 2} for colour in by_depth(len(names))]
        for (name, rows), style in zip(by_name.items(), styles, strict=True):
            panels.add(0, course(rows["at"], rows["density"], name, style, percent=True))
    else:
        panels = Panels(list(by_name), columns=3)
        for panel, rows in enumerate(by_name.values()):
            for run in runs.itertuples():
                mine = rows[rows["run"] == run.run]
                options = {"percent": True, "showlegend": panel == 0}
                panels.add(
                    panel, course(mine["at"], mine["density"], run.label, stroke(run.series, run.repeat), **options)
                )
    panels.x(title="epoch")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    panels.switchable()
    return panels.figure


def final_density(layers: pd.DataFrame, runs: pd.DataFrame) -> go.Figure:
    """Density of every layer at the end as bars, a panel a setting, mean and deviation over its runs (figure 7)."""
    last = layers[layers["step"] == layers.groupby("run", observed=True)["step"].transform("max")]
    names = list(dict.fromkeys(last["layer"]))
    titles, traces = [], []
    for _, some in runs.groupby(["group", "setting"], sort=False):
        rows = last[last["run"].isin(set(some["run"]))]
        if rows.empty:
            continue
        counts = rows.groupby("run", observed=True)[["kept", "total"]].sum()
        titles.append(f"{some['setting_label'].iloc[0]}: {(counts['kept'] / counts['total']).mean():.2%} remaining")
        bars = rows.groupby("layer", observed=True)["density"].agg(["mean", "std", "count"]).reindex(names)
        said = [hover([name, spread(*bar)]) for name, bar in zip(names, bars.to_numpy(), strict=True)]
        traces.append(
            go.Bar(
                x=[text(name) for name in names], y=bars["mean"], hovertext=said, hoverinfo="text", showlegend=False,
                error_y={"array": bars["std"].fillna(0), "thickness": 1, "color": GREY}, marker={"color": COLOURS[0]},
            )
        )  # fmt: skip
    panels = Panels(titles, columns=2)
    for panel, trace in enumerate(traces):
        panels.add(panel, trace)
    panels.x(title="layer, from the first to the last", type="category")
    panels.y(tickformat=PERCENT, title="density (%)", rangemode="tozero")
    return panels.figure


def heat_map(layers: pd.DataFrame, quantity: str) -> go.Figure:
    """One run's layers × epochs of density, mean threshold or churn; density and churn on a logarithmic scale."""
    names = list(dict.fromkeys(layers["layer"]))
    cells = layers.astype({"layer": str}).pivot_table(index="layer", columns="at", values=quantity, dropna=False)
    values = cells.reindex(names).to_numpy(dtype=float)
    logarithmic = quantity != "threshold_mean"
    bar: dict[str, Any] = {
        "title": {"text": f"{QUANTITIES[quantity]} ({'%' if logarithmic else '|w|'})", "side": "right"}
    }
    if logarithmic:
        ticks = [10.0**exponent for exponent in range(-5, 1)]
        bar |= {"tickvals": np.log10(ticks), "ticktext": [f"{tick * 100:g}%" for tick in ticks]}
    scale = {"colorscale": "Cividis", "zmax": 0} if logarithmic else {"colorscale": "PuOr", "zmid": 0}
    form = PERCENT if logarithmic else ".4~g"
    told = f"%{{y}}, epoch %{{x:.4~g}}<br>{QUANTITIES[quantity]} %{{customdata:{form}}}<extra></extra>"
    panels = Panels([""], height=max(200, 120 + 24 * len(names)))
    panels.add(
        0,
        go.Heatmap(
            x=cells.columns.to_numpy(np.float32), y=[text(name) for name in names],
            customdata=values.astype(np.float32),
            z=(np.log10(np.maximum(values, LEAST)) if logarithmic else values).astype(np.float32),
            hovertemplate=told, colorbar=bar, **scale,
        ),
    )  # fmt: skip
    panels.y(autorange="reversed", title="layer", type="category")
    panels.x(title="epoch")
    return panels.figure


def learning_curves(epochs: pd.DataFrame, runs: pd.DataFrame) -> go.Figure:
    """Loss and accuracy in training and on held-out images, by epoch."""
    kinds = {"train_loss": "loss in training (nats)", "test_loss": "test loss (nats)"}
    kinds |= {"train_accuracy": "accuracy in training (%)", "test_accuracy": ACCURACY}
    if epochs["validation_accuracy"].notna().any():
        kinds |= {"validation_loss": "validation loss (nats)", "validation_accuracy": "validation accuracy (%)"}
    panels = Panels([""] * len(kinds), columns=2)
    for panel, (column, title) in enumerate(kinds.items()):
        percent = column.endswith("accuracy")
        for run in runs.itertuples():
            mine = epochs[epochs["run"] == run.run]
            options = {"percent": percent, "showlegend": panel == 0}
            panels.add(panel, course(mine["epoch"], mine[column], run.label, stroke(run.series, run.repeat), **options))
        panels.y(panel, title=title, tickformat=PERCENT if percent else None)
    panels.x(title="epoch")
    return panels.figure


def density_and_accuracy(epochs: pd.DataFrame, runs: pd.DataFrame) -> go.Figure:
    """The model's density, on the left axis and dashed, and its test accuracy, on the right one, by epoch."""
    panels = Panels([""], specs=[[{"secondary_y": True}]])
    for run in runs.itertuples():
        mine = epochs[epochs["run"] == run.run]
        for column, right in (("density", False), ("test_accuracy", True)):
            style = stroke(run.series, run.repeat, dash="solid" if right else "dash")
            trace = course(mine["epoch"], mine[column], run.label, style, percent=True, showlegend=right)
            panels.figure.add_trace(trace, secondary_y=right)
    panels.x(title="epoch")
    panels.figure.update_yaxes(tickformat=PERCENT, title="density (%), dashed", rangemode="tozero", secondary_y=False)
    panels.figure.update_yaxes(
        tickformat=PERCENT, title=f"{ACCURACY}, solid", showgrid=False, secondary_y=True, tickmode="auto"
    )
    return panels.figure


def kept_against_accuracy(runs: pd.DataFrame) -> go.Figure:
    """Accuracy against the parameters, and against the multiply-adds, that are kept."""
    panels = Panels(["", ""], columns=2)
    for panel, column in enumerate(("parameters_kept", "flops_fraction")):
        panels.add(panel, _marks(runs[runs[column].notna()], column))
        panels.y(panel, range=_around(finished(runs)["test_accuracy"]))
    panels.y(tickformat=PERCENT, title=ACCURACY)
    panels.x(0, type="log", title="parameters kept (number, log scale)", dtick="D2", exponentformat="SI")
    panels.x(1, type="log", title="multiply-adds kept (% of dense, log scale)", tickvals=DECADES, tickformat=PERCENT)
    return panels.figure


def parallel_coordinates(runs: pd.DataFrame) -> go.Figure:
    """A line a run through the settings in which runs differ, to its density and accuracy; axes can be brushed."""
    usable = runs[runs["test_accuracy"].notna()]
    colours = [series % len(COLOURS) for series in usable["series"]]
    scale = [(at / (len(COLOURS) - 1), colour) for at, colour in enumerate(COLOURS)]
    style = {"color": colours, "colorscale": scale, "cmin": 0, "cmax": len(COLOURS) - 1}
    axes = [_coordinate(key, usable[key]) for key in (*differing(usable), "density", "test_accuracy")]
    trace = go.Parcoords(dimensions=axes, line=style)
    return go.Figure(trace, {"height": ROW + 60, "margin": {"l": 70, "r": 70, "t": 70, "b": 30}})


def _coordinate(key: str, cells: pd.Series) -> dict[str, Any]:
    """An axis: figures as they are, settings as their values in order; what a run does not have is at the foot."""
    if key in ("density", "test_accuracy"):
        return {"label": f"{shown(key)} (%)", "values": cells * 100, "tickformat": ".4~g"}
    words = [value_shown(cell) for cell in cells]
    numbers = dict(zip(words, pd.to_numeric(cells, errors="coerce"), strict=True))
    order = sorted(numbers, key=lambda word: (word != "", np.nan_to_num(numbers[word]), word))
    ticks = {"tickvals": list(range(len(order))), "ticktext": [text(word) or "–" for word in order]}
    return {"label": text(shown(key)), "values": [order.index(word) for word in words], **ticks}


def _pairs(table: pd.DataFrame) -> Iterator[tuple[Pair, pd.DataFrame]]:
    """The rows of each model and data."""
    yield from table.groupby(["model.name", "data.name"], sort=False)


def _is(table: pd.DataFrame, pair: Pair) -> pd.Series:
    return (table["model.name"] == pair[0]) & (table["data.name"] == pair[1])


def _name(pair: Pair) -> str:
    return f"{pair[0]} on {pair[1]}"


def _around(values: pd.Series) -> list[float] | None:
    """A range of an axis with some room about the values; None, for plotly's own, where they are too few."""
    low, high = values.min(), values.max()
    room = 0.08 * (high - low)
    return [low - room, high + room] if high > low else None


def _marks(runs: pd.DataFrame, x: str) -> go.Scatter:
    """A mark a run by its accuracy, open while it is not finished."""
    looks = [look(series, repeat) for series, repeat in zip(runs["series"], runs["repeat"], strict=True)]
    ends = ["" if state == "finished" else "-open" for state in runs["state"]]
    marker = {
        "size": 10, "color": [one["color"] for one in looks],
        "symbol": [one["symbol"] + end for one, end in zip(looks, ends, strict=True)],
    }  # fmt: skip
    return go.Scatter(
        x=runs[x], y=runs["test_accuracy"], mode="markers", hovertext=[hover(words) for words in runs["hover"]],
        hoverinfo="text", customdata=runs["run"], name="runs", showlegend=False,
        marker=marker,
    )  # fmt: skip


def _published(rows: pd.DataFrame) -> go.Scatter:
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
    return go.Scatter(
        x=rows["density"], y=rows["accuracy"], mode="markers+text", text=rows["method"], textposition="bottom center",
        hovertext=said, hoverinfo="text", name="the paper", legendgroup="the paper",
        marker={"symbol": "diamond-open", "size": 11, "color": GREY, "line": {"width": 2}},
        error_x={"array": rows["density_std"].astype(float).fillna(0), "thickness": 1},
        error_y={"array": rows["accuracy_std"].astype(float).fillna(0), "thickness": 1},
    )  # fmt: skip
