"""Everything that changes while a run trains: made from a config, saved, restored, and moved on.

model, method, optimiser, progress, generators   what a checkpoint holds
batches, splits, rate                            what they are trained and evaluated on
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from dstrun.config.options import Config
from dstrun.data import Batches
from dstrun.runs import checkpoint
from dstrun.runs.rounds import Rounds
from dstrun.training.build import (
    make_batches,
    make_optimiser_for,
    make_rate_for,
    make_update,
    training_objects,
)
from dstrun.training.loop import Progress, Record, train
from dstrun.training.prepare import Prepared

BEFORE_TRAINING = -1  # epoch whose order of batches a method sees before the first step

Data = tuple[Batches, dict[str, Callable]]


class Trainer:
    """A run's objects: at the start, or as `state`, the content of a checkpoint, has them.

    `data` of another trainer of the same run saves a second copy of it on the device.
    """

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        state: dict[str, Any] | None = None,
        data: Data | None = None,
    ) -> None:
        self._config, self._device = config, prepared.device
        begins = config if state is None else replace(config, init=None)
        self.model, self.method = training_objects(begins, prepared)
        self.data = data or make_batches(config, prepared)
        self.batches, self._splits = self.data
        optimiser = make_optimiser_for(config, self.model, self.method)
        self.update = make_update(config, self.model, self.method, optimiser, self._device)
        epoch = len(self.batches)
        self.rounds = Rounds(config.schedule.epochs, self.method.rounds, self.method.rewind_epoch)
        self.method.begin(self.rounds.total * epoch, optimiser, epoch)
        self.progress = Progress()
        if state is None:
            self.method.initialise(self.model, self.batches.shuffled(BEFORE_TRAINING))
        else:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.update.optimiser.load_state_dict(state["optimiser"])
        self.method.load_state_dict(state["method"])
        self.progress = Progress(**state["progress"])
        checkpoint.set_generators(state["generators"], self._device)

    def state_dict(self) -> dict[str, Any]:
        """Return what training resumes from bit for bit."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.update.optimiser.state_dict(),
            "method": self.method.state_dict(),
            "progress": self.progress.state_dict(),
            "generators": checkpoint.generators(self._device),
            "device": self._device.type,
        }

    def records(
        self, between_steps: Callable[[Progress], bool], evaluates: bool = True
    ) -> Iterator[Record]:
        """Return `train` from here to the last epoch; without `evaluates` nothing is measured."""
        config, per_epoch = self._config, len(self.batches)
        return train(
            self.update,
            self.batches,
            self.rounds.of_steps(make_rate_for(config, per_epoch), per_epoch),
            self._splits if evaluates else {},
            rounds=self.rounds,
            progress=self.progress,
            log_steps=config.log.steps if evaluates else 0,
            between_steps=between_steps,
        )
