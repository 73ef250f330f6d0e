"""train.log: one timed line for everything the console of a run shows."""

import logging
import sys
from contextlib import suppress
from pathlib import Path

from dstrun.system.run_files import LOG_FILE


class _LogFile(logging.FileHandler):
    """Log file on which a full disk leaves a gap, and no traceback on the screen."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def open_log(folder: Path) -> logging.Logger:
    """Return a logger that appends lines with their time to train.log, and nowhere else."""
    log = logging.Logger("dstrun.run")
    # names of files may hold bytes that are no text
    handler = _LogFile(folder / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    return log


def close_log(log: logging.Logger) -> None:
    """Close the file of a logger."""
    for handler in log.handlers:
        handler.close()
