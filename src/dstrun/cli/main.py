"""The command line: verbs, and the Hydra entry for everything else. No logic; heavy imports where
they are used."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from dstrun.system.errors import (
    BusyError,
    InputError,
    Interrupted,
    RunFailedError,
    StoppedByFile,
    printable,
)
from dstrun.system.streams import accept_all_text

UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def main() -> None:
    """`dstrun`: a first argument that is a verb is a verb; everything else goes to Hydra."""
    try:
        accept_all_text()
        _dispatch(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        _end(error)


def _dispatch(arguments: Sequence[str]) -> None:
    from dstrun.config.words import plain_dashes

    arguments = [plain_dashes(argument) for argument in arguments]
    first, *rest = arguments or [""]
    if first == "help" and rest and rest[0] in VERBS:
        VERBS[rest[0]](["--help"])
    elif first not in VERBS and (
        first in ("help", "-help", "?") or {"-h", "--help"} & set(arguments)
    ):
        from dstrun.cli.help import text

        print(text())
    elif first not in VERBS and (first in ("version", "-V", "-v") or "--version" in arguments):
        print(version("dstrun"))
    elif not _is_somewhere():
        raise InputError("the current folder has been removed; `cd` to one that is there")
    elif first in VERBS:
        VERBS[first](rest)
    else:
        _train(arguments)


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _train(arguments: Sequence[str]) -> None:
    from dstrun.config.words import normalize_words, refuse_strays

    words = (
        arguments if {"-sc", "--shell-completion"} & set(arguments) else normalize_words(arguments)
    )
    if words is not arguments:
        refuse_strays(words, tuple(VERBS))
    from dstrun.config.compose import compose_and_run

    compose_and_run(words, _task)


def _task(composed: object) -> None:
    """What Hydra calls: a single run, or a job of a sweep whose launcher is not dstrun's own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from dstrun.config.check import check

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        with suppress(OSError):
            os.chdir(hydra.runtime.cwd)  # a cluster's worker may have begun elsewhere
        accept_all_text()
        config = check(composed)  # type: ignore[arg-type]
        if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
            config.overwrite = False  # it has begun already
        from dstrun.config.sources import sweep_group
        from dstrun.training.run import run_as_job

        try:
            run_as_job(config, default_group=sweep_group(hydra.runtime.choices.get("sweep")))
        except BusyError as error:
            print(f"dstrun: skipped: {error}", file=sys.stderr)
        except StoppedByFile:
            pass
        return
    try:
        config = check(composed)  # type: ignore[arg-type]
        from dstrun.training.notes import given_keys, notes
        from dstrun.training.run import run

        run(
            config,
            default_group="single",
            notes=notes(
                config, given_keys(hydra.overrides.task), hydra.runtime.choices["hydra/launcher"]
            ),
        )
    except Exception as error:
        _end(error)


def _rerun(arguments: Sequence[str]) -> None:
    """dstrun rerun RUN [KEY=VALUE ...]: the same settings, or some of them changed."""
    from dstrun.cli.arguments import rerun as parsed

    given = parsed(arguments)
    from dstrun.config.check import check
    from dstrun.config.compose import saved
    from dstrun.config.words import normalize_words
    from dstrun.training.notes import given_keys, notes

    changes = normalize_words(given.changes)
    config = saved(given.run / "config.yaml", changes)
    changed = given_keys(changes)
    place = {key: value for key, value in _place(given.run).items() if key not in changed}
    checked = check(config | place)
    if changed and "group" in place:
        into = Path(checked.outputs, checked.group or "")
        print(
            f"{given.run}: again with {' '.join(changes)}, into {into} (group=NAME: into another)"
        )
    from dstrun.training.run import run

    run(checked, default_group="single", notes=notes(checked, changed))


def _evaluate(arguments: Sequence[str]) -> None:
    """dstrun eval RUN [KEY=VALUE ...]: test figures of a trained run."""
    from dstrun.cli.arguments import evaluate as parsed

    given = parsed(arguments)
    from dstrun.config.check import check
    from dstrun.config.compose import saved
    from dstrun.config.words import normalize_words

    checked = check(saved(given.run / "config.yaml", normalize_words(given.changes)))
    from dstrun.training.run import evaluate_run

    evaluate_run(given.run, checked)


def _report(arguments: Sequence[str]) -> None:
    """dstrun report PATH...: what runs came to, in a table or a page with figures."""
    from dstrun.cli.arguments import report as parsed

    given = parsed(arguments)
    from dstrun.compare.report.report import report

    report(given)


def _export(arguments: Sequence[str]) -> None:
    """dstrun export RUN --to PATH: the sparse network, out of the training code."""
    from dstrun.cli.arguments import export as parsed

    given = parsed(arguments)
    from dstrun.export.export import export

    export(given)


def _dashboard(arguments: Sequence[str]) -> None:
    """dstrun dashboard PATH: a local page over runs, live while they train."""
    from dstrun.cli.arguments import dashboard as parsed

    given = parsed(arguments)
    from dstrun.compare.dashboard.server import dashboard

    dashboard(given)


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "rerun": _rerun,
    "eval": _evaluate,
    "report": _report,
    "dashboard": _dashboard,
    "export": _export,
}


def _place(run: Path) -> dict[str, str | bool]:
    """Where a run lies now, which may be elsewhere than where it was made; and no leftovers of how
    it was started."""
    there, outputs = run.resolve(), Path(os.path.normpath(run / ".." / ".."))
    if (outputs / there.parent.name).resolve() != there.parent:  # a link on the way
        outputs = there.parent.parent
    return {
        "outputs": str(outputs),
        "group": there.parent.name,
        "overwrite": False,
        "dry_run": False,
    }


def _end(error: BaseException) -> NoReturn:
    """Exits: one line for input that cannot be used, none for what has been said already; else the
    traceback."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # what is left to be printed has no place to go
        if isinstance(error, BrokenPipeError):  # `dstrun … | head`
            sys.exit(128 + signal.SIGPIPE)
        print(f"dstrun: what it prints cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    if TRACEBACK and isinstance(error, Exception):
        traceback.print_exception(error)
        sys.exit(getattr(error, "exit_code", 1))
    if isinstance(error, InputError):
        print(f"dstrun: {printable(error)}", file=sys.stderr)
    elif isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):
        print("dstrun: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    elif not isinstance(error, RunFailedError | Interrupted):
        raise error
    sys.exit(error.exit_code)
