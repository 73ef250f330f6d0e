"""MLflow: a run in the server of MLFLOW_TRACKING_URI, or in `mlflow.db` beside the groups."""

import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from dstrun.runs.trackers.tracker import TrackedRun

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run
from mlflow.exceptions import MlflowException

ID = "dstrun.id"
LONGEST = 6000  # characters of a parameter
MOST = 1000, 100  # metrics and parameters a call


class MlflowTracker:
    """Tracker that logs to MLflow, with the epoch as step."""

    def __init__(self, run: TrackedRun) -> None:
        # several runs of a sweep write one file: each waits for the others
        local = f"sqlite:///{run.outputs}/mlflow.db?timeout=60"
        server = os.environ.get("MLFLOW_TRACKING_URI")
        with nullcontext() if server else _alone(run.outputs):
            self._client = MlflowClient(server or local)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.project
            experiment = self._experiment(name)
        known = self._find(experiment, run) if run.resumes else None
        self._id = known.info.run_id if known else self._create(experiment, run)
        self.epoch = int(known.data.metrics.get("epoch", 0)) if known else 0
        self._client.update_run(self._id, status="RUNNING")

    def log(self, row: Mapping[str, float]) -> None:
        """Send a row."""
        now, step = int(time.time() * 1000), int(row["epoch"])
        metrics = [Metric(_name(key), float(value), now, step) for key, value in row.items()]
        for first in range(0, len(metrics), MOST[0]):
            self._client.log_batch(self._id, metrics=metrics[first : first + MOST[0]])

    def finish(self, exit_code: int) -> None:
        """Send how the run has ended."""
        self._client.set_terminated(self._id, "FAILED" if exit_code else "FINISHED")

    def _experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made if there is none."""
        found: Experiment | None = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:  # a run elsewhere has just made it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def _find(self, experiment: str, run: TrackedRun) -> Run | None:
        """Return the newest run in MLflow with this run's id."""
        found = self._client.search_runs([experiment], f"tags.`{ID}` = '{run.id}'", max_results=1)
        return found[0] if found else None

    def _create(self, experiment: str, run: TrackedRun) -> str:
        """Make a run with its tags and parameters; return its id."""
        tags = {ID: run.id, **run.about, **dict.fromkeys(run.tags, "")}
        if run.notes:
            tags["mlflow.note.content"] = run.notes
        made = self._client.create_run(experiment, tags=tags, run_name=run.name)
        params = [Param(key, str(value)[:LONGEST]) for key, value in run.config.items()]
        for first in range(0, len(params), MOST[1]):
            self._client.log_batch(made.info.run_id, params=params[first : first + MOST[1]])
        return made.info.run_id


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Wait for other processes in this context: MLflow makes its tables in many steps."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _name(key: str) -> str:
    """Return a key as MLflow takes it; a layer's name may have other characters."""
    return re.sub(r"[^\w\-. :/]", "_", key)
