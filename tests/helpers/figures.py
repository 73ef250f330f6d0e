"""Traces of figures: found by name or panel, unpacked and rounded."""

import base64
from typing import Any

import numpy as np

from dstrun.compare.figures.panels import Figure


def named(figure: Figure, name: str) -> dict[str, Any]:
    """Return the only trace of that name."""
    (found,) = [trace for trace in figure["data"] if trace.get("name") == name]
    return found


def marks(figure: Figure, axis: str = "y") -> dict[str, Any]:
    """Return the marks of all runs in a panel as one trace."""
    traces = [trace for trace in on(figure, axis) if "customdata" in trace]
    found: dict[str, Any] = {
        "runs": [],
        "x": [],
        "y": [],
        "symbol": [],
        "color": [],
        "hovertext": [],
    }
    for trace in traces:
        found["runs"] += list(trace["customdata"])
        found["x"] += numbers(trace["x"])
        found["y"] += numbers(trace["y"])
        found["symbol"] += trace["marker"]["symbol"]
        found["color"] += [trace["marker"]["color"]] * len(trace["x"])
        found["hovertext"] += trace["hovertext"]
    return found


def on(figure: Figure, axis: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["yaxis"] == axis]


def numbers(values: Any) -> list:
    """Return the numbers of a trace, unpacked and rounded to single precision."""
    if isinstance(values, dict):
        array = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
        return [round(float(number), 6) for number in array]
    return [round(float(number), 6) for number in values]


def titles(figure: Figure) -> set[str]:
    axes = [
        value for name, value in figure["layout"].items() if name.startswith(("xaxis", "yaxis"))
    ]
    return {axis["title"]["text"] for axis in axes if "title" in axis}
