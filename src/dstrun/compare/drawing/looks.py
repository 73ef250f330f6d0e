"""Looks that can be told apart without colours: one marker or dash per name in the legend."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dstrun.compare.drawing.notation import CannotDraw, each
from dstrun.compare.figures.style import METHOD_SYMBOLS

MARKERS: dict[str, Any] = dict(zip(METHOD_SYMBOLS, "os^DPXv*p<h>", strict=True)) | {
    "diamond-tall": "d",
    "star-diamond": (4, 1, 0),
    "hexagram": (6, 1, 0),
    "star-triangle-up": (3, 1, 0),
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (4, 1.5, 1, 1.5)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.5, 1, 1.5)),
}
SIZES = re.compile(r"\d+px(,\d+px)*")
LINE = 2  # pixels of width, in which a dash of given sizes is that long
OPEN = "-open"


class Look(NamedTuple):
    """What tells a name apart: the marker of its points, and of its lines where they need one."""

    symbol: str | None = None
    marks_lines: bool = False


def looks(traces: Sequence[Mapping[str, Any]]) -> dict[str, Look]:
    """Return a look for each name in the legend that would be like another without colours.

    A name keeps the dash of its lines. It keeps its symbol where no earlier name has both, and
    otherwise gets the first symbol that is free. Names beyond the number of symbols keep theirs.
    Names of one symbol come first, so that a method has the same in every figure.
    """
    found: dict[str, Look] = {}
    taken: set[tuple[str | None, str | None]] = set()
    for trace in sorted(legend_entries(traces), key=lambda one: len(_symbols(one)) > 1):
        dash, own = _dash(trace), _symbols(trace)
        symbol = own[0] if own else None
        if len(own) > 1 or (dash, symbol) in taken:  # of several, none stands for the name
            is_open = OPEN * bool(own and own[0].endswith(OPEN))
            free = [one + is_open for one in MARKERS if (dash, one + is_open) not in taken]
            if free:
                symbol = symbol if len(own) > 1 and symbol in free else free[0]
                found[trace["name"]] = Look(symbol, marks_lines=not own)
        taken.add((dash, symbol))
    return found


def legend_entries(traces: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the traces that the legend names."""
    yield from (trace for trace in traces if trace.get("showlegend"))


def split_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return names without the parts that all of them have, and these parts: for a legend's title.

    Parts are separated by commas: 'set, density 0.01, seed 0'.
    """
    parts = [name.split(", ") for name in names]
    common = [one for one in parts[0] if all(one in other for other in parts)]
    short = [", ".join(one for one in own if one not in common) for own in parts]
    if len(names) < 2 or not all(short):
        return list(names), ""
    return short, ", ".join(common)


def linestyle(dash: str) -> Any:
    """Return matplotlib's style of line for plotly's dash, a name or sizes such as '3px,9px'."""
    if SIZES.fullmatch(dash):
        return 0, [int(size[:-2]) / LINE for size in dash.split(",")]
    if dash not in DASHES:
        raise CannotDraw(f"line.dash: no way to draw {dash}")
    return DASHES[dash]


def marker(symbol: str) -> tuple[Any, bool]:
    """Return matplotlib's marker for plotly's symbol, and whether it is filled."""
    name = symbol.removesuffix(OPEN)
    if name not in MARKERS:
        raise CannotDraw(f"marker.symbol: no way to draw {symbol}")
    return MARKERS[name], name == symbol


def _dash(trace: Mapping[str, Any]) -> str | None:
    """Return the dash of a trace's line; None if it has none."""
    return trace["line"].get("dash", "solid") if "lines" in trace.get("mode", "") else None


def _symbols(trace: Mapping[str, Any]) -> list[str]:
    """Return the symbols of a trace's marks, without open ones of which others are filled."""
    if "markers" not in trace.get("mode", ""):
        return []
    given = dict.fromkeys(each(trace.get("marker", {}).get("symbol", "circle"), 1))
    return [one for one in given if one.removesuffix(OPEN) == one or one[: -len(OPEN)] not in given]
