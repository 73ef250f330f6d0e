"""`dstrun figure`: a figure of the catalogue as a file for a paper, in PDF, SVG or PNG."""

import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager

from dstrun.compare.drawing.figure import Paper, drawn, on_paper
from dstrun.compare.drawing.fitting import NoRoom
from dstrun.compare.drawing.notation import CannotDraw
from dstrun.compare.figures.catalogue import FIGURES
from dstrun.compare.figures.view import Source, View
from dstrun.compare.masks import ReadMasks
from dstrun.compare.reading import print_notes, read_runs
from dstrun.config.messages import near
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError
from dstrun.system.files import atomic_write

SOME_RUNS = re.compile(r"\d+ of \d+ runs, [^.]*")  # with which a caption begins that shows not all
METADATA: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {},
}  # of each type of file: without a date, the same runs give the same bytes


def write_figures(
    name: str,
    paths: Sequence[Path],
    to: Path,
    conditions: str = "",
    paper: Paper | None = None,
    read_masks: ReadMasks | None = None,
) -> None:
    """Write the figure of that name, of the runs below `paths` that meet the conditions.

    Several, such as one for each network, are numbered: NAME-1.pdf, NAME-2.pdf. A file that exists
    is replaced. `read_masks` reads those of a run's folder. Raise InputError for a name, a type of
    file or a font that is not known, and where the runs have nothing to show.
    """
    paper = paper or Paper()
    _check(name, to, paper)
    store, runs = read_runs(paths, conditions)
    views = list(FIGURES[name].make(Source(store, runs, read_masks)))
    print_notes(store.notes)
    if not views:
        needs = FIGURES[name].needs
        raise InputError(
            f"figure: {name} has nothing to show of {quantity(len(runs), 'run')}; it needs {needs}"
        )
    files = [to] if len(views) == 1 else _numbered(to, len(views))
    contents = [_content(view, paper, to.suffix.lower()) for view in views]
    for file, content in zip(files, contents, strict=True):
        _write(file, content)
    for file, view in zip(files, views, strict=True):
        some = SOME_RUNS.match(view.caption)
        print(f"{file}: {view.title}{f' ({some[0]})' if some else ''}")
    if len(views) > 1:
        note = f"{len(views)} figures, since one cannot show all of these runs"
        print(f"dstrun: figure: {note}; --filter chooses runs", file=sys.stderr)


def _check(name: str, to: Path, paper: Paper) -> None:
    """Raise InputError for a name, a type of file, a size or a font that is not known."""
    if name not in FIGURES:
        known = ", ".join(FIGURES)
        raise InputError(f"figure: got {name!r}, expected one of {known}{near(name, FIGURES)}")
    if to.suffix.lower() not in METADATA:
        raise InputError(f"to: got {str(to)!r}, expected a name that ends in .pdf, .svg or .png")
    if to.is_dir():
        raise InputError(f"to: {to} is a folder; expected the name of a file")
    limits = {"width": (1, 40), "height": (0.5, 40), "font-size": (3, 40)}
    sizes = (paper.width, paper.height, paper.font_size)
    for (option, (low, high)), size in zip(limits.items(), sizes, strict=True):
        if size is not None and not low <= size <= high:
            unit = "points" if option == "font-size" else "inches"
            raise InputError(f"{option}: got {size:g}, expected {unit} from {low} to {high}")
    try:
        findfont(paper.font, fallback_to_default=False)
    except ValueError as error:
        fonts = sorted(set(fontManager.get_font_names()))
        raise InputError(
            f"font: this machine has no {paper.font!r}, expected one of its "
            f"{len(fonts)} fonts{near(paper.font, fonts)}"
        ) from error


def _numbered(to: Path, count: int) -> list[Path]:
    """Return a file's name with a number before its ending, for each of so many."""
    digits = len(str(count))
    return [to.with_stem(f"{to.stem}-{number:0{digits}}") for number in range(1, count + 1)]


def _content(view: View, paper: Paper, ending: str) -> bytes:
    """Return the content of a file of a figure."""
    try:
        with on_paper(paper):
            return encoded(drawn(view.figure, paper), ending)
    except CannotDraw as error:
        raise InputError(
            f"figure: {view.name}: {error}; `dstrun report --html` shows it"
        ) from error
    except NoRoom as error:
        raise InputError(f"{error}, for {view.name}, or a smaller --font-size") from error


def encoded(figure: Figure, ending: str) -> bytes:
    """Return a drawn figure as a file of that ending; call it in `on_paper`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending[1:], metadata=METADATA[ending])
    return buffer.getvalue()


def _write(file: Path, content: bytes) -> None:
    """Write a file, with its folder; raise InputError if it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise InputError(f"to: {file}: {error.strerror}") from error
