"""All that changes while a run trains, as one thing: made from a config, saved, put back, and moved
on.

    model, method, optimiser, progress, generators   what a checkpoint holds
    batches, splits, rate                            what they are trained and tested on

And the search for where it stopped being finite, which trains again from the last good state. Knows
config, what `build` makes of it, the loop and checkpoints; it writes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from dstrun.config.options import Config
from dstrun.runs import checkpoint
from dstrun.training.build import (
    Prepared,
    make_batches,
    make_optimiser_for,
    make_rate_for,
    make_update,
    training_objects,
)
from dstrun.training.evaluate import not_finite
from dstrun.training.loop import Progress, Record, train


class Training:
    """A run's objects, at its beginning or where `state`, a checkpoint's content, says that it
    stands."""

    def __init__(
        self, config: Config, prepared: Prepared, state: dict[str, Any] | None = None
    ) -> None:
        self._config, self._device = config, prepared.device
        begins = config if state is None else replace(config, init=None)
        self.model, self.method = training_objects(begins, prepared)
        self.batches, self._splits = make_batches(config, prepared)
        self._optimiser = make_optimiser_for(config, self.model, self.method)
        self.method.begin(config.schedule.epochs * len(self.batches))
        self.progress = Progress()
        if state is not None:
            self._put_back(state)

    def _put_back(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.method.load_state_dict(state["method"])
        self.progress = Progress(**state["progress"])
        checkpoint.set_generators(state["generators"], self._device)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "method": self.method.state_dict(),
            "progress": self.progress.state_dict(),
            "generators": checkpoint.generators(self._device),
            "device": self._device.type,
        }

    def records(
        self, between_steps: Callable[[Progress], bool], tested: bool = True
    ) -> Iterator[Record]:
        """Trains to the end of the last epoch; `tested` epochs end with the held-out splits."""
        config = self._config
        return train(
            make_update(config, self.model, self.method, self._optimiser, self._device),
            self.batches,
            make_rate_for(config, len(self.batches)),
            self._splits if tested else {},
            epochs=config.schedule.epochs,
            progress=self.progress,
            log_steps=config.log.steps if tested else 0,
            between_steps=between_steps,
        )


def where_it_began(
    config: Config,
    prepared: Prepared,
    state: dict[str, Any] | None,
    last: int,
    give_up: Callable[[], bool],
) -> tuple[int, list[str]]:
    """(update, names) of the first parameters, thresholds or buffers to hold NaN or infinity, by
    training again.

    From `state`, or from the beginning, to the update `last`, looking at everything after every
    update, which waits for the device each time. (0, []) where nothing is found, since a GPU need
    not repeat itself bit for bit, or where `give_up()` says so."""
    training = Training(config, prepared, state)
    found: list[str] = []

    def looked(progress: Progress) -> bool:
        found.extend(not_finite(training.model))
        return bool(found) or progress.step >= last or give_up()

    for record in training.records(looked, tested=False):
        if record.kind == "pause":
            break
    return (training.progress.step, found) if found else (0, [])
