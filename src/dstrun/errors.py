"""The ways a command ends other than well, each with its exit code. Knows nothing."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, '' where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "")


def described(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")


def printable(words: object) -> str:
    """Words as a line that may be shown anywhere: nothing that steers a terminal, and not without end."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(words)[:1000])


class InputError(Exception):
    """What a user gave cannot be used. One line: the option, what came, what was expected."""

    exit_code = 2


class BusyError(InputError):
    """Another process is writing the run; the line says which."""


class RunFailedError(Exception):
    """A run that was under way has ended without its result; its folder says why, and the console has said so."""

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
