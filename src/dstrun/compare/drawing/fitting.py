"""Legend, words, ticks and height of a figure on paper, fitted by measuring what they take."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text

from dstrun.compare.drawing import ticks
from dstrun.compare.drawing.heat_maps import fit_numbers
from dstrun.compare.drawing.looks import legend_entries, split_names
from dstrun.compare.drawing.notation import words
from dstrun.compare.drawing.traces import Pen, sample

SHAPE, SMALL_SHAPE = 0.62, 0.75  # of height to width of a panel, alone or among others in a row
LINE = 1.3  # height of the line of a category, of the size of its text
LEAST, MOST = 0.9, 6.5  # inches of height of a panel
FIRST = 2.2  # inches of height of a row of panels before anything is measured
WORDS = 0.6  # inches of words above and below a panel
MORE = 0.7  # inches of height for a row of panels that had no room
FLATTEST = 0.25  # inches of height of a panel that can still be read
ROUNDS, CLOSE = 6, 0.02  # of measuring and moving, and the inches that need no further one
BESIDE = {"handlelength": 2.2, "handletextpad": 0.5, "columnspacing": 1.2}  # letters by each name
WIDEST = 0.98  # of a legend, of the width of the figure
PARTS = ("[^ ]+ *", "[^ _./-]*[ _./-]+|[^ _./-]+", "[^ ] *")  # words, parts of names, letters
GAP = 0.04  # inches beside the legend and titles of all panels


class Divided(NamedTuple):
    """An axis, the ticks that it may have, and whether they are categories."""

    axis: Axis
    ticks: ticks.Ticks
    is_category: bool


class NoRoom(ValueError):
    """A width or a height that cuts something off. The message names it and says what is needed."""


class Fitting:
    """A drawn figure with what is around its panels: a legend below, titles that they share."""

    def __init__(
        self,
        figure: Figure,
        engine: ConstrainedLayoutEngine,
        titles: Mapping[str, str],
        divided: Sequence[Divided],
    ) -> None:
        self.figure, self._engine, self._divided = figure, engine, divided
        size = figure.axes[0].title.get_fontsize()
        self._below = figure.text(0.5, 0, titles["x"], ha="center", va="bottom", fontsize=size)
        self._beside = figure.text(0, 0.5, titles["y"], ha="left", va="center", fontsize=size)
        self._beside.set(rotation=90)
        self._legend: Legend | None = None
        self._panels = [axes for axes in figure.axes if axes.get_subplotspec()]
        grid = self._panels[0].get_gridspec()
        self._rows, self._columns = (grid.nrows, grid.ncols) if grid else (1, 1)
        self._words = [(text, text.get_text(), axes) for text, axes in self._texts()]

    def add_legend(self, data: Sequence[Mapping[str, Any]], pen: Pen) -> None:
        """Add a legend, in as few rows as the width of the figure allows."""
        entries = [one for one in legend_entries(data) if one["type"] == "scatter"]
        if not entries:
            return
        names, title = split_names([words(one["name"]) for one in entries])
        handles = [sample(one, name, pen) for one, name in zip(entries, names, strict=True)]
        place: dict[str, Any] = {"handles": handles, "title": title, "loc": "lower center"} | BESIDE
        first = self.figure.legend(**place)
        widths = [text.get_window_extent().width for text in first.get_texts()]
        letter = float(first.get_texts()[0].get_fontsize()) / 72 * self.figure.dpi
        room = WIDEST * self.figure.bbox.width
        fitting = [count for count in range(1, 9) if _width(widths, letter, count) <= room]
        rows = -(-len(handles) // max(fitting, default=1))
        first.remove()
        self._legend = self.figure.legend(**place, ncols=-(-len(handles) // rows))
        if not fitting:
            longest = room - _width([0], letter, 1)
            for text in self._legend.get_texts():
                wrap(text, text.get_text(), longest)

    def settle(self, sets_height: bool) -> None:
        """Break words, choose ticks and set the height until all have room, then fix all places.

        Raise NoRoom if the width or a given height cuts something off.
        """
        if sets_height:
            self.figure.set_figheight(self._legend_height() + self._rows * FIRST)
        before: list[object] = []
        least: dict[int, float] = {}  # rooms: a title that is whole again would take it again
        for number in range(ROUNDS):
            has_room = self._place()
            for place, (text, whole, axes) in enumerate(self._words):
                room = self._room(text, axes)
                if number and text.get_rotation() == 0:
                    room = least[place] = min(room, least.get(place, room))
                wrap(text, whole, room)
            for axis, own, is_category in self._divided:
                ticks.fit(axis, own, is_category)
            for axes in self._panels:
                fit_numbers(axes)
            missing = self._missing() if has_room else MORE
            if sets_height:
                self.figure.set_figheight(self.figure.get_figheight() + self._rows * missing)
            now: list[object] = [text.get_text() for text, *_ in self._words]
            now += [axes.get_position().width for axes in self._panels]
            if now == before and (abs(missing) < CLOSE or not sets_height):
                break
            before = now
        self._check(self._place())
        self.figure.set_layout_engine("none")

    def _check(self, has_room: bool) -> None:
        """Raise NoRoom if panels are too flat, or words do not fit into the width."""
        width, height = self.figure.get_size_inches()
        lowest = min(axes.get_window_extent().height for axes in self._panels) / self.figure.dpi
        if not has_room or lowest < FLATTEST:
            needed = self._legend_height() + self._rows * (FLATTEST + WORDS)
            raise NoRoom(f"height: got {height:g}, expected about {max(needed, height + 0.5):.1f}")
        box = self.figure.get_tightbbox()
        if (excess := max(-box.x0, box.x1 - width)) > 0:
            raise NoRoom(f"width: got {width:g}, expected about {width + 2 * excess + 0.1:.1f}")
        if (excess := max(-box.y0, box.y1 - height)) > 0:
            raise NoRoom(f"height: got {height:g}, expected about {height + 2 * excess + 0.1:.1f}")

    def _texts(self) -> Iterator[tuple[Text, Axes | None]]:
        """Yield titles of panels, axes and scales of colours, and those that panels share."""
        texts: list[tuple[Text, Axes | None]] = [(self._below, None), (self._beside, None)]
        for axes in self.figure.axes:
            texts += [(text, axes) for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        yield from ((text, axes) for text, axes in texts if text.get_text())

    def _room(self, text: Text, axes: Axes | None) -> float:
        """Return the pixels that a title of some axes, or of all, has along its direction."""
        is_upright = text.get_rotation() == 90
        if axes:
            box = axes.get_window_extent()
            return box.height if is_upright else box.width
        at = text.get_position()[is_upright]  # the middle, as a share of the figure
        whole = self.figure.bbox.height if is_upright else self.figure.bbox.width
        return 2 * min(at, 1 - at) * whole

    def _legend_height(self) -> float:
        """Return the inches at the bottom that the legend takes."""
        if not self._legend:
            return 0
        return self._legend.get_window_extent().height / self.figure.dpi + GAP

    def _place(self) -> bool:
        """Lay out the panels in what the legend and the titles of all leave, if that has room."""
        figure, dpi = self.figure, self.figure.dpi
        width, height = figure.get_size_inches()
        bottom, left = self._legend_height(), 0.0
        if self._below.get_text():
            self._below.set_y(bottom / height)
            bottom += self._below.get_window_extent().height / dpi
        if self._beside.get_text():
            left = self._beside.get_window_extent().width / dpi + GAP
        rect = (left / width, bottom / height, 1 - left / width, 1 - bottom / height)
        self._engine.set(rect=rect)
        with warnings.catch_warnings(record=True, action="always") as caught:
            self._engine.execute(figure)
        boxes = [axes.get_position(original=True) for axes in self._panels]
        self._below.set_x((min(box.x0 for box in boxes) + max(box.x1 for box in boxes)) / 2)
        self._beside.set_y((min(box.y0 for box in boxes) + max(box.y1 for box in boxes)) / 2)
        return not caught

    def _missing(self) -> float:
        """Return the inches that a panel lacks of the height that suits its content."""
        width, height = self.figure.get_size_inches()
        boxes = [axes.get_position(original=True) for axes in self._panels]
        shape = SHAPE if self._columns == 1 else SMALL_SHAPE
        if self._panels[0].get_aspect() != "auto":  # of an image, whose pixels are squares
            shape = 1
        asked = boxes[0].width * width * shape
        for axis, own, is_category in self._divided:
            if is_category and isinstance(axis, YAxis):
                size = axis.get_ticklabels()[0].get_window_extent().height / self.figure.dpi
                asked = len(own.places) * LINE * size
        return min(max(asked, LEAST), MOST) - min(box.height for box in boxes) * height


def _width(names: Sequence[float], letter: float, columns: int) -> float:
    """Return the width of a legend by the widths of its names, all in pixels."""
    parts = np.array_split(np.asarray(names), columns)
    beside = columns * (BESIDE["handlelength"] + BESIDE["handletextpad"] + BESIDE["columnspacing"])
    return float(sum(part.max(initial=0) for part in parts) + letter * beside)


def wrap(text: Text, whole: str, room: float) -> None:
    """Break a text into as few lines as have room: between words, else in them."""
    whole = whole.replace(" %", "\N{NO-BREAK SPACE}%")
    for parts in (re.findall(pattern, whole) for pattern in PARTS):
        longest = max(len(part.strip()) for part in parts)
        for letters in range(len(whole), longest - 1, -1):
            text.set_text("\n".join(_lines(parts, letters)))
            box = text.get_window_extent()
            if (box.height if text.get_rotation() == 90 else box.width) <= room:
                return


def _lines(parts: Sequence[str], letters: int) -> list[str]:
    """Return parts of a text in lines of so many letters at most."""
    lines = [""]
    for part in parts:
        if lines[-1] and len((lines[-1] + part).strip()) > letters:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]
