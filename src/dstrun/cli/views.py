"""The verbs report, figure and dashboard: they show runs. Heavy modules are imported on use."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def report(arguments: Sequence[str]) -> None:
    """Run `dstrun report PATH...`: show results of runs in a table or a page with figures."""
    from dstrun.cli.view_arguments import parse_report

    given = parse_report(arguments)
    from dstrun.compare.report.report import (
        report_layers,
        report_methods,
        report_overlap,
        report_settings,
    )

    if given.layers:
        report_layers(given.paths, given.filter, given.form)
        return
    if given.methods:
        report_methods(given.paths, given.filter, given.form, reference=given.against)
        return
    if given.overlap:
        report_overlap(given.paths, given.filter, given.form, _read_masks)
        return
    report_settings(
        given.paths,
        given.filter,
        given.form,
        sort=given.sort,
        reference=given.against,
        each_run=given.runs,
        with_paper=given.paper,
        html=given.html,
        read_masks=_read_masks,
    )


def figure(arguments: Sequence[str]) -> None:
    """Run `dstrun figure NAME PATH... --to FILE`: write a figure for a paper."""
    from dstrun.cli.view_arguments import parse_figure

    given = parse_figure(arguments)
    if not given.name:
        from dstrun.compare.figures.catalogue import listing

        print(f"{listing()}\n\ndstrun figure NAME [PATH ...] --to FILE")
        return
    from dstrun.compare.drawing.figure import Paper
    from dstrun.compare.drawing.files import write_figures

    paper = Paper(given.width, given.height, given.font_size, given.font)
    write_figures(given.name, given.paths, given.to, given.filter, paper, _read_masks)


def _read_masks(folder: Path) -> "dict[str, np.ndarray]":
    """Return the masks of a run by layer, read by torch, which few figures need."""
    from dstrun.export.masks import read_masks

    return read_masks(folder)


def dashboard(arguments: Sequence[str]) -> None:
    """Run `dstrun dashboard PATH`: serve a local page on runs."""
    from dstrun.cli.view_arguments import parse_dashboard

    given = parse_dashboard(arguments)
    from dstrun.compare.dashboard import server

    server.dashboard(given.paths, given.host, given.port, given.open, _read_masks)
