"""What dstrun's sweepers share: a launcher, and a planner of the runs it is to do."""

from functools import partial

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PlannedSweeper(Sweeper):
    """`_launch` takes lists of overrides and returns when their runs have ended; `_planner` says what they come to."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from dstrun.plan import Planner

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._launch = partial(launcher.launch, initial_job_idx=0)
        self._planner = Planner(hydra_context.config_loader, config)
