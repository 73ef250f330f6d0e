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


def export(words: Sequence[str]) -> argparse.Namespace:
    """run, changes, to, format, shrink, force, tolerance, bench. InputError for what cannot be used."""
    parser = Parser(
        "dstrun export",
        description="The trained network out of the training code: read back, compared on every test image, counted; "
        "what came of it is in export.json beside the file.",
    )
    parser.add_argument(
        "words", nargs="*", metavar="RUN [KEY=VALUE ...]", help="a run's folder; where its data lies now"
    )
    parser.add_argument("--to", type=Path, metavar="PATH", help="the file: NAME.safetensors, .pt2 (torch) or .onnx")
    parser.add_argument(
        "--format", choices=("safetensors", "sparse", "csr", "torch", "onnx"),
        help="by default what PATH ends in; sparse and csr are .safetensors of packed weights",
    )  # fmt: skip
    parser.add_argument("--shrink", action="store_true", help="without what is dead or unread (.pt2 and .onnx)")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference of an output (default: 1e-4)")
    parser.add_argument("--bench", action="store_true", help="time dense, shrunk, CSR, ONNX Runtime and bf16 here")
    given = parser.parse_intermixed_args(list(words))
    if not given.words:
        parser.error("expected the folder of a run")
    given.run, given.changes = Path(given.words[0]), given.words[1:]
    if not (given.to or given.bench):
        parser.error("expected --to PATH or --bench")
    if not given.to and (given.format or given.shrink or given.force):
        parser.error("expected --to PATH with --format, --shrink and --force")
    if not given.tolerance >= 0:
        parser.error(f"argument --tolerance: got {given.tolerance}, expected a number ≥ 0")
    if not (given.run / "config.yaml").is_file():
        raise InputError(f"{given.run}: expected the folder of a run, with a config.yaml in it")
    for word in given.changes:
        if not word.startswith(("data.root=", "data.download=", "data.test_limit=", "threads=")):
            raise InputError(
                f"{word}: export leaves a run as it was trained, but for where its data lies: data.root=PATH"
            )
    return given


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
