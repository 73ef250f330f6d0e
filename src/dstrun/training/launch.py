"""Ranks on this machine, through torch's launcher: `devices=N` is `torchrun` with as many."""

import logging
import os
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from dstrun.system.cores import usable_cores
from dstrun.system.errors import Interrupted, RunFailedError

GRACE = 0.1  # seconds between two looks at the ranks


def launch(words: Sequence[str], count: int) -> None:
    """Run `dstrun WORDS` in `count` processes that train together, and exit as they do.

    Raises RunFailedError, with the exit code of the rank that failed first, and KeyboardInterrupt
    after a signal.
    """
    logging.disable(logging.ERROR)  # the ranks have said what is wrong
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"dstrun-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=GRACE,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "dstrun", *words)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        failed = RunFailedError(str(error))
        failed.exit_code = failure.exitcode if failure.exitcode > 0 else 1
        raise failed from error
    except SignalException as error:
        raise Interrupted(error.sigval) from error
