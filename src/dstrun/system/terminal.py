"""A terminal that may go away, tables wider than it, and seconds in words."""

import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table


class LastingConsole(Console):
    """A console that never ends a run: its reader may go, as `head` does, or the disk behind `>` be
    full."""

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def print_whole(console: Console, table: Table) -> None:
    """However wide it is: a terminal that is narrower breaks lines."""
    console.width = max(console.width, Console(width=10_000).measure(table).maximum)
    console.print(table)


def duration(seconds: float) -> str:
    """Seconds as people say them: 4 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < {"s": 100, "min": 6000, "h": 48 * 3600}[unit]:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"
