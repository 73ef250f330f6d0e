"""What the verbs that compare runs take from the command line. Knows errors."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dstrun.errors import InputError

DEFAULT = Path("outputs")


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog.split()[-1]}: {message}; `{self.prog} --help` lists what there is")


def report(words: Sequence[str]) -> argparse.Namespace:
    """paths, paper, filter, sort, runs, layers, csv, markdown, html. InputError for what cannot be used."""
    parser = Parser("dstrun report", description="What runs came to: a row a setting, mean ± deviation over its seeds.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folders of runs (default: outputs)")
    parser.add_argument("--paper", action="store_true", help="the paper's rows beside ours")
    parser.add_argument("--filter", default="", metavar="CONDITIONS", help="such as 'alpha>1e-6 density<5%%'")
    parser.add_argument("--sort", metavar="COLUMN", help="such as accuracy, or -accuracy from large to small")
    parser.add_argument("--runs", action="store_true", help="a row a run instead of a row a setting")
    parser.add_argument(
        "--layers", action="store_true", help="what every layer keeps: a row a layer, a column a setting"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="CSV instead of the table, with fractions")
    form.add_argument("--markdown", action="store_true", help="a Markdown table instead")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page of its own with table and figures")
    return _with_paths(parser.parse_intermixed_args(_joined(words)))


def dashboard(words: Sequence[str]) -> argparse.Namespace:
    """paths, port, host, open. InputError for what cannot be used."""
    parser = Parser("dstrun dashboard", description="A local page over all runs below PATH, live while they train.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folders of runs (default: outputs)")
    parser.add_argument("--port", type=int, default=8050, help="the first one to try (default: 8050)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    return _with_paths(parser.parse_intermixed_args(list(words)))


def _with_paths(given: argparse.Namespace) -> argparse.Namespace:
    given.paths = given.paths or [DEFAULT]
    return given


def _joined(words: Sequence[str]) -> list[str]:
    """With `--sort -accuracy` as one word, whose value argparse takes for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--sort":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
