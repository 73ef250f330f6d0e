"""Training of one run by this process: resume, train, record, save, and end in a known state."""

import signal
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dstrun.config.options import Config
from dstrun.runs import checkpoint
from dstrun.runs.code_record import code_of
from dstrun.runs.folder import RunFolder
from dstrun.runs.identity import compiles
from dstrun.runs.log import close_log, open_log
from dstrun.runs.metrics import last_row
from dstrun.runs.rounds import rounds_of
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, Status
from dstrun.runs.trackers.start import start_trackers
from dstrun.runs.wandb_logger import remove_local_copies
from dstrun.system.errors import (
    BusyError,
    InputError,
    Interrupted,
    RunFailedError,
    StoppedByFile,
)
from dstrun.system.files import sha256
from dstrun.system.machine import facts, keep_freed_memory, set_threads
from dstrun.system.run_files import METRICS_FILE, RESULT_FILES, STOP_FILE, SUMMARY_FILE
from dstrun.system.signals import StopRequest, stop_request
from dstrun.training.compile_check import compare_with_eager
from dstrun.training.console import RunConsole
from dstrun.training.describe import begun_otherwise, failure_line
from dstrun.training.divergence import check_finite
from dstrun.training.loop import Progress, Record
from dstrun.training.prepare import Prepared
from dstrun.training.ranks import ALONE, OTHER_ENDED, AnyRank, Ranks, is_of_own_launcher
from dstrun.training.recorder import Recorder
from dstrun.training.trainer import Trainer


class Session:
    """The training of one run, whose folder this process owns by `status`.

    ranks: the processes that train it together, of which this is the first; `follow` is what the
    others do.
    """

    def __init__(
        self, folder: RunFolder, prepared: Prepared, status: Status, ranks: Ranks = ALONE
    ) -> None:
        self._folder, self._status = folder, status
        self._prepared = replace(prepared, say=self._note)
        self._ranks, self._asked = ranks, AnyRank(ranks)
        self._stop_file = folder.path / STOP_FILE
        self._log = open_log(folder.path)
        self._console = RunConsole(self._log, task=prepared.task)
        self._saved_at = time.monotonic()

    def run(self) -> None:
        """Train to the end, or raise with the folder in a state that the same command resumes.

        Raises Interrupted, RunFailedError, InputError where the folder cannot be written, and
        BusyError where another process has taken the run.
        """
        keep_freed_memory()
        try:
            threads = self._folder.config.threads or self._status.content.get("threads", 0)
            record = {"threads": set_threads(threads), "data": self._prepared.data}
            record["epochs"] = rounds_of(self._config).total
            record["ranks"] = self._ranks.size
            self._before = dict(self._status.content)
            if self._prepared.decoder:
                record["decoder"] = self._prepared.decoder
            if code := code_of(self._config):
                record["code"] = code
            self._folder = replace(self._folder, config=self._folder.write_config())
            self._status.begin(**record, **facts(self._prepared.device))
            self._stop_file.unlink(missing_ok=True)
            with stop_request() as stop:
                try:
                    trainer = self._train(stop)
                except BusyError:  # another process has taken over the run
                    raise
                except Exception as error:
                    failed = RunFailedError(self._record_failure(error))
                    failed.exit_code = getattr(error, "exit_code", failed.exit_code)
                    raise failed from error
                except KeyboardInterrupt:
                    self._status.end(INTERRUPTED)
                    raise
                self._end(trainer, stop)
        except OSError as error:
            raise InputError(f"outputs: {error}") from error
        finally:
            self._console.stop()
            close_log(self._log)

    @property
    def _config(self) -> Config:
        return self._folder.config

    def _train(self, stop: StopRequest) -> Trainer:
        """Train from the checkpoint, or the start, to the summary; return what was trained."""
        if self._config.overwrite:
            checkpoint.remove(self._folder.path)
            (self._folder.path / SUMMARY_FILE).unlink(missing_ok=True)
        threads = self._status.content["threads"]  # of an earlier start, perhaps elsewhere
        self._ranks.tell(replace(self._folder, config=replace(self._config, threads=threads)))
        state = self._ranks.tell(self._load_state())
        trainer = Trainer(self._config, self._prepared, state, ranks=self._ranks)
        if state:
            before = self._before | {"device": state["device"]}
            now = {**self._status.content, "device": self._prepared.device.type}
            for line in begun_otherwise(before, now):
                self._console.say(line)
        self._status.confirm()
        if not state and last_row(self._folder.path / METRICS_FILE):
            self._count_restart()
        marks = state["files"] if state else {}
        with Recorder(self._folder, self._prepared, trainer, self._console, marks) as recorder:
            recorder.announce(self._status)
            epoch = trainer.progress.epoch if state else None
            tracker = start_trackers(
                self._folder, self._log, self._console.say, self._restarts, epoch
            )
            exit_code = 1
            try:
                self._start_console(trainer)
                for record in trainer.records(
                    lambda progress: self._after_step(progress, recorder, stop)
                ):
                    recorder.write(record, tracker)
                    self._check_and_save(record, trainer, recorder, stop)
                self._save(trainer, recorder)
                exit_code = 0
            finally:
                tracker.finish(exit_code)
        self._stop_file.unlink(missing_ok=True)
        recorder.finish()
        return trainer

    def _note(self, line: str) -> None:
        self._console.say(f"note: {line}", style="yellow")

    def _count_restart(self) -> None:
        """Count that logged rows will be logged again: W&B tells restarts apart by the run's id."""
        self._status.write(begun_over=self._restarts + 1)
        remove_local_copies(self._config, self._folder.path)

    @property
    def _restarts(self) -> int:
        return int(self._status.content.get("begun_over", 0))

    def _compile(self, trainer: Trainer) -> None:
        """Compile the step, by comparing it with an uncompiled one."""
        since = time.monotonic()
        self._console.say(
            "compiling: seconds where torch has kept it from an earlier run, else up to minutes"
        )
        compared = compare_with_eager(self._config, self._prepared, trainer)
        seconds = time.monotonic() - since
        trainer.progress.seconds += seconds  # the epoch's time includes it
        self._console.say(f"compiled: first step after {seconds:.1f} s, {compared}")

    def _start_console(self, trainer: Trainer) -> None:
        schedule, epochs = self._config.schedule, trainer.rounds.total
        if compiles(self._config) and epochs:
            self._compile(trainer)
        steps = epochs * len(trainer.batches)
        self._console.start(steps, trainer.progress.step, schedule.batch_size, epochs)

    def _after_step(self, progress: Progress, recorder: Recorder, stop: StopRequest) -> bool:
        """Show progress; return whether a Record is wanted, to save or stop at."""
        self._console.show_step(progress.step, recorder.figures_so_far)
        if self._status.lost:
            self._status.confirm()
        return self._asked(stop or self._is_checkpoint_due())

    def _is_checkpoint_due(self) -> bool:
        every = self._config.checkpoint.every
        return every > 0 and time.monotonic() - self._saved_at > every

    def _check_and_save(
        self, record: Record, trainer: Trainer, recorder: Recorder, stop: StopRequest
    ) -> None:
        """Check that the model is finite, save where a checkpoint is due, stop where asked to.

        Looks at the model, which waits for the device, at each epoch's end and before each save.
        """
        is_epoch = record.kind == "epoch"
        self._asked.last()  # what is asked for is agreed on below
        if is_epoch:
            self._check_finite(trainer, stop)
        if trainer.progress.epoch == trainer.rounds.total:
            return
        by_file = is_epoch and self._stop_file.exists()
        if by_file:
            stop.signal = signal.SIGTERM
        saves, number = self._ranks.highest(self._is_save_wanted(stop), stop.signal or 0)
        if saves:
            if not is_epoch:
                self._check_finite(trainer, stop)
            self._save(trainer, recorder)
        if number:  # a signal that has come since then counts at the next step, on all ranks
            stop.signal = number
            self._console.stop()
            where = f"{self._folder}: interrupted at step {record.step}"
            self._console.say(f"{where}; run the same command to resume", style="yellow")
            raise (StoppedByFile if by_file else Interrupted)(number)

    def _is_save_wanted(self, stop: StopRequest) -> bool:
        return bool(stop) or self._is_checkpoint_due() or self._config.checkpoint.every == 0

    def _save(self, trainer: Trainer, recorder: Recorder) -> None:
        state = {**trainer.state_dict(), **self._prepared.images, "files": recorder.marks()}
        checkpoint.save(self._folder.path, state)
        self._saved_at = time.monotonic()

    def _check_finite(self, trainer: Trainer, stop: StopRequest) -> None:
        """Raise DivergedError, before anything is saved, for a parameter that is not finite."""
        check_finite(trainer, self._load_state, self._console.say, lambda: bool(stop))

    def _load_state(self) -> dict[str, Any] | None:
        return checkpoint.load_resumable(self._folder.path, self._console.say)

    def _record_failure(self, error: Exception) -> str:
        """Record a failure in log, console and status.json; return it in one line."""
        line = failure_line(error, self._config, str(self._prepared.device))
        self._log.error(traceback.format_exc())
        self._console.stop()
        if line != OTHER_ENDED or not is_of_own_launcher():
            line_of_run = f"{self._folder}: failed, {line} (traceback in train.log)"
            self._console.say(line_of_run, style="red")
        with suppress(OSError):  # on a full disk the state stays running, of a dead process
            self._status.end(FAILED, error=line)
        return line

    def _end(self, trainer: Trainer, stop: StopRequest) -> None:
        """Record that the run is finished, and keep of its checkpoint the model alone."""
        digests = {name: sha256(self._folder.path / name) for name in RESULT_FILES}
        self._status.end(FINISHED, files=digests)
        with suppress(OSError):  # the full checkpoint serves as well
            state = {"model": trainer.model.state_dict(), **self._prepared.images}
            checkpoint.save_last(self._folder.path, state)
        if stop.signal:  # too late for this run, but not for those after it
            raise Interrupted(stop.signal)
