"""Output on a terminal: a console that survives a closed pipe, wide tables, durations."""

import os
import sys
from typing import Any

from rich.console import Console
from rich.table import Table


class LastingConsole(Console):
    """A console that survives output errors: a reader that exits, a full disk."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; stop all output if it cannot be written."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Send all further output to /dev/null."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def print_whole(console: Console, table: Table) -> None:
    """Print a table in its full width; a narrower terminal breaks its lines."""
    console.width = max(console.width, Console(width=10_000).measure(table).maximum)
    console.print(table)


def duration(seconds: float) -> str:
    """Return seconds in a suitable unit: 4 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
