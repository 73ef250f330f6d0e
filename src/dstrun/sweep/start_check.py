"""Check of a sweep's jobs before any of them starts, and the GPUs that they may use."""

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from dstrun.config.options import Config
from dstrun.runs.folder import NEW, RunFolder
from dstrun.runs.identity import settings
from dstrun.sweep.forkserver import fork_context
from dstrun.sweep.plan import Job
from dstrun.sweep.worker import WorkerSettings, threads_per_slot
from dstrun.system.errors import InputError, Interrupted
from dstrun.system.signals import StopRequest

DEVICES_WITH_GPUS = {"auto", "cuda"}
# The options that decide whether a job can start.
CHECKED_OPTIONS = (
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


def find_gpus(jobs: Sequence[Job], stop: StopRequest) -> list[str] | None:
    """Return the GPUs for the jobs, as `jobs_at_a_time` takes them; raise InputError for a job
    that cannot start.

    A separate process does this, since it loads data, and a process that has asked for GPUs must
    not be forked. Return None, too, where that process has been killed; an error then appears in
    the jobs.
    """
    chosen: dict[str, Config] = {}
    for job in jobs:
        if RunFolder(job.folder, job.config).state() == NEW:
            chosen.setdefault(repr(_checked_settings(job)), job.config)
    devices = {job.config.device for job in jobs}
    reader, writer = multiprocessing.Pipe(duplex=False)
    worker_settings = WorkerSettings(None, threads_per_slot(1))
    process = fork_context().Process(
        target=_check_jobs, args=(list(chosen.values()), devices, worker_settings, writer)
    )
    process.start()
    writer.close()
    try:
        while not reader.poll(0.2):
            if stop.signal:
                process.kill()
                raise Interrupted(stop.signal)
        gpus, error = reader.recv()
    except EOFError:  # the process has been killed
        return None
    finally:
        process.join()
        reader.close()
    if error:
        raise InputError(error)
    return gpus


def _checked_settings(job: Job) -> dict[str, Any]:
    """Return the settings of a job that decide whether it can start."""
    found: dict[str, Any] = {"single": job.config.schedule.batch_size == 1}  # for batch norm
    for key, value in settings(job.config).items():
        if key.startswith(CHECKED_OPTIONS):
            found[key] = value
    return found


def _check_jobs(
    configs: Sequence[Config], devices: set[str], settings: WorkerSettings, answer: Connection
) -> None:
    """Send (GPUs, error): the GPUs for jobs on `devices`, and why the first unusable config fails.

    GPUs is None where the jobs name a GPU of their own; error is None where all configs are usable.
    """
    settings.apply()
    error = _first_input_error(configs)
    known = devices <= DEVICES_WITH_GPUS | {"cpu"}
    gpus = _visible_gpus() if devices <= DEVICES_WITH_GPUS else []
    answer.send((gpus if known else None, error))


def _first_input_error(configs: Sequence[Config]) -> str | None:
    from dstrun.training.prepare import prepare

    for config in configs:
        try:
            prepare(config)
        except InputError as error:
            return str(error)
        except Exception:  # raised again in the job's own process, which logs the traceback
            continue
    return None


def _visible_gpus() -> list[str]:
    """Return the GPUs of this process by the names that CUDA_VISIBLE_DEVICES uses."""
    import torch

    count = torch.cuda.device_count()
    named = list(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
    return (named or [str(index) for index in range(count)])[:count]
