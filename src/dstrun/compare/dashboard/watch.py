"""Runs as the dashboard's callbacks share them, read again when files have changed."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from dstrun.compare.figures.view import Source
from dstrun.compare.labels import with_labels
from dstrun.compare.masks import ReadMasks
from dstrun.compare.run_tables import Store

T = TypeVar("T")
REFRESH_SECONDS = 1.0  # least time between two readings of the folders


class Watch:
    """The store and its labelled runs, refreshed by whoever asks, at most once a second.

    `version` grows with every change. Callbacks run in threads and take `lock` while they use the
    store. `read_masks` is that of `Source`.
    """

    def __init__(self, paths: Sequence[Path], read_masks: ReadMasks | None = None) -> None:
        self.store = Store(paths)
        self.source = Source(self.store, with_labels(self.store.runs), read_masks)
        self.lock = threading.RLock()
        self._begun = time.time_ns() // 10**6  # above the versions of an earlier server's pages
        self.version = self._begun
        self._changed: dict[str, int] = {}
        self._refreshed = time.monotonic()
        self._derived: dict[Callable, Any] = {}

    @property
    def runs(self) -> pd.DataFrame:
        """All labelled runs."""
        return self.source.runs

    def refresh(self) -> int:
        """Read what has changed, and return the version."""
        with self.lock:
            if time.monotonic() - self._refreshed > REFRESH_SECONDS:
                touched = self.store.refresh()
                self._refreshed = time.monotonic()
                if touched:
                    self.version += 1
                    self._changed |= dict.fromkeys(touched, self.version)
                    self._derived.clear()
                    self.source = self.source.of(with_labels(self.store.runs))
            return self.version

    def derived(self, function: Callable[[pd.DataFrame], T]) -> T:
        """Return what a function makes of all runs; it is called once for each version of them."""
        with self.lock:
            if function not in self._derived:
                self._derived[function] = function(self.runs)
            found: T = self._derived[function]
            return found

    def has_changed_since(self, names: Sequence[str], version: int) -> bool:
        """Return whether one of the named runs has changed after a version."""
        return any(self._changed.get(name, self._begun) > version for name in names)
