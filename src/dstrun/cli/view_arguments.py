"""Arguments of the verbs that show runs, report, figure and dashboard, parsed by argparse."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dstrun.cli.arguments import Parser
from dstrun.system.errors import InputError

DEFAULT = Path("outputs")
REPORT_FLAGS = {
    "--paper": "add the paper's rows",
    "--runs": "a row per run instead of a row per setting",
    "--layers": "density of every layer: a row per layer, a column per setting",
    "--methods": "accuracy: a row per method, a column per density asked for",
    "--overlap": "overlap of the masks of each two runs of one model, from their checkpoints",
}


def parse_report(words: Sequence[str]) -> argparse.Namespace:
    """Return paths, paper, filter, sort, against, runs, layers, methods, overlap, form and html.

    Raise InputError for arguments that cannot be used.
    """
    parser = Parser(
        "dstrun report",
        description="Results of runs: a row per setting, mean ± deviation over its seeds.",
    )
    _add_paths(parser)
    _add_filter(parser)
    parser.add_argument("--sort", metavar="COLUMN", help="such as accuracy; -accuracy reverses it")
    parser.add_argument(
        "--against",
        default="",
        metavar="SETTING",
        help="differences from a setting, with 95%% intervals: 'method=rigl density=0.1'; with "
        "--methods from a method at each density",
    )
    for flag, help_line in REPORT_FLAGS.items():
        parser.add_argument(flag, action="store_true", help=help_line)
    _add_forms(parser)
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="self-contained page with table and figures"
    )
    given = _with_paths(parser.parse_intermixed_args(_joined(words)))
    alone = [word for word in ("layers", "overlap", "methods") if getattr(given, word)]
    if alone and (len(alone) > 1 or given.runs or given.paper or given.sort or given.html):
        raise InputError(f"{alone[0]}: expected alone, or with --filter and a form such as --csv")
    if given.against and (given.runs or given.layers or given.overlap):
        other = "runs" if given.runs else alone[0]
        raise InputError(f"against: got it with --{other}, expected a table of settings or methods")
    return given


def parse_figure(words: Sequence[str]) -> argparse.Namespace:
    """Return name (None: list the figures), paths, to, filter, width, height, font_size and font.

    Raise InputError for arguments that cannot be used.
    """
    parser = Parser(
        "dstrun figure",
        description="A figure of the report as a file for a paper. Without NAME: the list below.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_figures() if {"-h", "--help"} & {*words} else None,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="as `dstrun figure` lists them")
    _add_paths(parser)
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="file: NAME.pdf, .svg or .png; it is replaced"
    )
    _add_filter(parser)
    sizes = {
        "--width": (3.3, "inches (default: 3.3, a column)"),
        "--height": (None, "inches (default: by the content)"),
        "--font-size": (8, "points (default: 8)"),
    }
    for option, (default, help_line) in sizes.items():
        parser.add_argument(option, type=float, default=default, metavar="SIZE", help=help_line)
    parser.add_argument(
        "--font", default="DejaVu Sans", help="one of this machine's (default: DejaVu Sans)"
    )
    given = _with_paths(parser.parse_intermixed_args(list(words)))
    if given.name and not given.to:
        parser.error("expected --to FILE, such as --to figure.pdf")
    return given


def _figures() -> str:
    """Return the figures and what each shows; this imports what they are made with."""
    from dstrun.compare.figures.catalogue import listing

    return f"figures:\n{listing()}"


def parse_dashboard(words: Sequence[str]) -> argparse.Namespace:
    """Return paths, port, host and open of `dstrun dashboard`.

    Raise InputError for arguments that cannot be used.
    """
    parser = Parser(
        "dstrun dashboard",
        description="Local page on all runs below PATH, live while they train.",
    )
    _add_paths(parser)
    parser.add_argument("--port", type=int, default=8050, help="first port to try (default: 8050)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    return _with_paths(parser.parse_intermixed_args(list(words)))


def _add_paths(parser: Parser) -> None:
    """Add the folders of runs to a parser."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="folders of runs (default: outputs)"
    )


def _add_filter(parser: Parser) -> None:
    """Add conditions that choose runs to a parser."""
    parser.add_argument(
        "--filter", default="", metavar="CONDITIONS", help="such as 'alpha>1e-6 density<5%%'"
    )


def _add_forms(parser: Parser) -> None:
    """Add the forms of a table to a parser."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv",
        action="store_const",
        dest="form",
        const="csv",
        default="table",
        help="CSV instead of a table, with fractions",
    )
    form.add_argument(
        "--markdown", action="store_const", dest="form", const="markdown", help="a Markdown table"
    )
    form.add_argument(
        "--latex",
        action="store_const",
        dest="form",
        const="latex",
        help="a table of LaTeX, with booktabs",
    )


def _with_paths(given: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments with the default path if none is given."""
    given.paths = given.paths or [DEFAULT]
    return given


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words with `--sort -accuracy` as one, which argparse would take for two flags."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--sort":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
