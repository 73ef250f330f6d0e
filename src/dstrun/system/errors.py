"""Exceptions, their exit codes, and errors as one line of text."""

import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

OURS = Path(__file__).parents[1]
LIBRARY = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
PACKAGES = ("site-packages", "dist-packages")
# they raise errors for mistakes in a user's code
FRAMEWORKS = ("torch", "torchvision", "numpy", "PIL", "importlib_metadata")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or '' for an error without one."""
    return next(iter(str(error).strip().splitlines()), "")


def error_line(error: BaseException) -> str:
    """Return an error in one line: its type, and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")


def mismatch(error: BaseException) -> str:
    """Return the key or shape in an error of torch's `load_state_dict`, in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else error_line(error)


def printable(words: object) -> str:
    """Return words as one line for a terminal: no control characters, at most 1000 characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(words)[:1000])


def user_code_error(error: BaseException) -> str:
    """Return an error in a user's own code as one line, with its place in that code.

    An example is 'ZeroDivisionError in stripes.py:12 (division by zero)'. The place is the last
    line that was running outside of dstrun, the standard library and torch. It is missing if there
    is none, as for an entry point to a module that does not exist.
    """
    place = _place_in_user_code(error)
    message = printable(first_line(error))
    if isinstance(error, SyntaxError) and error.filename:
        place, message = (Path(error.filename), error.lineno or 1), printable(error.msg)
    where = f" in {_short(place[0])}:{place[1]}" if place else ""
    reason = f" ({message})" if message else ""
    return f"{type(error).__name__}{where}{reason}"


def _place_in_user_code(error: BaseException) -> tuple[Path, int] | None:
    """Return file and line of the last frame of the user's code in an error's traceback."""
    package, place = None, None
    for frame, line in _foreign_frames(error):
        if package is None:
            package = _package(frame)  # the first one called is the user's
        if _package(frame) == package or not _is_installed(frame):
            place = Path(frame.f_code.co_filename), line
    return place


def _foreign_frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield (frame, line) of code that is not in dstrun, Python's library or a framework."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file.startswith("<") or OURS in Path(file).parents:
            continue
        is_library = file.startswith(LIBRARY) and not _is_installed(frame)
        if not is_library and _package(frame) not in FRAMEWORKS:
            yield frame, line


def _package(frame: FrameType) -> str:
    """Return the top-level package of a frame's code."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_installed(frame: FrameType) -> bool:
    """Return whether a frame's code is in a folder of installed packages."""
    return any(part in PACKAGES for part in Path(frame.f_code.co_filename).parts)


def _short(file: Path) -> str:
    """Return a file's name, with its folder for an __init__.py."""
    return f"{file.parent.name}/{file.name}" if file.name == "__init__.py" else file.name


def print_notes(lines: Iterable[str]) -> None:
    """Print notes on standard error, one line each."""
    for line in lines:
        print_note(line)


def print_note(line: str) -> None:
    """Print a note on standard error."""
    print(f"dstrun: note: {printable(line)}", file=sys.stderr)


class InputError(Exception):
    """Input that cannot be used. The message is one line: option, value, and what is expected."""

    exit_code = 2


class DataError(ValueError):
    """A data set that is missing, damaged or of another kind. The message is one line."""


class BusyError(InputError):
    """A run that another process is writing. The message names the process."""


class RunFailedError(Exception):
    """A run that ended without its result, as its folder and the console have reported."""

    exit_code = 1


class DivergedError(Exception):
    """A run with a figure that is no longer finite. The message names figure and step."""


class Interrupted(KeyboardInterrupt):
    """A run that a signal stopped. Its checkpoint is saved and the stop is reported."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.exit_code = 128 + signal


class StoppedByFile(Interrupted):
    """A run that the file `stop` in its folder stopped; other runs of a sweep continue."""
