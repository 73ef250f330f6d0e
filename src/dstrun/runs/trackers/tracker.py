"""Interface of trackers, and what a tracker knows of its run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Tracker(Protocol):
    """Receiver of a run's figures while it trains."""

    def log(self, row: Mapping[str, float]) -> None:
        """Send the figures of an epoch, by name."""

    def finish(self, exit_code: int) -> None:
        """Report that the run has ended; 0 if it is finished."""


class NoTracker:
    """Tracker of a run that has none: it does nothing."""

    def log(self, row: Mapping[str, float]) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        pass


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, row: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(row)

    def finish(self, exit_code: int) -> None:
        for tracker in self._trackers:
            tracker.finish(exit_code)


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker knows of its run.

    id: the same when the run resumes, another one when it starts over. folder, outputs: absolute
    paths. config: {dotted key: value} of all options. resumes: whether the run was begun before,
    and `epoch` epochs of it are kept.
    """

    id: str
    name: str
    group: str
    project: str
    method: str
    tags: list[str]
    notes: str | None
    folder: str
    outputs: str
    config: dict[str, Any]
    resumes: bool
    epoch: int

    @property
    def about(self) -> dict[str, str]:
        """What leads from a tracker's page of the run to its folder."""
        return {"folder": self.folder, "group": self.group, "method": self.method}
