"""Command line: verbs, and Hydra for everything else. Heavy modules are imported on use."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dstrun.cli.exit import exit_with
from dstrun.cli.rerun import rerun
from dstrun.cli.views import dashboard, figure, report
from dstrun.system.errors import BusyError, InputError, StoppedByFile
from dstrun.system.streams import accept_all_text

if TYPE_CHECKING:
    from dstrun.config.options import Config

HELP_WORDS = ("help", "-help", "?")
VERSION_WORDS = ("version", "-V", "-v")


def main() -> None:
    """Run `dstrun`: a first argument that is a verb is called; everything else goes to Hydra."""
    try:
        accept_all_text()
        call, words = _choose(sys.argv[1:])
        call(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        exit_with(error)


def _choose(arguments: Sequence[str]) -> tuple[Callable[[Sequence[str]], None], Sequence[str]]:
    """Return what the arguments ask for: a verb, help, the version or training; and its words."""
    from dstrun.config.command_line import plain_dashes

    arguments = [plain_dashes(argument) for argument in arguments]
    first, *rest = arguments or [""]
    if first in VERBS:
        _require_folder()
        return VERBS[first], rest
    if first in HELP_WORDS or {"-h", "--help"} & set(arguments):
        return _help, [word for word in arguments if word not in ("-h", "--help", *HELP_WORDS)]
    if first in VERSION_WORDS or "--version" in arguments:
        return _print_version, []
    _require_folder()
    return _train, arguments


def _print_version(_: Sequence[str]) -> None:
    """Print the version of the package."""
    print(version("dstrun"))


def _help(words: Sequence[str]) -> None:
    """Print the help of a verb, if the words begin with one, of a method, or of the program."""
    if words and words[0] in VERBS:
        VERBS[words[0]](["--help"])
        return
    from dstrun.cli.help import text, text_of_method

    methods = [word.partition("=")[2] for word in words if re.match(r"reg(\.method)?=.", word)]
    print(text_of_method(methods[-1]) if methods else text())


def _require_folder() -> None:
    """Raise InputError if the current folder has been removed."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "the current folder has been removed; `cd` to one that is there"
        ) from error


def _train(arguments: Sequence[str]) -> None:
    """Train what the overrides say, through Hydra: a run or a sweep."""
    from dstrun.config.command_line import normalize_words

    if {"-sc", "--shell-completion"} & set(arguments):
        words = list(arguments)
    else:
        from dstrun.config.stray_arguments import refuse_strays

        words = normalize_words(arguments)
        refuse_strays(words, tuple(VERBS))
    from dstrun.config.compose import call_by_hydra, compose_single

    composed = compose_single(words)
    if composed is None:
        call_by_hydra(words, _task)
        return
    config, notes = _single_run(composed)
    from dstrun.training.run import run

    run(config, default_group="single", notes=notes)


def _task(composed: object) -> None:
    """Train one config that Hydra composed: a single run, or a job of another launcher."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        _train_job(composed, hydra)
        return
    try:
        config, notes = _single_run(composed)
        from dstrun.training.run import run

        run(config, default_group="single", notes=notes)
    except Exception as error:
        exit_with(error)


def _train_job(composed: Any, hydra: Any) -> None:
    """Train a job of a sweep in a process that a launcher, such as SLURM's, has started."""
    with suppress(OSError):
        os.chdir(hydra.runtime.cwd)  # a cluster's worker may have started elsewhere
    accept_all_text()
    from dstrun.config.check import check
    from dstrun.config.groups import sweep_group

    config = check(composed)
    if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        config.overwrite = False  # the job resumes after a restart
    from dstrun.training.launch import use_tasks
    from dstrun.training.run import run_as_job

    use_tasks()
    try:
        run_as_job(config, default_group=sweep_group(hydra.runtime.choices.get("sweep")))
    except BusyError as error:
        print(f"dstrun: skipped: {error}", file=sys.stderr)
    except StoppedByFile:
        pass


def _single_run(composed: Any) -> "tuple[Config, list[str]]":
    """Return the checked config of a single run, and notes on it."""
    from hydra.core.hydra_config import HydraConfig

    from dstrun.config.check import check
    from dstrun.training.config_notes import given_keys, notes

    config, hydra = check(composed), HydraConfig.get()
    given, launcher = given_keys(hydra.overrides.task), hydra.runtime.choices["hydra/launcher"]
    return config, notes(config, given, launcher)


def _evaluate(arguments: Sequence[str]) -> None:
    """Run `dstrun eval RUN [KEY=VALUE ...]`: test a trained run."""
    from dstrun.cli.arguments import parse_eval

    given = parse_eval(arguments)
    from dstrun.config.command_line import normalize_words
    from dstrun.runs.folder import load_config

    config = load_config(given.run, normalize_words(given.changes))
    from dstrun.training.run import evaluate_run

    evaluate_run(given.run, config)


def _export(arguments: Sequence[str]) -> None:
    """Run `dstrun export RUN --to PATH`: write the sparse network."""
    from dstrun.cli.arguments import parse_export

    given = parse_export(arguments)
    from dstrun.export.export import export

    export(
        given.run,
        given.changes,
        to=given.to,
        format=given.format,
        shrink=given.shrink,
        force=given.force,
        tolerance=given.tolerance,
        bench=given.bench,
    )


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "rerun": rerun,
    "eval": _evaluate,
    "report": report,
    "figure": figure,
    "dashboard": dashboard,
    "export": _export,
}
