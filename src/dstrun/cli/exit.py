"""Exit of a command after an error: what is printed, and the exit code."""

import errno
import os
import signal
import sys
import time
import traceback
from typing import NoReturn

from dstrun.system.errors import InputError, Interrupted, RunFailedError, printable

UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
SECONDS_TO_WAIT = 20.0  # for the first rank
TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


def exit_with(error: BaseException) -> NoReturn:
    """Exit with the code of an error, after one line for input that cannot be used.

    Nothing is printed for an error that was reported already; any other shows its traceback.
    """
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
        _exit_without_output(error)
    if TRACEBACK and isinstance(error, Exception):
        traceback.print_exception(error)
        sys.exit(getattr(error, "exit_code", 1))
    if os.environ.get("LOCAL_RANK", "0") != "0" and isinstance(error, InputError):
        _exit_after_first_rank(error.exit_code)
    if isinstance(error, InputError):
        print(f"dstrun: {printable(error)}", file=sys.stderr)
    elif isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):
        print("dstrun: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    elif not isinstance(error, RunFailedError | Interrupted):
        raise error
    sys.exit(error.exit_code)


def _exit_after_first_rank(code: int) -> NoReturn:
    """Exit without a word once this machine's first rank, to which the same happens, has said it.

    Its launcher then ends the others, which would otherwise end the first one too soon.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))
    time.sleep(SECONDS_TO_WAIT)
    sys.exit(code)


def _exit_without_output(error: OSError) -> NoReturn:
    """Exit because standard output cannot be written, and discard what is left to print."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # `dstrun … | head`
        sys.exit(128 + signal.SIGPIPE)
    print(f"dstrun: the output cannot be written: {error.strerror}", file=sys.stderr)
    sys.exit(1)
