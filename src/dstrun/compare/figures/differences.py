"""Figure of differences between two groups: a mark and its confidence interval a row."""

from collections.abc import Sequence

import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels
from dstrun.compare.figures.style import COLOURS, GREY, hover, text
from dstrun.compare.headlines import written_difference
from dstrun.runs.tasks import Figure as TaskFigure

LINE = 34  # pixels of height of a row


def differences(table: pd.DataFrame, names: Sequence[str], figure: TaskFigure) -> Figure:
    """Return the differences of `statistics.by_density` from the top down, with their names.

    Open marks: the interval contains 0, or there is none.
    """
    panels = Panels([""], height=150 + LINE * len(table))
    scale = 100 if figure.is_share else 1
    for is_clear, words in ((True, "seeds tell them apart"), (False, "seeds cannot tell")):
        some = table[table["is_clear"] == is_clear]
        if some.empty:
            continue
        places = [list(table.index).index(index) for index in some.index]
        colour = COLOURS[0] if is_clear else GREY
        middle = scale * some["difference"]
        whiskers = {"color": colour, "type": "data", "symmetric": False, "thickness": 2}
        whiskers |= {
            "array": (scale * some["high"] - middle).fillna(0).tolist(),
            "arrayminus": (middle - scale * some["low"]).fillna(0).tolist(),
        }
        hovers = []
        for place, row in zip(places, some.to_dict("records"), strict=True):
            values = (written_difference(figure, row[key]) for key in ("difference", "low", "high"))
            mean, low, high = values
            interval = f"95 % interval {low} to {high}" if row["kind"] else "no interval"
            hovers.append(hover([names[place], f"difference {mean}", interval]))
        symbol = "circle" if is_clear else "circle-open"
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": words,
            "x": middle.tolist(),
            "y": places,
            "marker": {"color": colour, "symbol": symbol, "size": 10},
            "error_x": whiskers,
            "hovertext": hovers,
            "hoverinfo": "text",
        }
        panels.add(0, trace)
    longest = max(map(len, names), default=0)
    panels.layout["margin"]["l"] = 30 + 7 * longest
    panels.y(tickvals=list(range(len(names))), ticktext=[text(name) for name in names])
    panels.y(range=[len(names) - 0.5, -0.5], zeroline=False)
    unit = " (points of per cent)" if figure.is_share else ""
    panels.x(title=f"difference in {figure.title}{unit}", zeroline=True, zerolinewidth=2)
    return panels.figure()
