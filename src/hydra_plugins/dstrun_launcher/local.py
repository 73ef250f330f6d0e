"""hydra/launcher=local: dstrun's own, jobs on this machine, some at a time. All of it is in
dstrun.sweep.pool."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalConf:
    _target_: str = "hydra_plugins.dstrun_launcher.local.LocalLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalConf, provider="dstrun"
)


class LocalLauncher(Launcher):
    """Plans the overrides it is given and has them run; what failed stands in the runs' folders."""

    notes: Sequence[str] = ()  # on the sweep, printed once every run has been found possible

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from dstrun.sweep.plan import Planner

        self._planner = Planner(hydra_context.config_loader, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from dstrun.sweep.pool import run_jobs

        run_jobs(self._planner.jobs(job_overrides), self._planner.default_group, self.notes)
        return [
            JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
            for overrides in job_overrides
        ]
