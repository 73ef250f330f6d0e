"""Types of the fixtures `command` and `trained`."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """Return the output on standard error without notes."""
        return "".join(
            line
            for line in self.err.splitlines(keepends=True)
            if not line.startswith("dstrun: note: ")
        )


Command = Callable[..., Outcome]
Trained = Callable[..., None]
