"""Runs jobs on this machine, some at a time, each in a process of its own.

    forkserver: has torch loaded, has touched no GPU
        ├── slot 0: job, job, …      a process a job: 0.02 s instead of the 2 s that importing torch takes
        └── slot 1: job, job, …      cores divided among the slots; a GPU, or a share of one, a slot

A job costs itself only: what it dies of stands in its folder. Asked to stop, all jobs are, with a
checkpoint each; when this process dies, they notice and do the same. How jobs fare is read from
their folders, by whoever wants to know. Knows config, identity, plan, ledger, tracking, status,
signals, cores and errors; in the child, build, machine and run."""

import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from typing import Any

from dstrun.config.options import Config
from dstrun.runs.folder import NEW, RunFolder
from dstrun.runs.identity import settings
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, holder, now
from dstrun.runs.wandb_logger import OF_ONE_RUN, wandb_options
from dstrun.sweep.plan import Job
from dstrun.system.cores import usable_cores
from dstrun.system.errors import BusyError, InputError, Interrupted, RunFailedError, print_notes
from dstrun.system.files import read_json
from dstrun.system.signals import StopRequest, stop_request
from dstrun.system.streams import accept_all_text

BUSY_EXIT_CODE = 75
SECONDS_TO_STOP = 60  # for a job, to reach the end of an update and write its checkpoint
LOOK_EVERY = 2.0  # seconds between looks at a run that another process is at work on
TAIL_BYTES = 8192
SOCKET_ROOM = 107 - len(
    "/pymp-xxxxxxxx/listener-xxxxxxxx"
)  # bytes that a socket's address leaves for its folder
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
CHECKED_BEFORE = (
    "model.",
    "data.",
    "reg.method",
    "reg.granularity",
    "reg.exclude",
    "init",
    "schedule.compile",
    "schedule.precision",
    "schedule.channels_last",
)


def run_jobs(jobs: Sequence[Job], default_group: str, notes: Sequence[str] = ()) -> None:
    """Has every job done: by us, or by whoever is at work on it already.

    How many at a time: `n_jobs` of the jobs' config. InputError, with nothing begun, where one of
    them could not be; a job that fails later says so in its folder. Notes are printed once nothing
    is wrong. Interrupted once a request to stop has been met by all."""
    if not jobs:
        return
    _check_wandb(jobs)
    _start_forkserver(jobs)
    with stop_request() as stop:
        gpus = _survey(jobs, stop)
        print_notes(notes)
        slots = jobs_at_a_time(jobs, gpus)
        pool = _Pool(
            deque(jobs),
            default_group,
            [gpus[slot % len(gpus)] if gpus else None for slot in range(slots)],
        )
        try:
            while not stop.signal and pool.goes_on():
                continue
            if stop.signal:
                raise Interrupted(stop.signal)
        finally:
            pool.stop()


def _check_wandb(jobs: Sequence[Job]) -> None:
    """InputError where W&B's variables cannot be used; says which of them hold for one run
    alone."""
    enabled = [job for job in jobs if wandb_options(job.config).mode != "disabled"]
    names = [name for name in OF_ONE_RUN if os.environ.get(name)]
    if enabled and names:
        print(
            f"dstrun: {', '.join(names)}: of a single run, without effect in a sweep",
            file=sys.stderr,
        )


def jobs_at_a_time(jobs: Sequence[Job], gpus: Sequence[str] | None) -> int:
    """How many jobs at a time: with no `n_jobs`, one a GPU, or one a core; one where it is not
    known what fits."""
    fitting = 1 if gpus is None else len(gpus) or usable_cores()
    return min(jobs[0].config.n_jobs or fitting, len(jobs))


def _threads(slots: int) -> int:
    """A slot's share of the cores, or fewer where OMP_NUM_THREADS says so."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, usable_cores() // slots)
    return min(share, int(wanted)) if wanted.isdigit() and int(wanted) else share


@dataclass(eq=False)
class _Worker:
    """A process at work on a job; what it has said on stderr, the last of it."""

    job: Job
    slot: int
    process: BaseProcess
    stderr: Connection
    said: bytes = b""

    def listen(self) -> None:
        while self.stderr.poll() and (more := os.read(self.stderr.fileno(), 65536)):
            self.said = (self.said + more)[-TAIL_BYTES:]


class _Pool:
    """Slots, the jobs that wait for one, and those that wait for somebody else to end."""

    def __init__(
        self, pending: deque[Job], default_group: str, gpu_of_slot: Sequence[str | None]
    ) -> None:
        self._pending, self._default_group, self._gpu_of_slot = pending, default_group, gpu_of_slot
        self._began = now()
        self._free = list(range(len(gpu_of_slot)))[::-1]
        self._running: list[_Worker] = []
        self._elsewhere: list[tuple[float, Job]] = []

    def goes_on(self) -> bool:
        """Starts what there is a slot for, waits a moment, takes in what has ended; False once all
        has."""
        while self._free and (job := self._next()):
            if self._has_ended(job):
                continue
            if holder(job.folder):
                self._elsewhere.append((time.monotonic() + LOOK_EVERY, job))
            else:
                self._start(job)
        self._wait()
        return bool(self._pending or self._running or self._elsewhere)

    def stop(self) -> None:
        """Asks every job to stop, and waits until it has; a second Ctrl-C, or a minute, ends the
        patience."""
        for worker in self._running:
            worker.process.terminate()
        until = time.monotonic() + SECONDS_TO_STOP
        try:
            while self._running and time.monotonic() < until:
                self._wait(stopping=True)
        finally:
            for worker in self._running:
                worker.process.kill()
                worker.process.join()

    def _has_ended(self, job: Job) -> bool:
        """Whether a job was finished before, or has ended since we began, in the hands of another
        copy of the sweep."""
        status = read_json(job.folder / "status.json")
        if status.get("state") == FINISHED and not job.config.overwrite:
            return True
        return (
            status.get("state") in (FINISHED, FAILED) and (status.get("ended") or "") > self._began
        )

    def _next(self) -> Job | None:
        if self._pending:
            return self._pending.popleft()
        if self._elsewhere and self._elsewhere[0][0] <= time.monotonic():
            return self._elsewhere.pop(0)[1]
        return None

    def _start(self, job: Job) -> None:
        slot = self._free.pop()
        reader, writer = multiprocessing.Pipe(duplex=False)
        surroundings = _Surroundings(self._gpu_of_slot[slot], _threads(len(self._gpu_of_slot)))
        process = _context().Process(
            target=_work, args=(job.config, self._default_group, surroundings, writer)
        )
        process.start()
        writer.close()
        self._running.append(_Worker(job, slot, process, reader))

    def _wait(self, stopping: bool = False) -> None:
        events = [
            thing for worker in self._running for thing in (worker.process.sentinel, worker.stderr)
        ]
        if events:
            wait(events, timeout=0.5)
        elif self._elsewhere:
            time.sleep(0.2)
        for worker in list(self._running):
            worker.listen()
            if worker.process.exitcode is not None:
                self._running.remove(worker)
                self._free.append(worker.slot)
                worker.stderr.close()
                if not stopping:
                    self._take_in(worker)

    def _take_in(self, worker: _Worker) -> None:
        """Looks whether a process that has ended has left its run's state in order, and does so
        where it has not."""
        job, code = worker.job, worker.process.exitcode or 0
        if code == BUSY_EXIT_CODE or holder(
            job.folder
        ):  # the latter: the forkserver has died, the job has not
            self._elsewhere.append((time.monotonic() + LOOK_EVERY, job))
            return
        state = read_json(job.folder / "status.json").get("state")
        has_said_so = (
            state == FINISHED if code == 0 else code > 0 and state in (FAILED, INTERRUPTED)
        )
        if has_said_so or self._has_ended(job):
            return
        said = worker.said.decode(errors="replace").strip()
        line = (
            f"killed by {signal.Signals(-code).name}"
            if code < 0
            else f"ended with exit code {code}"
        )
        if code == -signal.SIGKILL:
            line += " (if memory ran out: fewer n_jobs or a smaller schedule.batch_size need less)"
        try:
            RunFolder(job.folder, job.config).record_failure(line, f"{line}\n{said}".strip())
        except (OSError, InputError) as error:  # a full disk, say: then it is said here alone
            print(
                f"dstrun: {job.folder}: {(said or line).splitlines()[-1]} ({error})",
                file=sys.stderr,
            )


@dataclass
class _Surroundings:
    """What a process needs to be told, since it starts as a copy of the forkserver and not of
    us."""

    gpu: str | None
    threads: int
    folder: str = field(default_factory=os.getcwd)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def enter(self) -> None:
        gc.freeze()  # a collection would touch, and so copy, every page shared with the forkserver: a third of a second
        os.setsid()  # a Ctrl-C at the terminal goes to the sweep, which asks its jobs to stop, once
        os.chdir(self.folder)
        os.environ.update(self.environment)
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        threading.Thread(target=_end_with_parent, daemon=True).start()
        accept_all_text()
        from dstrun.system.machine import share_cores

        share_cores(self.threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.kill(os.getpid(), signal.SIGKILL)


def _work(
    config: Config, default_group: str, surroundings: _Surroundings, stderr: Connection
) -> None:
    """A job's process, from its first line to its exit code."""
    surroundings.enter()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # train.log has all of it
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    from dstrun.training.run import run_as_job

    try:
        run_as_job(config, default_group)
    except BusyError:
        sys.exit(BUSY_EXIT_CODE)
    except (RunFailedError, Interrupted) as error:
        sys.exit(error.exit_code)


def _survey(jobs: Sequence[Job], stop: StopRequest) -> list[str] | None:
    """The GPUs for the jobs, as CUDA_VISIBLE_DEVICES names them; None where the jobs name some, or
    nothing was found out. InputError for the first job that could not begin.

    Done in a process of its own: it loads data, and asking for GPUs makes a process unfit to be
    forked."""
    chosen: dict[str, Config] = {}
    for job in jobs:
        if RunFolder(job.folder, job.config).state() == NEW:
            chosen.setdefault(repr(_checked_before(job)), job.config)
    reader, writer = multiprocessing.Pipe(duplex=False)
    surroundings = _Surroundings(None, _threads(1))
    devices = {job.config.device for job in jobs}
    process = _context().Process(
        target=_survey_process, args=(list(chosen.values()), devices, surroundings, writer)
    )
    process.start()
    writer.close()
    try:
        while not reader.poll(0.2):
            if stop.signal:
                process.kill()
                raise Interrupted(stop.signal)
        gpus, error = reader.recv()
    except EOFError:  # it has died: each job will find out for itself
        return None
    finally:
        process.join()
        reader.close()
    if error:
        raise InputError(error)
    return gpus


def _checked_before(job: Job) -> dict[str, Any]:
    found = {
        key: value for key, value in settings(job.config).items() if key.startswith(CHECKED_BEFORE)
    }
    return found | {
        "single": job.config.schedule.batch_size == 1
    }  # which batch norm cannot train on


def _survey_process(
    configs: Sequence[Config], devices: set[str], surroundings: _Surroundings, answer: Connection
) -> None:
    surroundings.enter()
    import torch

    from dstrun.training.prepare import prepare

    error = None
    for config in configs:
        try:
            prepare(config)
        except InputError as refused:
            error = str(refused)
            break
        except (
            Exception
        ):  # the job's own process meets it again, and leaves the traceback in its folder
            continue
    count = torch.cuda.device_count() if devices <= {"auto", "cuda"} else 0
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = (visible or [str(index) for index in range(count)])[:count]
    answer.send((gpus if devices <= {"auto", "cuda", "cpu"} else None, error))


def _context() -> Any:
    return multiprocessing.get_context("forkserver")


def _start_forkserver(jobs: Sequence[Job]) -> None:
    """Starts the server, unless it is there, with what the jobs will import, and no more threads
    than they may use."""
    modules = [
        "dstrun.training.run",
        "dstrun.sweep.pool",
        "torch._dynamo",
    ]  # the last is loaded by the first optimiser
    modules += ["wandb"] * any(wandb_options(job.config).mode != "disabled" for job in jobs)
    _context().set_forkserver_preload(modules)
    threads = _threads(jobs_at_a_time(jobs, []))
    before = signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # which the server inherits: a Ctrl-C is ours to deal with
    try:
        with (
            _environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads)),
            place_for_sockets(),
        ):
            ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def place_for_sockets() -> Iterator[None]:
    """A folder for temporary files whose name leaves room for a socket's, where that of TMPDIR is
    too long."""
    before = tempfile.gettempdir()
    places = [place for place in (before, *SHORT_PLACES) if len(os.fsencode(place)) <= SOCKET_ROOM]
    usable = [place for place in places if os.access(place, os.W_OK | os.X_OK)]
    if not usable:
        raise InputError(
            f"TMPDIR: got {before}, expected a folder with a name of at most {SOCKET_ROOM} bytes"
        )
    tempfile.tempdir = usable[0]
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Variables for what is started inside; those that a user has set stay."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
