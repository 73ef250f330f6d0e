"""Figures on paper: what matplotlib draws of the catalogue, and the files of `dstrun figure`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from dstrun.compare.drawing.figure import Paper, drawn, on_paper, sketched
from dstrun.compare.drawing.files import METADATA, encoded
from dstrun.compare.drawing.looks import MARKERS, Look, looks, split_names
from dstrun.compare.drawing.notation import CannotDraw, numbers, power_text, tick_text, words
from dstrun.compare.figures.catalogue import FIGURES
from dstrun.compare.figures.panels import Panels, line, pack
from dstrun.compare.figures.view import Source, View
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.system.run_files import CHECKPOINT_FILE
from tests.helpers.commands import Command
from tests.helpers.folders import leave, leave_methods, status

METHODS = (
    *("acdc", "dsr", "gmp", "granet", "grasp", "one_shot", "rigl", "set", "snfs", "snip"),
    *("static", "synflow"),
)
SHAPES = {"fc1": (10, 64), "fc2": (10, 10)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Return runs of all methods at two densities, of α and of another network."""
    made = tmp_path_factory.mktemp("outputs") / "made"
    density = {"reg__density": 0.1}
    for number, method in enumerate(METHODS):
        for place, share in enumerate((0.1, 0.05)):
            run = leave(
                made,
                [0.5, 0.8, 0.9 + 0.001 * number],
                [1, 0.5, share],
                reg__method=method,
                reg__density=share,
                created=2 * number + place,
            )
            rows = (run / "layers.csv").read_text()
            (run / "layers.csv").write_text(rows.replace(",1.0,0,0,", ",0.4,0,0,"))  # explored
            (run / CHECKPOINT_FILE).touch()
            status(run, data={"shape": [1, 8, 8]})
    for seed in range(2):
        leave(made, [0.5, 0.98 - 0.01 * seed], [1, 1], seed=seed, reg__method="dense", created=40)
        leave(made, [0.5, 0.95], [1, 0.2 + seed / 10], seed=seed, reg__alpha=1e-3, created=41)
    leave(made, [0.5, 0.94], [1, 0.1], reg__alpha=1e-2, created=42)
    leave(made, [0.5, 0.99], [1, 0.1], model__name="lenet5", reg__method="set", **density)
    store = Store([made.parent])
    return Source(store, with_labels(store.runs), masks_of)


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """Return made-up masks of a run, which differ between runs."""
    random = np.random.default_rng(len(folder.name))
    return {name: random.random(shape) < 0.2 for name, shape in SHAPES.items()}


@pytest.fixture
def paper() -> Iterator[Paper]:
    with on_paper(Paper()):
        yield Paper()


def named(axes: Axes) -> list[np.ndarray]:
    """Return the points of the lines and marks of a panel, without the caps of error bars."""
    caps = [cap for one in axes.containers if isinstance(one, ErrorbarContainer) for cap in one[1]]
    return [line.get_xydata() for line in axes.lines if line not in caps]


def points(parts: list[np.ndarray]) -> np.ndarray:
    """Return points in an order of their own, without those that are missing."""
    all_of_them = np.concatenate([*parts, np.empty((0, 2))])
    some = all_of_them[np.isfinite(all_of_them).all(axis=1)]
    return some[np.lexsort(some.T)]


def panels_of(figure: Figure, layout: dict[str, Any]) -> Iterator[tuple[str, str, Axes]]:
    """Yield plotly's names of the axes of each panel, and what is drawn there."""
    names = [name.removeprefix("xaxis") for name in layout if name.startswith("xaxis")]
    pairs = [(f"x{name}", f"y{name}") for name in names]
    for name, axis in layout.items():
        if name.startswith("yaxis") and "overlaying" in axis:
            pairs.append((axis["anchor"], f"y{name.removeprefix('yaxis')}"))
    grid = [axes for axes in figure.axes if axes.get_subplotspec()]
    yield from ((*pair, axes) for pair, axes in zip(pairs, grid, strict=True))


def check_values(figure: Figure, view: View) -> None:
    """Compare all that is drawn with the traces: points, bands, bars, deviations and cells."""
    layout, data = view.figure["layout"], view.figure["data"]
    for x, y, axes in panels_of(figure, layout):
        mine = [trace for trace in data if (trace["xaxis"], trace["yaxis"]) == (x, y)]
        asked = asked_of([trace for trace in mine if trace["type"] != "heatmap"])
        for shape in layout.get("shapes", ()):
            asked["points"].append(np.array([[shape[a + n] for a in "xy"] for n in "01"]))
        found = drawn_on(axes)
        for kind, parts in asked.items():
            assert points(found[kind]) == pytest.approx(points(parts)), kind
        meshes = [one for one in axes.collections if isinstance(one, QuadMesh)]
        maps = [trace for trace in mine if trace["type"] == "heatmap"]
        for mesh, trace in zip(meshes, maps, strict=True):
            cells = numbers(trace["z"])
            assert np.array_equal(np.ma.filled(mesh.get_array(), np.nan), cells, equal_nan=True)
            red, _, blue, _ = mesh.cmap(0.0)
            assert blue > red, "plotly's scales begin with a blue"
            assert mesh.get_clim()[1] == trace.get("zmax", np.nanmax(cells)) or "zmid" in trace


def asked_of(traces: list[dict[str, Any]]) -> dict[str, list[np.ndarray]]:
    """Return the points, bands, bars and deviations of traces."""
    asked: dict[str, list[np.ndarray]] = {"points": [], "bands": [], "bars": [], "errors": []}
    for trace in traces:
        x = np.arange(len(trace["x"])) if trace["type"] == "bar" else numbers(trace["x"])
        kind = "bars" if trace["type"] == "bar" else "bands" if "fill" in trace else "points"
        if trace.get("mode") != "text":
            asked[kind].append(np.stack([x, numbers(trace["y"])], axis=1))
        lengths = numbers(trace["error_y"]["array"]) if "error_y" in trace else np.array([])
        asked["errors"].append(np.stack([lengths[lengths > 0]] * 2, axis=1))
    return asked


def drawn_on(axes: Axes) -> dict[str, list[np.ndarray]]:
    """Return the points, bands, bars and deviations that are drawn in a panel."""
    found: dict[str, list[np.ndarray]] = {"points": named(axes), "bands": [], "bars": []}
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            middle = patch.get_x() + patch.get_width() / 2
            found["bars"].append(np.array([[middle, patch.get_height()]]))
        else:
            found["bands"].append(patch.get_xy()[:-1])
    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer) and one.has_yerr]
    ends = [segment[:, 1] for one in bars for segment in one[2][-1].get_segments()]
    found["errors"] = [np.array([[np.ptp(pair) / 2] * 2]) for pair in ends]
    return found


def check_places(figure: Figure) -> None:
    """Check that no text is cut off, and that no legend covers a panel."""
    figure.draw_without_rendering()
    box = figure.bbox
    for text in figure.findobj(Text):
        is_shown = text.get_text() and text.get_visible() and not _is_hidden_tick(text, figure)
        if is_shown:
            own = text.get_window_extent()
            assert min(own.x0, own.y0) >= -1, text.get_text()
            assert own.x1 <= box.x1 + 1, text.get_text()
            assert own.y1 <= box.y1 + 1, text.get_text()
    legends = [legend.get_window_extent() for legend in figure.legends]
    for axes in figure.axes:
        assert not any(axes.get_window_extent().overlaps(legend) for legend in legends)


def _is_hidden_tick(text: Text, figure: Figure) -> bool:
    """Return whether a text is the label of a tick that is out of the range or hidden."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [*axis.majorTicks, *axis.minorTicks]
            if any(text in (tick.label1, tick.label2) for tick in ticks):
                drawn_ticks = axis._update_ticks() if axis.get_visible() else []
                return not any(text in (tick.label1, tick.label2) for tick in drawn_ticks)
    return False


def check_looks(figure: Figure) -> None:
    """Check that names in the legend differ without their colours."""
    looks = []
    for handle in (handle for legend in figure.legends for handle in legend.legend_handles):
        is_open = handle.get_markerfacecolor() == "none"
        looks.append((str(handle._unscaled_dash_pattern), handle.get_marker(), is_open))
    apart = min(len(looks), len(MARKERS))  # of curves there may be more
    assert len(set(looks)) >= apart


@pytest.mark.parametrize("name", FIGURES)
def test_all_values_of_every_figure(source: Source, paper: Paper, name: str) -> None:
    """Also: names in the legend differ without colours."""
    view = next(FIGURES[name].make(source), None)
    assert view, "the fixture has nothing to show in this figure"
    figure = sketched(view.figure, paper).figure
    check_values(figure, view)
    check_looks(figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_room_in_a_column(source: Source, paper: Paper, name: str) -> None:
    for view in FIGURES[name].make(source):
        figure = drawn(view.figure, paper)
        assert figure.get_figwidth() == 3.3
        check_places(figure)
        for ending in METADATA:
            assert encoded(figure, ending) == encoded(figure, ending)
        assert b"/FontFile2" in encoded(figure, ".pdf")


def test_a_file_for_a_paper(command: Command) -> None:
    """Fonts are embedded as TrueType in PDF, and text in SVG is text."""
    leave_methods()
    for name in ("methods.pdf", "methods.svg", "methods.PNG"):
        outcome = command("figure", "methods", "outputs", "--to", f"figures/{name}")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out == f"figures/{name}: Accuracy against density, by method\n"
    assert Path("figures/methods.PNG").read_bytes().startswith(b"\x89PNG")
    pdf = Path("figures/methods.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf
    (width,) = {box.split()[2] for box in pdf.split(b"/MediaBox [ ")[1:]}
    assert float(width) == pytest.approx(3.3 * 72)
    svg = Path("figures/methods.svg").read_text()
    assert ">remaining weights (%, log scale)</text>" in svg
    assert ">rigl</text>" in svg
    command("figure", "methods", "--to", "figures/methods.svg", "--width", "5")
    assert Path("figures/methods.svg").read_text() != svg, "a file is replaced"


@pytest.mark.slow
@pytest.mark.parametrize("ending", METADATA)
def test_the_same_runs_give_the_same_bytes(ending: str) -> None:
    """In two processes, whose hashes of words differ."""
    leave_methods()
    contents = set()
    for seed in ("1", "2"):
        file = f"{seed}{ending}"
        call = [sys.executable, "-m", "dstrun", "figure", "methods", "--to", file]
        subprocess.run(call, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        contents.add(Path(file).read_bytes())
    assert len(contents) == 1


def test_several_figures_of_a_name_are_numbered(command: Command) -> None:
    for name in ("lenet5", "lenet_300_100"):
        leave(Path("outputs") / name, model__name=name)
    outcome = command("figure", "layers", "--to", "layers.svg")
    assert [line.partition(":")[0] for line in outcome.out.splitlines()] == [
        "layers-1.svg",
        "layers-2.svg",
    ]
    assert "2 figures, since one cannot show all of these runs; --filter chooses" in outcome.err
    assert sorted(path.name for path in Path().glob("*.svg")) == ["layers-1.svg", "layers-2.svg"]
    command("figure", "layers", "--to", "layers.svg", "--filter", "model=lenet5")
    assert Path("layers.svg").exists()


def test_sizes_and_font(command: Command) -> None:
    leave(reg__alpha=1e-3)
    words = ["--width", "5", "--height", "2", "--font-size", "6.5", "--font", "STIXGeneral"]
    assert command("figure", "curves", "--to", "one.svg", *words).code == 0
    svg = Path("one.svg").read_text()
    assert 'width="360pt" height="144pt"' in svg
    assert "6.5px" in svg
    assert "'STIXGeneral', 'DejaVu Sans'" in svg, "the second has the letters that others lack"


BAD = [
    (["metods", "--to", "a.pdf"], "figure: got 'metods', expected one of accuracy-density, "),
    (["metods", "--to", "a.pdf"], "did you mean methods?"),
    (["curves"], "figure: expected --to FILE, such as --to figure.pdf"),
    (["curves", "--to", "a.jpg"], "to: got 'a.jpg', expected a name that ends in .pdf, .svg or"),
    (["curves", "--to", "a"], "to: got 'a', expected a name that ends in .pdf, .svg or .png"),
    (["curves", "--to", "/proc/a/a.pdf"], "to: /proc/a/a.pdf: "),
    (["curves", "--to", "folder.pdf"], "to: folder.pdf is a folder; expected the name of a file"),
    (["curves", "nowhere", "--to", "a.pdf"], "nowhere"),
    (["methods", "--to", "a.pdf"], "methods has nothing to show of 1 run; it needs runs of two"),
    (["curves", "--to", "a.pdf", "--filter", "alpha=7"], "filter: none of 1 run meets 'alpha=7'"),
    (["curves", "--to", "a.pdf", "--width", "0"], "width: got 0, expected inches from 1 to 40"),
    (["curves", "--to", "a.pdf", "--width", "nan"], "width: got nan, expected inches from 1 to 40"),
    (["curves", "--to", "a.pdf", "--height", "1"], "height: got 1, expected about "),
    (["curves", "--to", "a.pdf", "--font-size", "99"], "font-size: got 99, expected points from 3"),
    (["curves", "--to", "a.pdf", "--font", "Dejavu San"], "font: this machine has no 'Dejavu San'"),
    (["curves", "--to", "a.pdf", "--font", "Dejavu San"], "did you mean DejaVu Sans"),
]


def test_what_cannot_be_written(command: Command) -> None:
    leave(reg__alpha=1e-3)
    Path("folder.pdf").mkdir()
    before = sorted(Path().iterdir())
    for arguments, line_of_it in BAD:
        outcome = command("figure", *arguments)
        assert (outcome.code, outcome.out) == (2, ""), arguments
        assert line_of_it in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert sorted(Path().iterdir()) == before


def test_names_and_what_they_show(command: Command) -> None:
    for words_of_it in ([], ["--help"]):
        outcome = command("figure", *words_of_it)
        assert (outcome.code, outcome.err) == (0, "")
        for name, entry in FIGURES.items():
            assert f"  {name}" in outcome.out
            assert entry.about in outcome.out


def small(**changes: Any) -> dict[str, Any]:
    """Return a figure of one line, with changes of the line."""
    panels = Panels(["title"])
    panels.add(0, line([1, 2], [3, 4], "a", {"color": "#000000"}) | changes)
    return panels.figure()


UNKNOWN = [
    ({"type": "violin"}, "trace: no way to draw violin"),
    ({"cliponaxis": False}, "scatter: no way to draw cliponaxis"),
    ({"line": {"color": "#000000", "smoothing": 1}}, "line: no way to draw smoothing"),
    ({"line": {"color": "#000000", "dash": "wavy"}}, "line.dash: no way to draw wavy"),
    ({"mode": "lines+stars"}, "mode: no way to draw stars"),
    ({"mode": "markers", "marker": {"symbol": "y-up", "color": "red"}}, "no way to draw y-up"),
    ({"fill": "tonexty"}, "fill: no way to draw tonexty"),
    ({"name": "<b>a</b>"}, "text: no way to draw <b>"),
]


def test_what_is_not_known_is_not_left_out(paper: Paper) -> None:
    for changes, message in UNKNOWN:
        with pytest.raises(CannotDraw, match=message):
            drawn(small(**changes), paper)
    for part, message in (
        ({"xaxis": {"rangeslider": {}}}, "xaxis: no way to draw rangeslider"),
        ({"xaxis": {"type": "date"}}, r"xaxis.type: no way to draw date"),
        ({"images": []}, "layout: no way to draw images"),
        ({"annotations": [{"x": 5, "y": 5, "xref": "x", "text": "b"}]}, "annotation: no way"),
    ):
        figure = small()
        figure["layout"] = figure["layout"] | part
        with pytest.raises(CannotDraw, match=message):
            drawn(figure, paper)


def test_numbers_and_words() -> None:
    percents = [tick_text(value, ".3~%", has_unit=False) for value in (0.5, 1e-5, 0.98765, -0.1)]
    assert percents == ["50%", "0.001%", "98.765%", "−10%"]
    assert tick_text(0.5, ".3~%", has_unit=True) == "50"
    assert [power_text(1e-4), power_text(5e-4)] == ["$10^{-4}$", r"$5\cdot10^{-4}$"]
    assert words("a &lt;b&gt;<br>$5") == "a <b>\n\\$5"
    assert numbers(pack([[1, 2, 3]])).tolist() == [[1, 2, 3]]
    assert numbers([None, 1]).tolist() == pytest.approx([np.nan, 1], nan_ok=True)
    assert split_names(["set, seed 0", "dst, seed 0"]) == (["set", "dst"], "seed 0")
    assert split_names(["set", "set, seed 0"]) == (["set", "set, seed 0"], "")


def test_steps_and_ranges_of_logarithms(paper: Paper) -> None:
    """A front keeps its height until the next mark; plotly gives such ranges as powers of ten."""
    figure = small(line={"color": "#000000", "shape": "hv"})
    figure["layout"]["yaxis"] |= {"type": "log", "range": [-1, 2]}
    (axes,) = sketched(figure, paper).figure.axes
    assert axes.lines[0].get_drawstyle() == "steps-post"
    assert axes.get_ylim() == pytest.approx((0.1, 100))


def test_panels_in_as_many_columns_as_have_room() -> None:
    """Panels below each other stay so where only the first row has titles."""
    titled, below = Panels(list("abc"), columns=3), Panels(["a", "b", "c", "", "", ""], columns=3)
    for panels, count in ((titled, 3), (below, 6)):
        for panel in range(count):
            panels.add(panel, line([1, 2], [3, 4], "a", {"color": "#000000"}))
    for figure, width, places in (
        (titled, 3.3, [(0, 0), (0, 1), (1, 0)]),
        (titled, 7, [(0, 0), (0, 1), (0, 2)]),
        (titled, 1.6, [(0, 0), (1, 0), (2, 0)]),
        (below, 3.3, [(0, 0), (0, 1), (2, 0), (1, 0), (1, 1), (3, 0)]),
    ):
        with on_paper(Paper(width)):
            axes = sketched(figure.figure(), Paper(width)).figure.axes
        specs = [one.get_subplotspec() for one in axes]
        found = [(one.rowspan.start, one.colspan.start) for one in specs if one]
        assert found == places


def test_a_crowded_figure_has_room() -> None:
    """Names of forty settings leave room for the panel."""
    panels = Panels([""])
    for number in range(40):
        style = {"color": "#0072b2"}
        panels.add(0, line([1, 2], [3, number], f"a long name, number {number}", style))
    panels.y(title="a title that is longer than the panel is high, so that it is broken")
    paper = Paper(4, font_size=9)
    with on_paper(paper):
        figure = drawn(panels.figure(), paper)
        assert figure.axes[0].get_window_extent().height / figure.dpi > 0.85
        check_places(figure)


def test_which_runs_a_file_shows_is_said(command: Command) -> None:
    for seed in range(25):
        leave(seed=seed)
    said = command("figure", "curves", "--to", "curves.png").out
    assert said == "curves.png: Learning curves (24 of 25 runs, the first to start)\n"


def test_a_method_has_its_symbol_whatever_stands_before_it() -> None:
    """Dense runs, whose seeds have several symbols, get one that is left."""
    dense = {"name": "dense", "mode": "markers", "marker": {"symbol": ["circle", "square"]}}
    dst = {"name": "dst", "mode": "markers", "marker": {"symbol": ["circle", "circle-open"]}}
    found = looks([one | {"showlegend": True} for one in (dense, dst)])
    assert found == {"dense": Look("square")}
