"""Everything that changes while a run trains: made from a config, saved, restored, and moved on.

model, method, optimiser, average, progress, generators   what a checkpoint holds
batches, splits, rate                                     what they are trained and evaluated on
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from dstrun.config.options import Config
from dstrun.data import AnyBatches
from dstrun.data.batches import mixed_seed
from dstrun.runs import checkpoint
from dstrun.runs.rounds import Rounds
from dstrun.system.errors import InputError, mismatch
from dstrun.training.average import Average
from dstrun.training.build import (
    make_batches,
    make_optimiser_for,
    make_rate_for,
    make_update,
    training_objects,
)
from dstrun.training.loop import Progress, Record, train
from dstrun.training.prepare import Prepared
from dstrun.training.ranks import ALONE, Ranks

BEFORE_TRAINING = -1  # epoch whose order of batches a method sees before the first step

Data = tuple[AnyBatches, dict[str, Callable]]


class Trainer:
    """A run's objects: at the start, or as `state`, the content of a checkpoint, has them.

    `data` of another trainer of the same run saves a second copy of it on the device. ranks: the
    processes that train together; weights and buffers are those of the first.
    """

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        state: dict[str, Any] | None = None,
        data: Data | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.prepared, self.ranks = config, prepared, ranks
        begins = config if state is None else replace(config, init=None)
        self.model, self.method = training_objects(begins, prepared)
        if config.schedule.sync_bn and ranks.size > 1:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        ranks.broadcast_([*self.model.parameters(), *self.model.buffers()])
        self.data = data or make_batches(config, prepared, ranks)
        self.batches, self._splits = self.data
        optimiser = make_optimiser_for(config, self.model, self.method)
        self.update = make_update(
            config, self.model, self.method, optimiser, self.prepared.device, ranks
        )
        epoch = len(self.batches)
        self.rounds = Rounds(config.schedule.epochs, self.method.rounds, self.method.rewind_epoch)
        self.method.begin(self.rounds.total * epoch, optimiser, epoch)
        self.progress = Progress()
        if state is None:
            images = self.batches.shuffled(BEFORE_TRAINING, whole=True)
            self.method.initialise(self.model, images)
            ranks.broadcast_([*self.model.parameters(), *self.model.buffers()])
            if not ranks.is_first:  # which goes on with the generator that drew the weights
                torch.manual_seed(mixed_seed(config.seed, ranks.rank))
        else:
            self._restore(state)
        self.average = Average(self.model, config.schedule.ema, state and state.get("average"))

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:  # an earlier version had masks in fewer types of layers
            raise InputError(
                f"the checkpoint has other masks or layers, perhaps of an earlier version "
                f"({mismatch(error)}): overwrite=true begins the run anew"
            ) from error
        self.update.optimiser.load_state_dict(state["optimiser"])
        self.method.load_state_dict(state["method"])
        self.progress = Progress(**state["progress"])
        states = [state["generators"], *state.get("generators_of_others", [])]
        if self.ranks.rank < len(states):
            checkpoint.set_generators(states[self.ranks.rank], self.prepared.device)
        else:  # of a run that goes on with more ranks
            torch.manual_seed(mixed_seed(self.config.seed, self.ranks.rank, self.progress.step))

    def state_dict(self) -> dict[str, Any]:
        """Return what training resumes from bit for bit; every rank must ask for it."""
        with self.average.in_model():  # whose masks tell of which gradients there are norms
            method = self.method.state_dict()
        first, *others = self.ranks.gather(checkpoint.generators(self.prepared.device))
        return {
            "model": self.model.state_dict(),
            "optimiser": self.update.optimiser.state_dict(),
            "method": method,
            "average": self.average.state_dict(),
            "progress": self.progress.state_dict(),
            "generators": first,
            "generators_of_others": others,
            "device": self.prepared.device.type,
        }

    def records(
        self, between_steps: Callable[[Progress], bool], evaluates: bool = True
    ) -> Iterator[Record]:
        """Yield the records of `train` from here to the last epoch.

        Without `evaluates` nothing is measured. Raises RanksDifferError, at the end of an epoch.
        """
        config, per_epoch = self.config, len(self.batches)
        for record in train(
            self.update,
            self.batches,
            self.rounds.of_steps(make_rate_for(config, per_epoch), per_epoch),
            self._splits if evaluates else {},
            rounds=self.rounds,
            progress=self.progress,
            average=self.average,
            task=self.prepared.task,
            log_steps=config.log.steps if evaluates else 0,
            between_steps=between_steps,
        ):
            if record.kind == "epoch":
                self.ranks.check_equal(self.model.state_dict())
            yield record
