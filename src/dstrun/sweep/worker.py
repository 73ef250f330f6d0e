"""Worker process of the pool: its settings, and the run of one job.

A worker is forked from the forkserver and not from the sweep's process, so it receives the sweep's
working folder, environment and GPU as a `WorkerSettings`.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from dstrun.config.options import Config
from dstrun.system.cores import SHARED_BY, usable_cores
from dstrun.system.errors import BusyError, Interrupted, RunFailedError
from dstrun.system.streams import accept_all_text

BUSY_EXIT_CODE = 75
SECONDS_TO_STOP = 60  # for a job to finish its step and write its checkpoint


@dataclass
class WorkerSettings:
    """Settings of a worker process: its GPUs, CPU threads, folder and environment.

    gpus: as CUDA_VISIBLE_DEVICES has them, one for each of the job's ranks (None: all).
    threads: of each rank.
    processes: of all jobs that run at a time.
    """

    gpus: str | None
    threads: int
    processes: int = 1
    folder: str = field(default_factory=os.getcwd)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def apply(self) -> None:
        """Apply the settings to the current process."""
        # A garbage collection would write to, and so copy, every page shared with the forkserver,
        # which takes a third of a second.
        gc.freeze()
        os.setsid()  # Ctrl-C in the terminal reaches the sweep only, which stops its jobs once
        os.chdir(self.folder)
        self.set_environment()
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        accept_all_text()
        from dstrun.system.machine import share_cores

        share_cores(self.threads)

    def set_environment(self) -> None:
        """Set the environment variables of the sweep's process, with a share of the machine.

        Without a number torch starts up to 32 processes in each job that compiles.
        """
        os.environ.update(self.environment)
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(self.threads))
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # of ranks, which are processes
        os.environ[SHARED_BY] = str(self.processes)
        if self.gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus


def _stop_with_parent() -> None:
    """Stop this process when its parent has ended: by SIGTERM, after a minute by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.kill(os.getpid(), signal.SIGKILL)


def run_job(
    config: Config, default_group: str, settings: WorkerSettings, stderr: Connection
) -> None:
    """Run one job and end the process; `stderr` receives what the process writes to stderr.

    Exit codes: 0 for a finished run, BUSY_EXIT_CODE where another process is running it, else that
    of the error.
    """
    settings.apply()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # train.log has the same lines
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    from dstrun.training.run import run_as_job

    try:
        run_as_job(config, default_group)
    except BusyError:
        sys.exit(BUSY_EXIT_CODE)
    except (RunFailedError, Interrupted) as error:
        sys.exit(error.exit_code)


def slots_of_cpu(ranks: int) -> int:
    """Return how many jobs of `ranks` processes run at a time, a core for each; at least one."""
    return max(1, usable_cores() // ranks)


def threads_each(processes: int) -> int:
    """Return a process's share of the cores, or OMP_NUM_THREADS where that is lower."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, usable_cores() // processes)
    return min(share, int(wanted)) if wanted.isdigit() and int(wanted) else share
