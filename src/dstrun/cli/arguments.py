"""Command lines of the verbs, and the run that a path means."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from dstrun.system.errors import InputError

DEFAULT = Path("outputs")
RUN = "a run's folder, a file in it, or a folder above it that holds no other run"
NAMED = 3  # runs that a complaint names


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(
            f"{self.prog.split()[-1]}: {message}; `{self.prog} --help` lists what there is"
        )


def report(words: Sequence[str]) -> argparse.Namespace:
    """paths, paper, filter, sort, runs, layers, csv, markdown, html. InputError for what cannot be
    used."""
    parser = Parser(
        "dstrun report",
        description="What runs came to: a row a setting, mean ± deviation over its seeds.",
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="folders of runs (default: outputs)"
    )
    parser.add_argument("--paper", action="store_true", help="the paper's rows beside ours")
    parser.add_argument(
        "--filter", default="", metavar="CONDITIONS", help="such as 'alpha>1e-6 density<5%%'"
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="such as accuracy, or -accuracy from large to small"
    )
    parser.add_argument(
        "--runs", action="store_true", help="a row a run instead of a row a setting"
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="what every layer keeps: a row a layer, a column a setting",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="CSV instead of the table, with fractions")
    form.add_argument("--markdown", action="store_true", help="a Markdown table instead")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="a page of its own with table and figures"
    )
    return _with_paths(parser.parse_intermixed_args(_joined(words)))


def dashboard(words: Sequence[str]) -> argparse.Namespace:
    """paths, port, host, open. InputError for what cannot be used."""
    parser = Parser(
        "dstrun dashboard",
        description="A local page over all runs below PATH, live while they train.",
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="folders of runs (default: outputs)"
    )
    parser.add_argument(
        "--port", type=int, default=8050, help="the first one to try (default: 8050)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    return _with_paths(parser.parse_intermixed_args(list(words)))


def rerun(words: Sequence[str]) -> argparse.Namespace:
    """run, changes. InputError for what cannot be used."""
    parser = Parser(
        "dstrun rerun",
        usage="dstrun rerun RUN [KEY=VALUE ...]",
        description="The same settings as a run's, or some of them changed; the others stay as they were: a new model "
        "or data set brings no recipe along. The new run lies in the group of the old one, or in group=NAME.",
    )
    parser.add_argument(
        "words", nargs="*", metavar="RUN [KEY=VALUE ...]", help=f"{RUN}; options to change"
    )
    return _with_run(parser, words)


def evaluate(words: Sequence[str]) -> argparse.Namespace:
    """run, changes. InputError for what cannot be used."""
    parser = Parser(
        "dstrun eval",
        usage="dstrun eval RUN [KEY=VALUE ...]",
        description="Test figures of a trained run, from its checkpoint.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN [KEY=VALUE ...]",
        help=f"{RUN}; options that change no figure: data.root=PATH",
    )
    return _with_run(parser, words)


def export(words: Sequence[str]) -> argparse.Namespace:
    """run, changes, to, format, shrink, force, tolerance, bench. InputError for what cannot be
    used."""
    parser = Parser(
        "dstrun export",
        description="The trained network out of the training code: read back, compared on every test image, counted; "
        "what came of it is in export.json beside the file.",
    )
    parser.add_argument(
        "words", nargs="*", metavar="RUN [KEY=VALUE ...]", help=f"{RUN}; where its data lies now"
    )
    parser.add_argument(
        "--to", type=Path, metavar="PATH", help="the file: NAME.safetensors, .pt2 (torch) or .onnx"
    )
    parser.add_argument(
        "--format",
        choices=("safetensors", "sparse", "csr", "torch", "onnx"),
        help="by default what PATH ends in; sparse and csr are .safetensors of packed weights",
    )
    parser.add_argument(
        "--shrink", action="store_true", help="without what is dead or unread (.pt2 and .onnx)"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference of an output (default: 1e-4)",
    )
    parser.add_argument(
        "--bench", action="store_true", help="time dense, shrunk, CSR, ONNX Runtime and bf16 here"
    )
    given = _with_run(parser, words)
    if not (given.to or given.bench):
        parser.error("expected --to PATH or --bench")
    if not given.to and (given.format or given.shrink or given.force):
        parser.error("expected --to PATH with --format, --shrink and --force")
    if not given.tolerance >= 0:
        parser.error(f"argument --tolerance: got {given.tolerance}, expected a number ≥ 0")
    for word in given.changes:
        if not word.startswith(("data.root=", "data.download=", "data.test_limit=", "threads=")):
            raise InputError(
                f"{word}: export leaves a run as it was trained, but for where its data lies: data.root=PATH"
            )
    return given


def _with_run(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """The arguments with `run`, the one folder of a run among the words, and `changes`, all
    others."""
    given = parser.parse_intermixed_args(list(words))
    paths = [word for word in given.words if "=" not in word or Path(word).exists()]
    if not paths:
        parser.error("expected the folder of a run")
    if len(paths) > 1:
        parser.error(
            f"expected one run, and KEY=VALUE after it; got {' '.join(paths[: NAMED + 1])}"
        )
    given.run = find_run(Path(paths[0]))
    given.changes = [word for word in given.words if word != paths[0]]
    return given


def find_run(path: Path) -> Path:
    """Return the folder of the run that a path means: of a folder, a file in it, or a folder above
    that single run.

    InputError where there is none, or more than one.
    """
    for folder in (path, path.parent):
        if (folder / "config.yaml").is_file() and (folder == path or path.exists()):
            return folder
    below = [
        file.parent for depth in ("*", "*/*") for file in sorted(path.glob(f"{depth}/config.yaml"))
    ]
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(str(run.relative_to(path)) for run in below[:NAMED]) + ", …" * (
            len(below) > NAMED
        )
        raise InputError(
            f"{path}: expected the folder of one run, and there are {len(below)} in it: {names}"
        )
    there = {str(run): run.name for run in path.parent.glob("*") if (run / "config.yaml").is_file()}
    near = [
        run
        for run, name in there.items()
        if name in get_close_matches(path.name, there.values(), n=1, cutoff=0.7)
    ]
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"{path}: expected the folder of a run, with a config.yaml in it{hint}")


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
