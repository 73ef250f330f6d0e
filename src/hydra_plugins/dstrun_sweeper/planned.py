"""What dstrun's sweepers share: a launcher, and a planner of the runs it is to do."""

from collections.abc import Sequence
from functools import partial

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dstrun.system.errors import print_notes
from hydra_plugins.dstrun_launcher.local import LocalLauncher


class PlannedSweeper(Sweeper):
    """`_launch` takes lists of overrides and returns when their runs have ended; `_planner` says
    what they come to."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from dstrun.sweep.plan import Planner

        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._launch = partial(self._launcher.launch, initial_job_idx=0)
        self._planner = Planner(hydra_context.config_loader, config)

    def _say(self, notes: Sequence[str], dry_run: bool) -> None:
        """Print notes on the sweep; our own launcher does so once it has found every run
        possible."""
        if isinstance(self._launcher, LocalLauncher) and not dry_run:
            self._launcher.notes = notes
        else:
            print_notes(notes)
