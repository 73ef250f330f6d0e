"""Processes of dstrun, forked so that they start at once."""

import os
import sys
from collections.abc import Callable, Sequence

from dstrun.cli import main


def forked(words: Sequence[str], before: Callable[[], None]) -> int:
    """Return the process of `dstrun WORDS`, which calls `before()` first.

    Its exit code is 99 for an error that dstrun does not handle.
    """
    process = os.fork()
    if process:
        return process
    try:
        before()
        sys.argv = ["dstrun", *words]
        main.main()
    except SystemExit as stop:
        os._exit(int(stop.code or 0))
    except BaseException:
        os._exit(99)
    os._exit(0)


def ended(process: int) -> int:
    """Return the exit code of a process, −n for signal n."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
