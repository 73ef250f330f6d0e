"""The command line: verbs, and the Hydra entry for everything else. No logic; heavy imports where they are used."""

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches

USAGE = 2
INTERRUPTED = 130
TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def main() -> None:
    """`dstrun`: a first argument that is a verb is a verb; everything else goes to Hydra."""
    arguments = sys.argv[1:]
    try:
        if arguments and arguments[0] in ("-h", "--help", "help"):
            from dstrun.help import text

            print(text())
        elif arguments and arguments[0] in VERBS:
            VERBS[arguments[0]](arguments[1:])
        elif arguments and _is_stray(arguments[0]):
            near = get_close_matches(arguments[0], VERBS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            _stop(f"{arguments[0]}: neither a verb ({', '.join(VERBS)}) nor KEY=VALUE{hint}", USAGE)
        else:
            _train(arguments)
    except KeyboardInterrupt as error:
        if type(error).__name__ == "Interrupted":  # said when it happened
            sys.exit(128 + error.args[0])
        _stop("interrupted", INTERRUPTED)
    except Exception as error:
        _report(error)


def _is_stray(word: str) -> bool:
    return not word.startswith(("-", "~")) and "=" not in word


def _train(arguments: Sequence[str]) -> None:
    from dstrun.composition import compose_and_run

    compose_and_run(arguments, _task)


def _task(composed: object) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from dstrun.config import check

    grid = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        config = check(composed)  # type: ignore[arg-type]
        from dstrun.run import run

        run(config, default_group="grid" if grid else "single")
    except Exception as error:
        if grid and type(error).__name__ == "RunFailedError":
            raise  # costs itself only: Hydra goes on with the next job
        _report(error)


def _rerun(arguments: Sequence[str]) -> None:
    """dstrun rerun RUN [key=value ...]: the same settings, or some of them changed."""
    folder, words = _run_and_overrides(_rerun, arguments)
    from dstrun.composition import saved
    from dstrun.config import check

    config = saved(folder / "config.yaml", words)
    given = {word.split("=")[0] for word in words}
    config |= {key: value for key, value in _place(folder).items() if key not in given}
    checked = check(config)
    from dstrun.run import run

    run(checked, default_group="single")


def _evaluate(arguments: Sequence[str]) -> None:
    """dstrun eval RUN [key=value ...]: test figures of a trained run."""
    folder, words = _run_and_overrides(_evaluate, arguments)
    from dstrun.composition import saved
    from dstrun.config import check

    checked = check(saved(folder / "config.yaml", words))
    from dstrun.run import evaluate_run

    evaluate_run(folder, checked)


VERBS: dict[str, Callable[[Sequence[str]], None]] = {"rerun": _rerun, "eval": _evaluate}


def _place(folder: "os.PathLike[str]") -> dict[str, str | bool]:
    """Where a run lies now, which may be elsewhere than where it was made; and no leftovers of how it was started."""
    from pathlib import Path

    path = Path(folder).resolve()
    return {"outputs": str(path.parent.parent), "group": path.parent.name, "overwrite": False, "dry_run": False}


def _run_and_overrides(verb: Callable, arguments: Sequence[str]):  # type: ignore[no-untyped-def]
    """The run's folder and the overrides from a verb's arguments; exits for help and for a folder that is no run."""
    from pathlib import Path

    if not arguments or arguments[0] in ("-h", "--help"):
        print(verb.__doc__)
        sys.exit(0 if arguments else USAGE)
    folder = Path(arguments[0])
    if not (folder / "config.yaml").is_file():
        _stop(f"{folder}: expected the folder of a run, with a config.yaml in it", USAGE)
    return folder, arguments[1:]


def _report(error: Exception) -> None:
    """One line and the exit code: 2 for input that cannot be used, 1 for a run that failed; else the traceback."""
    if TRACEBACK:
        raise error
    kind = type(error).__name__
    if kind == "InputError":
        _stop(str(error), USAGE)
    if kind == "RunFailedError":  # said when it happened
        sys.exit(1)
    raise error


def _stop(line: str, code: int) -> None:
    print(f"dstrun: {line}", file=sys.stderr)
    sys.exit(code)
