"""trackio: a run in the folder TRACKIO_DIR, or in `trackio/` beside the groups."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dstrun.runs.trackers.tracker import TrackedRun

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioTracker:
    """Tracker that logs to trackio, with the epoch as step."""

    def __init__(self, run: TrackedRun) -> None:
        # read at import
        os.environ.setdefault("TRACKIO_DIR", str(Path(run.outputs, "trackio")))
        if not any(map(os.environ.get, REMOTE)):
            os.environ["HF_HUB_OFFLINE"] = "1"  # else it asks Hugging Face for the user's name
        import trackio

        self._warnings: list[str] = []
        warnings.showwarning = self._note  # type: ignore[assignment]
        self._folder, self._level = run.folder, trackio.AlertLevel.ERROR
        self._run = trackio.init(
            run.project,
            f"{run.group}/{run.name}",  # a run of trackio has no id but its name
            group=run.group,
            config=run.config | run.about | {"tags": run.tags, "notes": run.notes},
            resume="allow" if run.resumes else "never",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self.epoch = self._run._next_step - 1  # also of a server

    def log(self, row: Mapping[str, float]) -> None:
        """Queue a row, which trackio's thread sends."""
        figures = {key: value for key, value in row.items() if key != "epoch"}
        self._run.log(figures, step=int(row["epoch"]))
        self._raise_warning()

    def finish(self, exit_code: int) -> None:
        """Send what is queued; trackio has no end state, so a failure is an alert."""
        if exit_code:
            self._run.alert("run not finished", f"see train.log in {self._folder}", self._level)
        self._run.finish()
        self._raise_warning()

    def _note(self, message: Warning | str, *_: Any) -> None:
        self._warnings.append(str(message))

    def _raise_warning(self) -> None:
        """Raise what trackio has warned of: it raises no errors itself."""
        if self._warnings:
            raise RuntimeError(self._warnings.pop(0))
