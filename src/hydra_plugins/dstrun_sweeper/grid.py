"""Sweeper hydra/sweeper=grid: every combination of the axes (dstrun.sweep.plan)."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.dstrun_sweeper.planned import PlannedSweeper


@dataclass
class GridConf:
    """Options of the sweeper, hydra.sweeper."""

    _target_: str = "hydra_plugins.dstrun_sweeper.grid.GridSweeper"
    # Option: values. Every combination is a run.
    params: dict[str, Any] | None = field(default_factory=dict)
    # Several such grids, each combined with the params.
    grids: list[dict[str, Any]] | None = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridConf, provider="dstrun")


class GridSweeper(PlannedSweeper):
    """Sweeper that plans all jobs, then has the launcher run those that are not finished."""

    def __init__(self, params: dict[str, Any] | None, grids: list[dict[str, Any]] | None) -> None:
        self._params, self._grids = params or {}, grids or []

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep of a command line's overrides."""
        from dstrun.sweep.plan import combinations
        from dstrun.sweep.sweep import sweep
        from dstrun.training.config_notes import given_keys, sweep_notes

        planned = combinations(self._params, self._grids, arguments)
        jobs = self._planner.jobs(planned)
        configs, given = [job.config for job in jobs], given_keys(arguments)
        notes = sweep_notes(configs, given, len(planned), self._planner.repeated)
        self._print_notes(notes, jobs[0].config.dry_run)
        sweep(jobs, self._launch)
