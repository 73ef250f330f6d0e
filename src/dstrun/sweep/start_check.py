"""Check of a sweep's jobs before any of them starts, and the GPUs that they may use."""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from dstrun.config.options import Config
from dstrun.runs.folder import NEW, RunFolder
from dstrun.runs.identity import settings
from dstrun.sweep.forkserver import fork_context
from dstrun.sweep.plan import Job
from dstrun.sweep.worker import WorkerSettings, threads_each
from dstrun.system.errors import InputError, Interrupted
from dstrun.system.signals import StopRequest

# The options that decide whether a network can be trained, and with the others, whether a job can.
OF_NETWORK = (
    "model.",
    "data.",
    "reg.exclude",
    "reg.include",
    "reg.tied",
    "init",
    "schedule.precision",
)
CHECKED_OPTIONS = (
    *OF_NETWORK,
    "reg.method",
    "reg.granularity",
    "schedule.compile",
    "schedule.channels_last",
)


class StartCheck(NamedTuple):
    """GPUs for each slot, as `gpus_for` returns them, and notes on devices."""

    gpus: list[str] | None
    notes: list[str]


def check_start(jobs: Sequence[Job], stop: StopRequest) -> StartCheck:
    """Return the GPUs for the jobs, and notes; raise InputError for a job that cannot start.

    A separate process does this, since it loads data, and a process that has asked for GPUs must
    not be forked. GPUs is None, too, where that process has been killed; an error then appears in
    the jobs.
    """
    by_size = sorted((job.config for job in jobs), key=lambda one: -one.schedule.batch_size)
    by_device = {config.device: config for config in by_size}
    reader, writer = multiprocessing.Pipe(duplex=False)
    worker_settings = WorkerSettings(None, threads_each(1))
    process = fork_context().Process(
        target=_check_jobs,
        args=(_to_check(jobs, CHECKED_OPTIONS), by_device, worker_settings, writer),
    )
    process.start()
    writer.close()
    try:
        while not reader.poll(0.2):
            if stop.signal:
                process.kill()
                raise Interrupted(stop.signal)
        checked, error = reader.recv()
    except EOFError:  # the process has been killed
        return StartCheck(None, [])
    finally:
        process.join()
        reader.close()
    if error:
        raise InputError(error)
    return checked


def rehearse_start(jobs: Sequence[Job]) -> list[str]:
    """Return notes for a dry run; raise InputError for a job that would be refused on any device.

    In this process, which imports torch if a job is new. Each network is tried once.
    """
    notes: dict[str, None] = {}  # as a set in order
    for alike in _to_check(jobs, OF_NETWORK):
        from dstrun.training.prepare import rehearse

        notes |= dict.fromkeys(rehearse(*alike))
    return list(notes)


def _to_check(jobs: Sequence[Job], options: tuple[str, ...]) -> list[list[Config]]:
    """Return the configs of new jobs that differ in the options or in `reg`.

    Those of a group differ in `reg` alone.
    """
    chosen: dict[str, dict[str, Config]] = {}
    for job in jobs:
        if RunFolder(job.folder, job.config).state() == NEW:
            alike = chosen.setdefault(repr(_settings(job, options)), {})
            alike.setdefault(repr(_settings(job, ("reg.",))), job.config)
    return [list(alike.values()) for alike in chosen.values()]


def _settings(job: Job, beginnings: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of a job whose keys begin so."""
    found: dict[str, Any] = {"single": job.config.schedule.batch_size == 1}  # for batch norm
    for key, value in settings(job.config).items():
        if key.startswith(beginnings):
            found[key] = value
    return found


def _check_jobs(
    groups: Sequence[Sequence[Config]],
    by_device: Mapping[str, Config],
    settings: WorkerSettings,
    answer: Connection,
) -> None:
    """Send (StartCheck, error): error says why the first unusable config fails, or is None.

    `by_device`: a config for each of the jobs' devices, that of the smallest batches.
    """
    settings.apply()
    from dstrun.sweep.devices import gpus_for, notes_on_devices
    from dstrun.training.launch import check_devices
    from dstrun.training.prepare import check_alike

    checks = [partial(check_devices, config) for config in by_device.values()]
    error = _first_input_error([*checks, *(partial(check_alike, *alike) for alike in groups)])
    firsts = [first for first, *_ in groups]
    ranks = max(config.devices for config in by_device.values())
    answer.send((StartCheck(gpus_for(by_device.keys(), ranks), notes_on_devices(firsts)), error))


def _first_input_error(checks: Sequence[Callable[[], object]]) -> str | None:
    for check in checks:
        try:
            check()
        except InputError as error:
            return str(error)
        except Exception:  # raised again in the job's own process, which logs the traceback
            continue
    return None
