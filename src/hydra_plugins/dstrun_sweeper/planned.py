"""Base class of dstrun's sweepers."""

from collections.abc import Sequence
from functools import partial

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dstrun.system.errors import print_notes
from hydra_plugins.dstrun_launcher.local import LocalLauncher


class PlannedSweeper(Sweeper):
    """Sweeper with a launcher and a planner.

    `_launch` takes a list of overrides per run and returns when the runs have ended; `_planner`
    makes jobs of overrides.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Make the launcher and a planner for the sweep's config; called by Hydra."""
        from dstrun.sweep.plan import Planner

        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._launch = partial(self._launcher.launch, initial_job_idx=0)
        self._planner = Planner(hydra_context.config_loader, config)

    def _print_notes(self, notes: Sequence[str], dry_run: bool) -> None:
        """Print notes on the sweep; dstrun's own launcher prints them after its check of the
        jobs.
        """
        if isinstance(self._launcher, LocalLauncher) and not dry_run:
            self._launcher.notes = notes
        else:
            print_notes(notes)
