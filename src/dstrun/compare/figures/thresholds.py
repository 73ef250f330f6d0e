"""Figure of the distribution of a layer's thresholds over epochs, from `Store.thresholds`."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dstrun.compare.figures.panels import Figure, Panels, Trace, curve, pack
from dstrun.compare.figures.style import stroke, text
from dstrun.runs.metrics import QUANTILES

LEAST, Q10, Q25, MEDIAN, Q75, Q90, MOST = ("threshold_min", *QUANTILES, "threshold_max")
LAYERS = 12  # panels at most, spread from the first layer to the last
FULL = ((LEAST, MOST, 0.12), (Q10, Q90, 0.25), (Q25, Q75, 0.45))  # bands and their opacity
SHORT = ((Q10, Q90, 0.2),)  # where several runs share a panel
EARLIER = ((LEAST, MOST, 0.15),)  # of runs whose quantiles are not recorded


def threshold_distribution(thresholds: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Return thresholds over epochs, a panel for each of a few layers: median and bands around it.

    Bands of one run: all, 10 to 90 %, and 25 to 75 % of the thresholds; of several runs 10 to 90 %.
    A run without quantiles has its mean, and the band of all.
    """
    named = list(thresholds.groupby("layer", observed=True, sort=False))
    places = np.linspace(0, len(named) - 1, min(LAYERS, len(named))).round().astype(int)
    named = [named[place] for place in places]
    panels = Panels([str(name) for name, _ in named], columns=2 if len(named) in (2, 4) else 3)
    for panel, (_, rows) in enumerate(named):
        for run in runs.itertuples():
            mine = rows[(rows["run"] == run.run) & rows["threshold_mean"].notna()]
            if len(mine):
                for trace in _fan(mine, run, is_alone=len(runs) == 1):
                    panels.add(panel, trace)
    panels.x(title="epoch")
    panels.y(title="threshold (|w|)")
    return panels.figure()


def has_quantiles(thresholds: pd.DataFrame) -> bool:
    """Return whether quantiles of any threshold are recorded."""
    return bool(thresholds[MEDIAN].notna().any())


def _fan(rows: pd.DataFrame, run: object, is_alone: bool) -> Iterator[Trace]:
    """Yield the bands of a run, and the line on them."""
    style = stroke(run.hue, run.kind)  # type: ignore[attr-defined]
    name = str(run.label)  # type: ignore[attr-defined]
    is_recorded = has_quantiles(rows)
    for low, high, opacity in (FULL if is_alone else SHORT) if is_recorded else EARLIER:
        yield {
            "type": "scatter",
            "x": pack([*rows["at"], *rows["at"][::-1]]),
            "y": pack([*rows[high], *rows[low][::-1]]),
            "fill": "toself",
            "fillcolor": style["color"],
            "opacity": opacity,
            "mode": "none",
            "name": text(name),
            "hoverinfo": "skip",
            "showlegend": False,
        }
    middle = MEDIAN if is_recorded else "threshold_mean"
    yield curve(rows["at"], rows[middle], name, style, percent=False)
