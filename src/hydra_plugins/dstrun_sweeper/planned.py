"""Base class of dstrun's sweepers."""

import os
from collections.abc import Sequence
from functools import partial

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from dstrun.system.errors import InputError, print_notes
from hydra_plugins.dstrun_launcher.local import LocalLauncher


def per_node(number: int, *, _root_: DictConfig) -> int:
    """Return what a node needs for its ranks of a run, at `number` for each."""
    return number * _root_.devices // _root_.hydra.launcher.nodes


OmegaConf.register_new_resolver("per_node", per_node, replace=True)


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

        if (started := os.environ.get("WORLD_SIZE", "1")) != "1":
            raise InputError(
                f"devices: {started} ranks have been started, but a sweep starts those of its runs "
                "itself; give devices=N without torchrun"
            )
        nodes = config.hydra.launcher.get("nodes") or 1
        if config.devices % nodes:
            raise InputError(
                f"devices: got {config.devices}, expected a multiple of "
                f"hydra.launcher.nodes={nodes}"
            )
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
