"""Arguments of the verbs on one run, rerun, eval and export, parsed by argparse."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dstrun.cli.find_run import find_run
from dstrun.system.errors import InputError

RUN = "a run's folder, a file in it, or a folder above it that contains no other run"
NAMED = 3  # paths that a message names
CHANGES_IN_EXPORT = ("data.root=", "data.download=", "data.test_limit=", "threads=")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError for arguments that cannot be used."""
        verb = self.prog.split()[-1]
        raise InputError(f"{verb}: {message}; `{self.prog} --help` lists the arguments")


def parse_rerun(words: Sequence[str]) -> argparse.Namespace:
    """Return run and changes of `dstrun rerun`; raise InputError for unusable arguments."""
    parser = Parser(
        "dstrun rerun",
        usage="dstrun rerun RUN [KEY=VALUE ...]",
        description="Train again with the settings of a run, some of them changed. The others keep "
        "their values: a new model or data set applies no recipe. The new run is put into the "
        "group of the old one, or into group=NAME.",
    )
    _add_words(parser, "options to change")
    return _with_run(parser, words)


def parse_eval(words: Sequence[str]) -> argparse.Namespace:
    """Return run and changes of `dstrun eval`; raise InputError for unusable arguments."""
    parser = Parser(
        "dstrun eval",
        usage="dstrun eval RUN [KEY=VALUE ...]",
        description="Test a trained run from its checkpoint.",
    )
    _add_words(parser, "options that change no result, such as data.root=PATH")
    return _with_run(parser, words)


def parse_export(words: Sequence[str]) -> argparse.Namespace:
    """Return run, changes, to, format, shrink, force, tolerance and bench of `dstrun export`.

    Raise InputError for arguments that cannot be used.
    """
    parser = Parser(
        "dstrun export",
        description="Write the trained network without the training code. The file is read back "
        "and compared on every test image; export.json beside it records the result.",
    )
    _add_words(parser, "the place of its data now")
    parser.add_argument(
        "--to", type=Path, metavar="PATH", help="file: NAME.safetensors, .pt2 (torch) or .onnx"
    )
    parser.add_argument(
        "--format",
        choices=("safetensors", "sparse", "csr", "torch", "onnx"),
        help="default: by the ending of PATH; sparse and csr are .safetensors of packed weights",
    )
    parser.add_argument(
        "--shrink", action="store_true", help="leave out dead and unread parts (.pt2 and .onnx)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
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
    _check_export(parser, given)
    return given


def _check_export(parser: Parser, given: argparse.Namespace) -> None:
    """Raise InputError for arguments of `dstrun export` that do not fit together."""
    if not (given.to or given.bench):
        parser.error("expected --to PATH or --bench")
    if not given.to and (given.format or given.shrink or given.force):
        parser.error("expected --to PATH with --format, --shrink and --force")
    if not given.tolerance >= 0:
        parser.error(f"argument --tolerance: got {given.tolerance}, expected a number ≥ 0")
    for word in given.changes:
        if not word.startswith(CHANGES_IN_EXPORT):
            raise InputError(
                f"{word}: export leaves a run as it was trained; "
                "only the place of its data can change: data.root=PATH"
            )


def _add_words(parser: Parser, changes: str) -> None:
    """Add a run and KEY=VALUE to a parser; `changes` describes the latter."""
    parser.add_argument("words", nargs="*", metavar="RUN [KEY=VALUE ...]", help=f"{RUN}; {changes}")


def _with_run(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Return the arguments, with `run` for the run among the words and `changes` for the others."""
    given = parser.parse_intermixed_args(list(words))
    paths = [word for word in given.words if "=" not in word or Path(word).exists()]
    if not paths:
        parser.error("expected the folder of a run")
    if len(paths) > 1:
        some = " ".join(paths[: NAMED + 1])
        parser.error(f"expected one run, and KEY=VALUE after it; got {some}")
    given.run = find_run(Path(paths[0]))
    given.changes = [word for word in given.words if word != paths[0]]
    return given
