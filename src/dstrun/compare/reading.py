"""Runs that a command is about: read, labelled and filtered; notes on what could not be read."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dstrun.compare import filters
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import HOW_TO_GET_SOME, Store
from dstrun.runs.labels import quantity
from dstrun.system.errors import InputError, printable

NOTES = 5  # notes on unreadable files that are printed


def read_runs(paths: Sequence[Path], conditions: str) -> tuple[Store, pd.DataFrame]:
    """Return the store of the runs below paths, and its runs that meet the conditions, with labels.

    Raise InputError if there are none.
    """
    store = Store(paths)
    if store.runs.empty:
        raise InputError(f"{' '.join(map(str, paths))}: no runs there; {HOW_TO_GET_SOME}")
    runs = filters.where(with_labels(store.runs), conditions)
    if runs.empty:
        count = quantity(len(store.runs), "run")
        raise InputError(f"filter: none of {count} meets {conditions!r}")
    return store, runs


def print_notes(notes: Mapping[str, Sequence[str]]) -> None:
    """Print what could not be read of the runs, the first few notes in full."""
    lines: list[str] = []
    for run, some in notes.items():
        lines += [f"{run}: {note}" for note in some]
    for line in lines[:NOTES]:
        print(f"dstrun: {printable(line)}", file=sys.stderr)
    if len(lines) > NOTES:
        print(f"dstrun: and {len(lines) - NOTES} more of that kind", file=sys.stderr)
