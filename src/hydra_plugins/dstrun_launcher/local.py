"""Launcher hydra/launcher=local: jobs on this machine, several at a time (dstrun.sweep.pool)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalConf:
    """Options of the launcher: none."""

    _target_: str = "hydra_plugins.dstrun_launcher.local.LocalLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalConf, provider="dstrun"
)


class LocalLauncher(Launcher):
    """Launcher that plans and runs the given overrides; errors are recorded in the run folders."""

    notes: Sequence[str] = ()  # on the sweep, printed once every run is known to be able to start

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make a planner for the sweep's config; called by Hydra."""
        from dstrun.sweep.plan import Planner

        self._planner = Planner(hydra_context.config_loader, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a job for each list of overrides, and return when all have ended."""
        from dstrun.sweep.pool import run_jobs

        run_jobs(self._planner.jobs(job_overrides), self._planner.default_group, self.notes)
        return [
            JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
            for overrides in job_overrides
        ]
