"""What the fixtures `command` and `trained` hand out."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """What was said on standard error, notes apart."""
        return "".join(
            line
            for line in self.err.splitlines(keepends=True)
            if not line.startswith("dstrun: note: ")
        )


Command = Callable[..., Outcome]
Trained = Callable[..., None]
