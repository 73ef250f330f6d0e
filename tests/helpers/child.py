"""dstrun in a process of its own, forked off, so that it begins at once."""

import os
import sys
from collections.abc import Callable, Sequence

from dstrun.cli import main


def forked(words: Sequence[str], before: Callable[[], None]) -> int:
    """The process of `dstrun WORDS`, which calls `before()` first. Exit code 99: an error of
    another kind."""
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
    """Its exit code, −n for signal n."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
