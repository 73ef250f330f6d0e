"""Exceptions, their exit codes, and errors as one line of text. Knows nothing."""

import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

OURS = Path(__file__).parents[1]
LIBRARY = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
PACKAGES = ("site-packages", "dist-packages")
FRAMEWORKS = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "importlib_metadata",
)  # which raise for a user's mistakes


def first_line(error: BaseException) -> str:
    """The first line of what an error says, '' where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "")


def described(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")


def mismatch(error: BaseException) -> str:
    """Return which key or shape it was that torch would not load."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else described(error)


def printable(words: object) -> str:
    """Words as a line that may be shown anywhere: nothing that steers a terminal, and not without
    end."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(words)[:1000])


def user_code_error(error: BaseException) -> str:
    """Return an error of a user's own code as one line: 'ZeroDivisionError in stripes.py:12
    (division by zero)'.

    The place is the last line of the user's that was running: not of dstrun, the standard library
    or torch. It is left out where there is none, as for an entry point to a module that does not
    exist."""
    place = _place_in_user_code(error)
    said = printable(first_line(error))
    if isinstance(error, SyntaxError) and error.filename:
        place, said = (Path(error.filename), error.lineno or 1), printable(error.msg)
    where = f" in {_short(place[0])}:{place[1]}" if place else ""
    return f"{type(error).__name__}{where}" + (f" ({said})" if said else "")


def _place_in_user_code(error: BaseException) -> tuple[Path, int] | None:
    """Return file and line of the last frame of the user's code in an error's traceback."""
    frames = list(_foreign_frames(error))
    if not frames:
        return None
    package = _package(frames[0][0])
    own = [
        frame for frame in frames if _package(frame[0]) == package or not _is_installed(frame[0])
    ]
    frame, line = own[-1]
    return Path(frame.f_code.co_filename), line


def _foreign_frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames, and their lines, of what is neither dstrun's nor Python's nor a
    framework's."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        library = file.startswith(LIBRARY) and not _is_installed(frame)
        if not (
            file.startswith("<")
            or library
            or OURS in Path(file).parents
            or _package(frame) in FRAMEWORKS
        ):
            yield frame, line


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_installed(frame: FrameType) -> bool:
    return any(part in PACKAGES for part in Path(frame.f_code.co_filename).parts)


def _short(file: Path) -> str:
    return f"{file.parent.name}/{file.name}" if file.name == "__init__.py" else file.name


def print_notes(lines: Iterable[str]) -> None:
    """Print notes on standard error, a line each."""
    for line in lines:
        print(f"dstrun: note: {printable(line)}", file=sys.stderr)


class InputError(Exception):
    """What a user gave cannot be used. One line: the option, what came, what was expected."""

    exit_code = 2


class DataError(ValueError):
    """A data set that is missing, damaged or not what it says; the message is one line for the
    user."""


class BusyError(InputError):
    """Another process is writing the run; the line says which."""


class RunFailedError(Exception):
    """A run that was under way has ended without its result; its folder says why, and the console
    has said so."""

    exit_code = 1


class DivergedError(Exception):
    """A figure of a run is no longer finite; the line says which, and when."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop by a signal, has saved where it was, and has said so."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.exit_code = 128 + signal


class StoppedByFile(Interrupted):
    """A run was asked to stop by the file `stop` in its folder: that run alone."""
