"""Training of one network with one case: two epochs, with a checkpoint to resume from."""

import logging
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dstrun import models
from dstrun.config.check import check
from dstrun.config.compose import compose_single
from dstrun.config.options import Config
from dstrun.data import Batches, Split, Splits
from dstrun.runs.folder import RunFolder
from dstrun.runs.trackers.tracker import NoTracker
from dstrun.training.build import make_batches
from dstrun.training.console import RunConsole
from dstrun.training.divergence import not_finite
from dstrun.training.loop import Progress
from dstrun.training.prepare import Prepared
from dstrun.training.recorder import Recorder
from dstrun.training.trainer import Trainer
from tests.helpers.fake_cuda.cases import MAY_WAIT, Network
from tests.helpers.fake_cuda.emulation import on_the_host
from tests.helpers.fake_cuda.watch import Found, Watch, values_read

# Two epochs of two and a half batches, and a checkpoint before the last step.
WORDS = ("schedule.epochs=2", "log.steps=2", "wandb.mode=disabled")
CHECKPOINT_AFTER = 5  # steps
USUAL = 1  # the place of a step on a whole batch, neither the run's first nor an epoch's


@dataclass
class Finding:
    """What training showed.

    launches: of each step. peaks: most bytes alive on the device in each phase, without the data
    set. operations: in all steps, by name.
    """

    batch_size: int
    mixed: list[str] = field(default_factory=list)
    waits_in_steps: list[str] = field(default_factory=list)
    unexpected_waits: list[str] = field(default_factory=list)
    error: str = ""
    launches: list[int] = field(default_factory=list)
    operations: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    @property
    def launches_a_step(self) -> int:
        """Launches of a usual step."""
        return self.launches[USUAL] if len(self.launches) > USUAL else 0

    @property
    def faults(self) -> list[str]:
        """All that must not be, a line each."""
        waits = [*self.waits_in_steps, *self.unexpected_waits]
        return [*self.mixed, *waits, *filter(None, [self.error])]


def find(network: Network, words: tuple[str, ...]) -> Finding:
    """Train, resume and evaluate; return what the watch has seen."""
    config = check(compose_single([*network.words, *WORDS, *words]))
    watch, finding = Watch(), Finding(config.schedule.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with FakeTensorMode(), watch, values_read(watch):
                run = Run(config, network, Path(folder), watch)
                _train_twice(run, finding)
                finding.peaks = {phase: n - run.data_bytes for phase, n in watch.peaks.items()}
        except Exception as error:
            finding.error = _error_line(error)
    finding.mixed = _lines(watch.mixed)
    waits = _select(watch.waits, MAY_WAIT)
    unexpected = Found({key: n for key, n in waits.items() if key[2] not in MAY_WAIT[key[0]]})
    finding.waits_in_steps = _lines(_select(unexpected, ["step"]))
    finding.unexpected_waits = _lines(_select(unexpected, {*MAY_WAIT} - {"step"}))
    finding.operations = dict(watch.operations.get("step", {}))
    return finding


def _error_line(error: Exception) -> str:
    """Return an error with the innermost line of dstrun that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno}" for frame in frames if "/dstrun/" in frame.filename]
    text = str(error).partition("\n")[0][:300]
    return f"{type(error).__name__}: {text} ({lines[-1] if lines else 'outside dstrun'})"


def _select(found: Found, phases: Any) -> Found:
    return Found({key: count for key, count in found.items() if key[0] in phases})


def _lines(found: dict[tuple[str, str, str], int]) -> list[str]:
    return [f"{what} in {place} ({phase}) × {n}" for (phase, what, place), n in found.items()]


def _train_twice(run: "Run", finding: Finding) -> None:
    state = run.train(Trainer(run.config, run.prepared), {}, finding)
    if state is None:  # it has too few steps
        return
    state = on_the_host(state)
    run.watch.enter("setup")
    run.train(Trainer(run.config, run.prepared, state), state["files"], Finding(0))


class Run:
    """A run on images of zeros, of which an epoch has two batches and half a one."""

    def __init__(self, config: Config, network: Network, folder: Path, watch: Watch) -> None:
        self.config, self.watch = config, watch
        self._folder = RunFolder(folder, config)
        size = config.schedule.batch_size

        def split(count: int) -> Split:
            images = torch.zeros(count, *network.shape, dtype=torch.uint8)
            return Split(images, torch.zeros(count, dtype=torch.long))

        held_out = 2**21 // prod(network.shape) + size  # more than one batch of an evaluation
        splits = Splits(split(2 * size + size // 2), split(held_out), network.classes)
        builder, arguments = models.BUILDERS[config.model.builder], config.model.args

        def build() -> nn.Module:
            return builder(network.shape, network.classes, **arguments)

        self.prepared = Prepared(torch.device("cuda:0"), splits, splits.test, build)
        before = watch.live.now
        data = make_batches(config, self.prepared)
        self.data_bytes = watch.live.now - before
        del data

    def train(
        self, trainer: Trainer, marks: dict[str, Any], finding: Finding
    ) -> dict[str, Any] | None:
        """Train to the end as a session does; return the checkpoint of an early step."""
        watch, state = self.watch, None
        trainer.batches = PhasedBatches(trainer.batches, watch)
        trainer.model.register_forward_pre_hook(self._note_evaluation)
        console = RunConsole(logging.Logger("fake"), Console(file=StringIO()))
        with Recorder(self._folder, self.prepared, trainer, console, marks) as recorder:
            before = 0

            def between_steps(progress: Progress) -> bool:
                nonlocal before
                watch.enter("between steps")
                finding.launches.append(watch.launches["step"] - before)
                before = watch.launches["step"]
                if progress.batch == 1:  # as the console does every second
                    recorder.figures_so_far()
                return progress.step == CHECKPOINT_AFTER

            for record in trainer.records(between_steps):
                watch.enter("between steps")
                recorder.write(record, NoTracker())
                not_finite(trainer.model)
                if record.step == CHECKPOINT_AFTER:
                    state = {**trainer.state_dict(), "files": recorder.marks()}
            recorder.finish()
        watch.enter("checkpoint")
        return state

    def _note_evaluation(self, model: nn.Module, _: Any) -> None:
        if not model.training:
            self.watch.enter("evaluation")


class PhasedBatches:
    """Batches that tell a watch where a step begins and where its epoch has ended."""

    def __init__(self, batches: Batches, watch: Watch) -> None:
        self._batches, self._watch = batches, watch

    def __len__(self) -> int:
        return len(self._batches)

    def size(self, batch: int) -> int:
        """Return how many images a batch has."""
        return self._batches.size(batch)

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch."""
        self._watch.enter("batches")
        for batch in self._batches.shuffled(epoch, start):
            self._watch.enter("step")
            yield batch
            self._watch.enter("batches")
        self._watch.enter("epoch end")
