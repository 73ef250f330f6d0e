"""Sweeper hydra/sweeper=pareto: a search for accurate, sparse runs with Optuna
(dstrun.sweep.search).
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.dstrun_sweeper.planned import PlannedSweeper


@dataclass
class ParetoConf:
    """Options of the sweeper, hydra.sweeper."""

    _target_: str = "hydra_plugins.dstrun_sweeper.pareto.ParetoSweeper"
    trials: int = 24  # in all, those of earlier commands included
    sampler: str = "tpe"  # tpe or nsga2
    batch: int = 0  # trials at a time (0: n_jobs, else one per core, at most 4)
    prune: bool = True  # stop a run that is behind half of the earlier runs in both
    seed: int = 0  # of the sampler
    params: dict[str, Any] | None = field(default_factory=dict)  # option: value, values or interval


ConfigStore.instance().store(
    group="hydra/sweeper", name="pareto", node=ParetoConf, provider="dstrun"
)


class ParetoSweeper(PlannedSweeper):
    """Sweeper that gives the launcher a batch of trials at a time."""

    def __init__(self, params: dict[str, Any] | None, **options: Any) -> None:
        self._params, self._options = params or {}, options

    def sweep(self, arguments: list[str]) -> None:
        """Run the search of a command line's overrides."""
        from dstrun.sweep.search import search

        search(self._planner, self._launch, self._params, arguments, **self._options)
