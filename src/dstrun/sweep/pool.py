"""Local worker pool: run jobs on this machine, several at a time, each in its own process.

    forkserver: has imported torch, has not used a GPU
        ├── slot 0: job, job, …      forking a job takes 0.02 s; importing torch would take 2 s
        └── slot 1: job, job, …      each slot has a share of the cores, and a GPU or a share of one

With `devices=N` a slot has N GPUs, on which its job starts N ranks.

A failing job does not affect the others; its error is recorded in its run folder. When the pool is
asked to stop, every job saves a checkpoint and exits; a job does the same when this process has
ended. The state of a job is read from its run folder.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from dstrun.runs.folder import RunFolder
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, holder, now
from dstrun.runs.trackers.start import check_trackers_of_sweep
from dstrun.runs.wandb_options import wandb_options
from dstrun.sweep.forkserver import OPTIMISER_MODULE, fork_context, start_forkserver
from dstrun.sweep.plan import Job
from dstrun.sweep.start_check import check_start
from dstrun.sweep.worker import (
    BUSY_EXIT_CODE,
    SECONDS_TO_STOP,
    WorkerSettings,
    run_job,
    slots_of_cpu,
    threads_each,
)
from dstrun.system.errors import InputError, Interrupted, print_notes
from dstrun.system.files import read_json
from dstrun.system.run_files import STATUS_FILE
from dstrun.system.signals import stop_request

SECONDS_BETWEEN_CHECKS = 2.0  # of a run that another process is running
STDERR_BYTES = 8192  # kept of what a job writes to stderr


def run_jobs(jobs: Sequence[Job], default_group: str, notes: Sequence[str] = ()) -> None:
    """Run the jobs, `n_jobs` of their config at a time, and return when all of them have ended.

    A job that another process is running is waited for. `notes` are printed once every job is known
    to be able to start. Raise InputError, before anything starts, for a job that cannot start;
    Interrupted after a stop signal, once all jobs have stopped. A job that fails later records its
    error in its run folder.
    """
    if not jobs:
        return
    check_trackers_of_sweep([job.config for job in jobs])
    ranks = jobs[0].config.devices
    start_forkserver(threads_each(jobs_at_a_time(jobs, []) * ranks), _preloaded(jobs))
    with stop_request() as stop:
        gpus, more_notes = check_start(jobs, stop)
        print_notes([*notes, *more_notes])
        slots = range(jobs_at_a_time(jobs, gpus))
        pool = _Pool(
            jobs, default_group, [gpus[slot % len(gpus)] if gpus else None for slot in slots]
        )
        try:
            while pool.has_work() and not stop.signal:
                pool.start_jobs()
                pool.wait()
            if stop.signal:
                raise Interrupted(stop.signal)
        finally:
            pool.stop()


def _preloaded(jobs: Sequence[Job]) -> list[str]:
    """Return the modules that the jobs share, besides those of every job."""
    modules = []
    if all(job.config.schedule.compile == "off" for job in jobs):
        modules.append(OPTIMISER_MODULE)
    if any(wandb_options(job.config).mode != "disabled" for job in jobs):
        modules.append("wandb")
    return modules


def jobs_at_a_time(jobs: Sequence[Job], gpus: Sequence[str] | None) -> int:
    """Return how many jobs to run at a time: `n_jobs`, else one for each of `gpus`.

    `gpus`: [] for jobs on the CPU, of which each rank gets a core; None, where it is unknown how
    many fit, means one at a time.
    """
    config = jobs[0].config
    fitting = 1 if gpus is None else len(gpus) or slots_of_cpu(config.devices)
    return min(config.n_jobs or fitting, len(jobs))


@dataclass(eq=False)
class _Worker:
    """A running job: its process, and the end of what the process has written to stderr."""

    job: Job
    slot: int
    process: BaseProcess
    stderr: Connection
    output: bytes = b""

    def read_stderr(self) -> None:
        while self.stderr.poll() and (more := os.read(self.stderr.fileno(), 65536)):
            self.output = (self.output + more)[-STDERR_BYTES:]


class _Pool:
    """Slots, running jobs, jobs that wait for a slot, and jobs that another process is running."""

    def __init__(
        self, jobs: Sequence[Job], default_group: str, gpus_of_slot: Sequence[str | None]
    ) -> None:
        self._pending, self._default_group = deque(jobs), default_group
        self._gpus_of_slot = gpus_of_slot
        self._started_at = now()
        self._free_slots = list(range(len(gpus_of_slot)))[::-1]
        self._running: list[_Worker] = []
        self._elsewhere: list[tuple[float, Job]] = []  # time of the next check, job

    def has_work(self) -> bool:
        return bool(self._pending or self._running or self._elsewhere)

    def start_jobs(self) -> None:
        """Start as many jobs as there are free slots; skip those that have ended already."""
        while self._free_slots and (job := self._next_job()):
            if self._has_ended(job):
                continue
            if holder(job.folder):
                self._check_later(job)
            else:
                self._start(job)

    def wait(self) -> None:
        """Wait up to half a second for a job to end or write; release the slots of ended jobs."""
        for worker in self._wait_for_workers():
            self._settle(worker)

    def stop(self) -> None:
        """Ask all jobs to stop and wait for them; after 60 s or a second Ctrl-C, kill them."""
        for worker in self._running:
            worker.process.terminate()
        until = time.monotonic() + SECONDS_TO_STOP
        try:
            while self._running and time.monotonic() < until:
                self._wait_for_workers()
        finally:
            for worker in self._running:
                worker.process.kill()
                worker.process.join()

    def _has_ended(self, job: Job) -> bool:
        """Return whether a job is finished, or has ended in another process since this started."""
        status = read_json(job.folder / STATUS_FILE)
        if status.get("state") == FINISHED and not job.config.overwrite:
            return True
        ended = status.get("ended") or ""
        return status.get("state") in (FINISHED, FAILED) and ended > self._started_at

    def _next_job(self) -> Job | None:
        if self._pending:
            return self._pending.popleft()
        if self._elsewhere and self._elsewhere[0][0] <= time.monotonic():
            return self._elsewhere.pop(0)[1]
        return None

    def _check_later(self, job: Job) -> None:
        self._elsewhere.append((time.monotonic() + SECONDS_BETWEEN_CHECKS, job))

    def _start(self, job: Job) -> None:
        slot = self._free_slots.pop()
        reader, writer = multiprocessing.Pipe(duplex=False)
        processes = len(self._gpus_of_slot) * job.config.devices
        threads = threads_each(processes)
        worker_settings = WorkerSettings(self._gpus_of_slot[slot], threads, processes)
        process = fork_context().Process(
            target=run_job, args=(job.config, self._default_group, worker_settings, writer)
        )
        process.start()
        writer.close()
        self._running.append(_Worker(job, slot, process, reader))

    def _wait_for_workers(self) -> list[_Worker]:
        """Wait for something to happen; return the workers whose processes have ended."""
        events: list[Any] = []
        for worker in self._running:
            events += [worker.process.sentinel, worker.stderr]
        if events:
            wait(events, timeout=0.5)
        elif self._elsewhere:
            time.sleep(0.2)
        ended = []
        for worker in list(self._running):
            worker.read_stderr()
            if worker.process.exitcode is not None:
                self._running.remove(worker)
                self._free_slots.append(worker.slot)
                worker.stderr.close()
                ended.append(worker)
        return ended

    def _settle(self, worker: _Worker) -> None:
        """Record the failure of an ended job whose run folder does not say how the run ended."""
        job, code = worker.job, worker.process.exitcode or 0
        # A folder in use after exit: the forkserver has been killed, and the job runs on.
        if code == BUSY_EXIT_CODE or holder(job.folder):
            self._check_later(job)
            return
        state = read_json(job.folder / STATUS_FILE).get("state")
        if code == 0:
            is_recorded = state == FINISHED
        else:
            is_recorded = code > 0 and state in (FAILED, INTERRUPTED)
        if not is_recorded and not self._has_ended(job):
            _record_exit(worker, code)


def _record_exit(worker: _Worker, code: int) -> None:
    """Write to the run folder how a process ended, with the last of what it wrote to stderr."""
    folder, output = worker.job.folder, worker.output.decode(errors="replace").strip()
    line = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        line += " (if memory ran out: fewer n_jobs or a smaller schedule.batch_size need less)"
    try:
        RunFolder(folder, worker.job.config).record_failure(line, f"{line}\n{output}".strip())
    except (OSError, InputError) as error:  # such as a full disk
        last_line = (output or line).splitlines()[-1]
        print(f"dstrun: {folder}: {last_line} ({error})", file=sys.stderr)
